"""The batch scripts under a real Slurm: two emulated nodes on this machine, started and stopped here."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lmmrotate.cli.main import main
from lmmrotate.data.predictions import read_predictions
from lmmrotate.training.checkpoints import last_complete_checkpoint
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train
from lmmrotate.training.options import config_to_yaml

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "scripts" / "slurm"
TOOL = Path(os.environ.get("LMMROTATE_TOOLS") or REPOSITORY.parent / "shared" / "tools") / "local-slurm"
PROGRAMS = ("sbatch", "slurmctld", "slurmd", "munged")
CONTROLLER_PORT = 16817  # the tool's
MUNGE_SOCKET, MUNGE_PID = Path("/run/munge/munge.socket.2"), Path("/run/munge/munged.pid")
LIMIT_S = 90  # for starting and for stopping it
PATIENCE_S = 120
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


@dataclass(frozen=True)
class Slurm:
    """A cluster, and the environment in which its commands find it."""

    environment: dict[str, str]

    def __call__(self, *command: str | Path) -> str:
        return subprocess.run(
            list(map(str, command)), env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def submit(self, log: Path, *words: str | Path) -> "Job":
        return Job(self, self("sbatch", "--parsable", "--output", log, *words).strip(), log)


@dataclass(frozen=True)
class Job:
    slurm: Slurm
    number: str
    log: Path

    def __getitem__(self, field: str) -> str:
        found = re.search(
            rf"\b{field}=(\S*)", self.slurm("scontrol", "show", "job", "--oneliner", self.number)
        )
        assert found
        return found[1]

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def wait_until(self, seen: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            state = self["JobState"]  # before the look: what a job leaves is there when it has ended
            if seen():
                return
            if state in ENDED or time.monotonic() > deadline:
                pytest.fail(f"job {self.number} ({state}): no {what}\n{self.said}")
            time.sleep(0.05)

    def wait_for_end(self) -> str:
        self.wait_until(lambda: self["JobState"] in ENDED, "end")
        return self["JobState"]

    def start_again(self, restarts: int) -> None:
        """Once it is back in the queue; Slurm would let it wait there for two minutes."""
        self.wait_until(lambda: (self["JobState"], self["Restarts"]) == ("PENDING", str(restarts)), "requeue")
        time.sleep(2)  # nodes refuse a job in the very second in which they have ended it
        self.slurm("scontrol", "update", f"JobId={self.number}", "StartTime=now")
        self.wait_until(lambda: self["JobState"] != "PENDING", "second start")


def munge_answers() -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(MUNGE_SOCKET)) == 0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        pytest.skip(f"no {', '.join(missing)} (apt-get install slurm-wlm munge)")
    if not TOOL.exists():
        pytest.skip(f"no {TOOL} (set $LMMROTATE_TOOLS to the folder that holds local-slurm)")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Slurm of its own")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", CONTROLLER_PORT)) == 0:
            pytest.skip(f"port {CONTROLLER_PORT} is taken: another local Slurm is running")
    munge_was_there = munge_answers()
    if not munge_was_there:
        # Of a daemon that was killed, or of a machine that was copied: the tool would take it for a live one,
        # and every Slurm command would then wait for a minute. Its number may be another process's by now.
        MUNGE_SOCKET.unlink(missing_ok=True)
        MUNGE_PID.unlink(missing_ok=True)
    folder = tmp_path_factory.mktemp("slurm")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SRUN"))} | {
        "PATH": path,
        "SLURM_CONF": str(folder / "slurm.conf"),
        "LMMROTATE_PYTHON": sys.executable,
    }

    def tool(verb: str) -> None:
        with (folder / f"{verb}.log").open("w") as log:  # a pipe would stay open with the daemons
            try:
                subprocess.run(
                    [TOOL, verb, folder], env=environment, stdout=log, stderr=log, check=True, timeout=LIMIT_S
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                logs = [Path(log.name), *sorted((folder / "log").glob("*"))]
                pytest.fail(f"{error}\n" + "\n".join(f"{each}:\n{each.read_text()}" for each in logs))

    cluster = Slurm(environment)
    try:
        tool("up")
        yield cluster
        cluster("scancel", "--user", "root")  # of a test that failed
        deadline = time.monotonic() + PATIENCE_S
        while cluster("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        daemons = [int(file.read_text()) for file in (folder / "run").glob("*.pid")]
        tool("down")
        if not munge_was_there and MUNGE_PID.exists():
            daemons.append(int(MUNGE_PID.read_text()))
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(daemons[-1], signal.SIGTERM)
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in daemons) and time.monotonic() < deadline:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    size = ["--count", "32", "--size", "128", "--density", "sparse", "--workers", "1"]
    assert main(["synth", str(folder), *size]) == 0
    return folder / "train.jsonl"


@pytest.fixture
def settings(manifest: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        data_path=(str(manifest),),
        output_dir=str(tmp_path / "alone"),
        model_name_or_path="tiny",
        max_steps=20,
        save_steps=4,
        logging_steps=1,
        learning_rate=1e-4,
        per_device_train_batch_size=4,
    )


def test_two_nodes_stopped_twice_end_with_the_weights_of_one_process(
    slurm: Slurm, settings: TrainConfig, tmp_path: Path
) -> None:
    """First an operator requeues the job, then its steps are told to stop as before the time limit."""
    run = tmp_path / "together"
    recipe = tmp_path / "run.yaml"
    recipe.write_text(config_to_yaml(replace(settings, output_dir=str(run), per_device_train_batch_size=2)))
    job = slurm.submit(tmp_path / "log", "--nodes", "2", SCRIPTS / "train.sbatch", "--config", recipe)
    job.wait_until(lambda: last_complete_checkpoint(run), "checkpoint")
    slurm("scontrol", "requeue", job.number)
    job.start_again(restarts=1)
    first = last_complete_checkpoint(run)
    assert first
    job.wait_until(lambda: last_complete_checkpoint(run) != first, "second checkpoint")
    slurm("scancel", "--signal=TERM", job.number)
    job.start_again(restarts=2)
    assert job.wait_for_end() == "COMPLETED", job.said
    assert job["Restarts"] == "2"
    assert job.said.count("told to stop: back to the queue") == 1, (
        "an operator's requeue is not ours to repeat"
    )
    resumed = [int(step) for step in re.findall(r"going on from \S*checkpoint-(\d+)", job.said)]
    assert len(set(resumed)) == 2, job.said
    assert 4 <= min(resumed) < max(resumed) < 20
    assert json.loads((run / "trainer_state.json").read_text())["global_step"] == 20

    alone = load_file(train(settings).run_folder / "model.safetensors")
    together = load_file(run / "model.safetensors")
    assert together.keys() == alone.keys()
    apart = {name: float((together[name] - tensor).abs().max()) for name, tensor in alone.items()}
    # A key's bias moves all scores of a query alike and so changes nothing: its gradient is rounding alone,
    # which Adam makes whole steps of. Everything else differs by rounding.
    keys = [name for name in apart if name.endswith(("k_proj.bias", "qkv.bias"))]
    assert max(apart[name] for name in apart if name not in keys) < 1e-5, apart
    assert max(apart[name] for name in keys) < 2e-3, apart


def test_what_failed_or_was_cancelled_is_not_started_again(
    slurm: Slurm, settings: TrainConfig, tmp_path: Path
) -> None:
    script = SCRIPTS / "train.sbatch"
    recipe = tmp_path / "run.yaml"
    recipe.write_text(config_to_yaml(replace(settings, max_steps=10_000)))
    cancelled = slurm.submit(tmp_path / "cancelled", "--nodes", "1", script, "--config", recipe)
    failed = slurm.submit(
        tmp_path / "failed", "--nodes", "1", script, "--data_path", "none", "--output_dir", "x"
    )
    assert failed.wait_for_end() == "FAILED"
    assert "none: no such file" in failed.said
    assert failed["Restarts"] == "0"
    cancelled.wait_until(lambda: "step 1/" in cancelled.said, "update")
    slurm("scancel", cancelled.number)
    assert cancelled.wait_for_end() == "CANCELLED"
    assert cancelled["Restarts"] == "0"


def test_prediction_goes_on(slurm: Slurm, manifest: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.jsonl"
    part = output.with_name(f".{output.name}.parts") / "00000-of-00001.jsonl"
    flags: list[str | Path] = ["--manifest", manifest, "--output", output, "--batch_size", "1"]
    job = slurm.submit(tmp_path / "log", SCRIPTS / "predict.sbatch", "tiny", *flags)
    job.wait_until(lambda: part.exists() and part.read_bytes().count(b"\n") > 1, "prediction")
    slurm("scancel", "--signal=TERM", job.number)
    job.start_again(restarts=1)
    assert job.wait_for_end() == "COMPLETED", job.said
    taken_over = re.search(r"(\d+) taken over from an earlier call", job.said)
    assert taken_over
    assert 0 < int(taken_over[1]) < 32
    assert len(read_predictions(output).images) == 32
    shared = tmp_path / "shared.jsonl"
    flags[flags.index(output)] = shared
    two_nodes = ("--nodes", "2", "--ntasks-per-node", "1")
    job = slurm.submit(tmp_path / "log2", *two_nodes, SCRIPTS / "predict.sbatch", "tiny", *flags)
    assert job.wait_for_end() == "COMPLETED", job.said
    assert "process 0 of 2" in job.said
    assert "process 1 of 2" in job.said
    assert shared.read_bytes() == output.read_bytes()
