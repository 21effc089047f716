"""Where recorded values and real images are, how many golden tests ran, and a toy data set to train on.

Tests ask for a file with the fixtures ``golden`` and ``real`` (a function from a name to a path); on a
machine without those folders the test is skipped with the reason, and the last line of the run says so.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

# Tiny models gain nothing from several threads, and on a busy machine threads that wait for each other cost
# ten times the work. Read by torch when it is imported, here and in subprocesses.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
from hypothesis import settings

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord

if TYPE_CHECKING:
    from lmmrotate.training.config import TrainConfig

# How fast an example runs depends on the machine. CI tries the same examples every time; people try new ones.
settings.register_profile("lmmrotate", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lmmrotate")

REPOSITORY = Path(__file__).resolve().parents[1]
FindFile = Callable[[str], Path]


def _folder(variable: str, name: str) -> Path:
    """The folder that the environment variable names, else ``shared/<name>`` beside the repository."""
    return Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / name)


def _finder(variable: str, name: str) -> FindFile:
    folder = _folder(variable, name)

    def find(relative: str) -> Path:
        path = folder / relative
        if not path.exists():
            pytest.skip(f"no {path} (set ${variable} to the folder that holds {relative})")
        return path

    return find


@pytest.fixture(scope="session")
def golden() -> FindFile:
    """``golden("d_geometry.npz")``: path of a recording of the published code, or skip the test."""
    return _finder("LMMROTATE_GOLDEN", "golden")


@pytest.fixture(scope="session")
def real() -> FindFile:
    """``real("dota")``: path of a real image, annotation file or folder, or skip the test."""
    return _finder("LMMROTATE_REAL", "real")


TOY_CLASSES = ("ship", "small-vehicle")


def draw_tile(
    rng: np.random.Generator, name: str, side_px: int, count: int
) -> tuple[np.ndarray, ImageRecord]:
    """Bright rectangles on noise: ``count`` objects, class by colour."""
    pixels = rng.integers(0, 60, (side_px, side_px, 3), dtype=np.uint8)
    quads, labels = [], []
    for _ in range(count):
        label = int(rng.integers(2))
        box = ((rng.uniform(12, side_px - 12), rng.uniform(12, side_px - 12)), (18, 9), rng.uniform(0, 90))
        quad = cv2.boxPoints(box)
        cv2.fillPoly(pixels, [quad.astype(np.int32)], (220, 200, 40) if label else (60, 90, 230))
        quads.append(quad)
        labels.append(TOY_CLASSES[label])
    record = ImageRecord(
        name,
        side_px,
        side_px,
        np.asarray(quads, dtype=np.float64).reshape(-1, 4, 2),
        tuple(labels),
        (0,) * count,
    )
    return pixels, record


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small data set and returns its manifest's path."""

    def write(counts: tuple[int, ...] = (1, 0, 2, 1), side_px: int = 64, name: str = "train") -> Path:
        rng = np.random.default_rng(0)
        folder = tmp_path / "data"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        records = []
        for index, count in enumerate(counts):
            pixels, record = draw_tile(rng, f"images/{name}{index}.png", side_px, count)
            cv2.imwrite(str(folder / record.image), pixels[..., ::-1])
            records.append(record)
        path = folder / f"{name}.jsonl"
        Manifest("toy", name, TOY_CLASSES, tuple(records)).write(path)
        return path

    return write


@pytest.fixture
def config(tmp_path: Path, data: Callable[..., Path]) -> "Callable[..., TrainConfig]":
    """A configuration that trains a tiny model in seconds."""

    from lmmrotate.training.config import TrainConfig

    def build(**options: object) -> "TrainConfig":
        settings: dict[str, object] = {
            "data_path": (str(data()),),
            "output_dir": str(tmp_path / "run"),
            "model_name_or_path": "tiny-random",
            "image_square_length": 64,
            "max_steps": 4,
            "save_steps": 2,
            "logging_steps": 1,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
        }
        return TrainConfig(**(settings | options))  # type: ignore[arg-type]

    return build


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line on the golden tests, so that a run which skipped them all cannot pass for parity."""
    counts = {
        outcome: sum(
            "golden" in report.keywords
            for report in terminalreporter.stats.get(outcome, [])
            if isinstance(report, pytest.TestReport)
        )
        for outcome in ("passed", "failed", "error", "skipped")
    }
    if any(counts.values()):
        listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        folder = _folder("LMMROTATE_GOLDEN", "golden")
        terminalreporter.write_line(f"golden tests (recorded values in {folder}): {listed}")
