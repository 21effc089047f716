from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.training.config import TrainConfig

CLASSES = ("ship", "small-vehicle")


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
        labels.append(CLASSES[label])
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
        Manifest("toy", name, CLASSES, tuple(records)).write(path)
        return path

    return write


@pytest.fixture
def config(tmp_path: Path, data: Callable[..., Path]) -> Callable[..., TrainConfig]:
    """A configuration that trains a tiny model in seconds."""

    def build(**options: object) -> TrainConfig:
        settings: dict[str, object] = {
            "data_path": (str(data()),),
            "output_dir": str(tmp_path / "run"),
            "image_square_length": 64,
            "max_steps": 4,
            "save_steps": 2,
            "logging_steps": 1,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
        }
        return TrainConfig(**(settings | options))  # type: ignore[arg-type]

    return build
