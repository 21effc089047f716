"""One predictions file, however it came about."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from lmmrotate.cli.main import main
from lmmrotate.data.manifest import read_manifest
from lmmrotate.data.predictions import read_predictions
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.inference.batch import BatchResult, Engine, Work, in_this_process, predict_to_file
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.parts import Chunk
from lmmrotate.inference.predictor import Predictor
from lmmrotate.inference.shares import Share, share_from_environment
from lmmrotate.inference.sources import FileSource
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train

SHORT = DecodingOptions(max_new_tokens=30, overflow="keep")
FLAGS = ["--max_new_tokens", "30", "--overflow", "keep", "--batch_size", "2", "--device", "cpu"]
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures."""
    made = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(11):
        size = (50 + number, 60, 3)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(made / f"{number:02d}.png")
    return made


@pytest.fixture
def run(config: Callable[..., TrainConfig]) -> Path:
    return train(config(max_steps=20, save_steps=1000)).run_folder


def work(folder: Path) -> Work:
    return [(path.name, FileSource(path)) for path in sorted(folder.glob("*"))]


def predict(
    predictor: Predictor, folder: Path, output: Path, share: Share | None = None, engine: Engine | None = None
) -> BatchResult:
    return predict_to_file(
        predictor, work(folder), output, batch_size=2, options=SHORT, share=share, engine=engine
    )


def killed_after(predictor: Predictor, count: int) -> Engine:
    """An engine that is interrupted before chunk number ``count``."""
    honest = in_this_process(predictor, SHORT)

    def run(chunks: Iterable[tuple[int, Work]]) -> Iterator[tuple[int, Chunk]]:
        for place, found in enumerate(honest(chunks)):
            if place == count:
                raise KeyboardInterrupt
            yield found

    return run


def backwards(predictor: Predictor) -> Engine:
    honest = in_this_process(predictor, SHORT)
    return lambda chunks: honest(reversed(list(chunks)))


def test_the_file_is_the_same_however_it_came_about(run: Path, folder: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_run(run, device="cpu")
    whole = tmp_path / "whole.jsonl"
    result = predict(predictor, folder, whole)
    assert (result.predicted, result.resumed, result.finished) == (11, 0, True)
    expected = whole.read_bytes()
    assert [p.image for p in read_predictions(whole).images] == [name for name, _ in work(folder)]

    other = tmp_path / "other.jsonl"
    predict(predictor, folder, other, engine=backwards(predictor))
    assert other.read_bytes() == expected

    shared = tmp_path / "shared.jsonl"
    results = [predict(predictor, folder, shared, Share(rank, 3)) for rank in (2, 0, 1)]
    assert [r.finished for r in results] == [False, False, True]
    assert sum(r.predicted for r in results) == 11, "exactly once"
    assert shared.read_bytes() == expected

    resumed = tmp_path / "resumed.jsonl"
    for rank in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            predict(predictor, folder, resumed, Share(rank, 2), killed_after(predictor, 1))
    assert not resumed.exists()
    part = sorted((tmp_path / ".resumed.jsonl.parts").glob("*.jsonl"))[0]
    with part.open("a") as file:
        file.write('{"chunk": 5, "lines": ["cut off by the ki')
    result = predict(predictor, folder, resumed)  # now alone
    assert (result.predicted + result.resumed, result.finished) == (11, True)
    assert result.resumed >= 3
    assert resumed.read_bytes() == expected

    names = {path.name for path in tmp_path.iterdir() if "jsonl" in path.name and path.name[0] == "."}
    assert all(name.endswith(".timing.json") for name in names), "nothing else is left behind"


def test_what_is_there_already_is_not_done_again(run: Path, folder: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_run(run, device="cpu")
    output = tmp_path / "out.jsonl"
    predict(predictor, folder, output)
    again = predict(predictor, folder, output, engine=killed_after(predictor, 0))
    assert (again.predicted, again.resumed) == (0, 11)
    late = predict(predictor, folder, output, Share(1, 2), killed_after(predictor, 0))
    assert late.finished, "a process that starts after the others have done everything"
    picture = folder / "03.png"
    picture.write_bytes(picture.read_bytes())  # newer than the output
    assert predict(predictor, folder, output).predicted == 11
    other = Image.new("RGB", (9, 9))
    other.save(picture)
    os.utime(picture, (1, 1))
    assert predict(predictor, folder, output).predicted == 11, "another image with an old date"
    assert predict_to_file(predictor, work(folder), output, batch_size=2).predicted == 11, "other options"


def test_others_work_is_refused(run: Path, folder: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_run(run, device="cpu")
    output = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        predict(predictor, folder, output, engine=killed_after(predictor, 1))
    with pytest.raises(ConfigError, match="begun by another model, with other settings"):
        predict_to_file(predictor, work(folder), output, batch_size=2)
    with pytest.raises(ConfigError, match="begun by another model"):
        predict_to_file(predictor, work(folder)[1:], output, batch_size=2, options=SHORT)
    lock = tmp_path / ".out.jsonl.parts" / "00000-of-00001.lock"
    with FileLock(lock), pytest.raises(ConfigError, match="another process is writing it"):
        predict(predictor, folder, output)
    part = tmp_path / ".out.jsonl.parts" / "00000-of-00001.jsonl"
    part.write_bytes(part.read_bytes() + b"garbage\n")
    with pytest.raises(DataError, match=r"00000-of-00001\.jsonl:3: damaged"):
        predict(predictor, folder, output)
    (tmp_path / "file").touch()
    for bad, message in [(tmp_path, "is a folder"), (tmp_path / "file" / "x.jsonl", "cannot be written")]:
        with pytest.raises((ConfigError, DataError), match=message):
            predict(predictor, folder, bad)


def test_shares_are_even_and_cover_everything_once() -> None:
    chunks = [[f"image{number}"] for number in range(23)]
    for count in (1, 2, 5, 40):
        dealt = [Share(rank, count).takes(chunks) for rank in range(count)]
        assert sorted(number for one in dealt for number in one) == list(range(23))
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    turned = [chunks[n] for n in reversed(range(23))]
    mine = {chunks[n][0] for n in Share(1, 3).takes(chunks)}
    assert {turned[n][0] for n in Share(1, 3).takes(turned)} == mine, "by content, not by place"


def test_the_environment_tells_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert share_from_environment() == Share(0, 1, 0)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert share_from_environment() == Share(0, 1, 0), "a lone process in an sbatch script"
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert share_from_environment() == Share(3, 4, 0)
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert share_from_environment() == Share(1, 2, 1)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(ConfigError, match="RANK is '2' and WORLD_SIZE '2'"):
        share_from_environment()


def bad_images(folder: Path) -> set[str]:
    """Images that cannot be read, or have more than one frame."""
    good = (folder / "00.png").read_bytes()
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue")]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    bad = {
        "corrupt.png": good[:200] + bytes(200) + good[400:],
        "cut.jpg": b"\xff\xd8\xff\xe0" + bytes(60),
        "empty.png": b"",
        "short.png": good[: len(good) // 2],
        "text.png": b"no image at all",
        "bomb.png": png(100_000, 100_000, b""),
        "chunk-bomb.png": png(20, 20, zlib.compress(bytes(200_000_000), 9)),
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    return {*bad, "animated.gif"}


def png(width: int, height: int, text: bytes) -> bytes:
    """A PNG that states a size and holds no pixels; ``text`` is a compressed text in front of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    compressed = chunk(b"zTXt", b"k\0\0" + text) if text else b""
    pixels = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + compressed + pixels + chunk(b"IEND", b"")


def test_bad_images_are_told_counted_and_left_out(
    run: Path, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in sorted(folder.glob("*.png"))[:3]:
        (mixed / path.name).write_bytes(path.read_bytes())
    bad = bad_images(mixed)
    output = tmp_path / "out.jsonl"
    command = ["predict", "--model", str(run), str(mixed), "-o", str(output), *FLAGS]
    assert main([*command, "--json"]) == 1
    told = capfd.readouterr()
    result = json.loads(told.out)
    assert result["predicted"] == 3
    assert len(result["unreadable"]) == len(bad)
    assert {name for name in bad if f"/{name}" in told.err} == bad
    assert {Path(p.image).name for p in read_predictions(output).images} == {"00.png", "01.png", "02.png"}
    assert main(command) == 1, "what is there already is still not all"
    twice = tmp_path / "twice.jsonl"
    command = [sys.executable, "-m", "lmmrotate", *command]
    command[command.index(str(output))] = str(twice)
    assert 1 in in_parallel(command, 2)
    assert twice.read_bytes() == output.read_bytes()


def in_parallel(command: list[str], count: int) -> list[int]:
    """The exit status of every process."""
    started = [
        subprocess.Popen(
            command,
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
        )
        for rank in range(count)
    ]
    return [process.wait(timeout=120) for process in started]


@pytest.mark.distributed
@pytest.mark.slow
def test_torchrun_and_ray_write_the_same_file(run: Path, folder: Path, tmp_path: Path) -> None:
    arguments = ["predict", "--model", str(run), str(folder), *FLAGS]
    alone, ranks, ray = (tmp_path / f"{name}.jsonl" for name in ("alone", "ranks", "ray"))
    assert main([*arguments, "-o", str(alone)]) == 0
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*together, "-m", "lmmrotate", *arguments, "-o", str(ranks)], check=True)
    assert ranks.read_bytes() == alone.read_bytes()
    pytest.importorskip("ray", reason="extra 'ray' is not installed")
    subprocess.run(
        [sys.executable, "-m", "lmmrotate", *arguments, "-o", str(ray), "--engine", "ray"], check=True
    )
    assert ray.read_bytes() == alone.read_bytes()


def test_manifests_are_predicted_by_their_names(run: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "data" / "train.jsonl"
    output = tmp_path / "m.jsonl"
    assert main(["predict", "--model", str(run), "--manifest", str(manifest), "-o", str(output), *FLAGS]) == 0
    names = [record.image for record in read_manifest(manifest).records]
    assert [p.image for p in read_predictions(output).images] == names
    assert all(p.seconds > 0 for p in read_predictions(output).images), "from the note beside the file"
