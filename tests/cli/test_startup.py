"""The command line starts at once and explains its errors in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from lmmrotate import __version__
from lmmrotate.cli.main import VERBS, main

HEAVY = ("torch", "transformers", "matplotlib", "numba", "cv2")


def imported_by(*arguments: str) -> set[str]:
    """Top-level packages imported by ``python -m lmmrotate …``, from ``-X importtime``."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lmmrotate", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 50
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("evaluate", "--help"),
        ("train", "--help"),
        ("pretrain", "--help"),
        ("baseline", "train", "--help"),
    ],
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not imported_by(*arguments) & set(HEAVY)


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    names = [module.__name__.rsplit(".", 1)[1] for module in VERBS]
    for name in names:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert f"lmmrotate {name}" in capsys.readouterr().out
    assert names == [
        "quickstart",
        "synth",
        "check",
        "convert",
        "tile",
        "train",
        "pretrain",
        "predict",
        "baseline",
        "eval",
        "calibrate",
        "merge",
        "evaluate",
        "report",
        "compare",
        "submit",
        "export",
    ]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"lmmrotate {__version__}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--manifest", "no.jsonl", "--predictions", "p.jsonl"], "no.jsonl: no such file"),
        (["predict", "--model", "no_run", "a.png"], "a.png: no such file"),
        (["predict", "--model", "no_run"], "nothing to predict"),
        (["predict", "--model", "no_run", "a.png", "--manifest", "m.jsonl"], "not both"),
        (["train", "--config", "no.yaml"], "no.yaml: no such file"),
        (["train", "--data_path", "no.jsonl"], "output_dir must be given"),
        (["train", "--data_path", "no.jsonl", "--output_dir", "run"], "no.jsonl: no such file"),
        (["tile", "no.jsonl", "tiles"], "no.jsonl: no such file"),
        (["convert", "--image_folder", "none", "-o", "m.jsonl"], "none"),
        (["synth", "data", "--size", "1", "2", "3"], "--size"),
        (["synth", "data", "--classes", "kraken"], "kraken"),
    ],
)
def test_user_errors_are_one_line(
    arguments: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.startswith(f"lmmrotate {arguments[0]}: ")
    assert len(printed.err.splitlines()) == 1
    assert "Traceback" not in printed.err
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


def test_drawing_detections_does_not_wait_for_numba() -> None:
    code = "import sys, lmmrotate.report.draw, lmmrotate.cli.predict; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
