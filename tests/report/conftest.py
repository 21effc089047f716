"""A small data set with one image of every fate, and hand-made numbers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.errors import Problem
from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.geometry.quads import Quads, as_quads

CLASSES = ("plane", "ship", "harbor")
HOSTILE = "<script>alert('x')</script>"


def square(x: float, y: float, side: float = 20) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def quads(*squares: list[list[float]]) -> Quads:
    return as_quads(np.array(squares).reshape(-1, 4, 2))


def class_result(label: str, objects: int = 10, ap: float = 0.5) -> ClassResult:
    return ClassResult(
        label=label,
        objects=objects,
        detections=12,
        true_positives=8,
        false_positives=4,
        ap_11=ap,
        ap_area=ap - 0.01,
        ap_nc=ap - 0.02,
        precision=0.667,
        recall=0.8,
        f1=0.727,
        curve_recall=np.linspace(0.1, 0.8, 12),
        curve_precision=np.linspace(1, 0.667, 12),
    )


def evaluation_of(classes: tuple[ClassResult, ...], **fields: object) -> Evaluation:
    values: dict[str, object] = {
        "protocol": "corrected",
        "iou_threshold": 0.5,
        "score_threshold": 0.0,
        "images": 4,
        "missing_images": 1,
        "map_11": 0.6123,
        "map_area": 0.6234,
        "map_nc": 0.5345,
        "mf1": 0.7456,
        "classes": classes,
        "problems": {"incomplete_box": 2, "unknown_label": 1},
        "truncated": 1,
        "seconds_per_image": 0.25,
    }
    return Evaluation(**(values | fields))  # type: ignore[arg-type]


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluation_of(
        (class_result("plane", ap=0.91), class_result("ship", ap=0.314), class_result("harbor", 0, np.nan))
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Four 100 x 80 images: the third is not an image file."""
    for name in ("a.png", "b.png", "d.png"):
        Image.new("RGB", (100, 80), (90, 100, 90)).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no picture")
    records = (
        ImageRecord("a.png", 100, 80, quads(square(10, 10), square(50, 40)), ("plane", "ship"), (0, 0)),
        ImageRecord("b.png", 100, 80, quads(square(10, 10), square(60, 40)), ("ship", "ship"), (0, 1)),
        ImageRecord("c.png", 100, 80, quads(square(10, 10)), ("plane",), (0,)),
        ImageRecord("d.png", 100, 80, quads(square(30, 30)), ("plane",), (0,)),
    )
    return Manifest("tiny", "test", CLASSES, records, tmp_path)


@pytest.fixture
def predictions() -> Predictions:
    """a: all right; b: one false, one on a difficult object, one missed; c: right; d: no line."""
    return Predictions(
        PredictionsHeader(CLASSES, "model-1234", "loc_tokens", {"num_beams": 1}),
        (
            Prediction(
                "a.png",
                100,
                80,
                "plane…",
                quads(square(11, 10), square(50, 41)),
                ("plane", "ship"),
                (0.9, 0.8),
            ),
            Prediction(
                "b.png",
                100,
                80,
                f"ship {HOSTILE}",
                quads(square(40, 5), square(60, 40)),
                ("ship", "ship"),
                (0.7, 0.6),
                (Problem("incomplete_box", HOSTILE), Problem("unknown_label", "dock")),
                truncated=True,
            ),
            Prediction("c.png", 100, 80, "", quads(square(10, 10)), ("plane",), (0.5,)),
        ),
    )
