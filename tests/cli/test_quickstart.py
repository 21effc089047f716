from pathlib import Path

import pytest

from lmmrotate.cli import quickstart
from lmmrotate.cli.main import main


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "TRAIN_TILES", 4)
    monkeypatch.setattr(quickstart, "HELD_OUT_TILES", 3)
    monkeypatch.setattr(quickstart, "SCRATCH_STEPS", (2, 2, 2))


def test_two_new_classes_before_and_after(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["quickstart", "--folder", str(tmp_path), "--max_steps", "2", "--no_open"]
    assert main(command) == 0
    printed = capfd.readouterr().out
    assert "mF1 0.000 before" in printed
    assert "on 3 tiles that it was not trained on" in printed
    for name in ("before.html", "after.html"):
        assert (tmp_path / name).stat().st_size > 10_000
    stamp = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == stamp, "it was passed over"


def test_from_scratch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["quickstart", "--from-scratch", "--folder", str(tmp_path), "--no_open"]) == 0
    assert "mAP 0.000" in capfd.readouterr().out
    assert (tmp_path / "scratch.html").exists()


def test_the_report_opens_only_for_a_person_at_a_desktop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(quickstart.webbrowser, "open", opened.append)
    monkeypatch.setattr(quickstart.sys, "platform", "linux")
    for display, terminal in (("", True), (":0", False), (":0", True)):
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.delenv("DISPLAY", raising=False)
        if display:
            monkeypatch.setenv("DISPLAY", display)
        monkeypatch.setattr(quickstart.sys.stdout, "isatty", lambda at_one=terminal: at_one, raising=False)
        quickstart._open(tmp_path / "after.html")
    assert opened == [(tmp_path / "after.html").resolve().as_uri()]
