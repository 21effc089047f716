"""Oriented object detection in aerial images with vision-language models.

The names below are the public interface; they are imported when first used, so that ``import lmmrotate``
and evaluation do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmmrotate.data.convert import convert as convert
    from lmmrotate.data.manifest import Manifest as Manifest
    from lmmrotate.data.manifest import read_manifest as read_manifest
    from lmmrotate.data.predictions import Predictions as Predictions
    from lmmrotate.data.predictions import read_predictions as read_predictions
    from lmmrotate.data.records import ImageRecord as ImageRecord
    from lmmrotate.data.records import Prediction as Prediction
    from lmmrotate.data.tiling import tile_manifest as tile_manifest
    from lmmrotate.errors import LmmRotateError as LmmRotateError
    from lmmrotate.evaluation.evaluate import evaluate as evaluate
    from lmmrotate.inference.detector import Detector as Detector
    from lmmrotate.inference.predictor import Predictor as Predictor
    from lmmrotate.training.config import TrainConfig as TrainConfig
    from lmmrotate.training.fit import train as train

__version__ = "0.1.0"

_HOMES = {
    "Detector": "inference.detector",
    "ImageRecord": "data.records",
    "LmmRotateError": "errors",
    "Manifest": "data.manifest",
    "Prediction": "data.records",
    "Predictions": "data.predictions",
    "Predictor": "inference.predictor",
    "TrainConfig": "training.config",
    "convert": "data.convert",
    "evaluate": "evaluation.evaluate",
    "read_manifest": "data.manifest",
    "read_predictions": "data.predictions",
    "tile_manifest": "data.tiling",
    "train": "training.fit",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmmrotate' has no attribute {name!r}")
    return getattr(import_module(f"lmmrotate.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
