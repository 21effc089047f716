"""Results of MMRotate: what its test script dumps with ``--out results.pkl``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.foreign.joining import Joiner
from lmmrotate.evaluation.foreign.pickles import Array, Inert, as_array, load_pickle


def read_mmrotate(path: Path, manifest: Manifest) -> Predictions:
    """A pickle of MMRotate 1 or 0, or a ``torch.save`` file of the same content (see ``pickles``).

    Version 1: a list of samples with ``img_path`` or ``img_id`` and ``pred_instances``: ``bboxes`` (N, 5)
    cx cy w h angle in radians or (N, 8) corners, ``scores`` and ``labels`` (N,). Version 0: a list, in the
    manifest's order of images, of one array (N, 6) a class, the score last.

    Raises:
        DataError: naming file and entry.
    """
    joiner = Joiner(manifest, path)
    content = load_pickle(path)
    if not isinstance(content, (list, tuple)):
        raise DataError(f"{path}: expected a list of results, found a {type(content).__name__}")
    if content and isinstance(content[0], (list, tuple)):
        _read_arrays(joiner, content)
    else:
        for number, sample in enumerate(content):
            _read_sample(joiner, sample, f"{path}: [{number}]")
    return joiner.predictions()


def _read_sample(joiner: Joiner, sample: Any, where: str) -> None:
    fields = _fields(sample)
    instances = _fields(fields.get("pred_instances", fields.get("_pred_instances")))
    meta = {**_fields(fields.get("metainfo")), **fields}
    name = next(
        (
            str(meta[key])
            for key in ("img_path", "img_id", "file_name")
            if isinstance(meta.get(key), (str, int))
        ),
        None,
    )
    boxes, scores, labels = (as_array(instances.get(key)) for key in ("bboxes", "scores", "labels"))
    if name is None or boxes is None or scores is None or labels is None:
        raise DataError(
            f"{where}: expected img_path or img_id, and pred_instances with bboxes, scores and labels; "
            f"found {', '.join(key for key in fields if isinstance(key, str)) or 'nothing'}"
        )
    _add(joiner, joiner.image(name, where), boxes, labels, scores, where)


def _read_arrays(joiner: Joiner, content: Sequence[Any]) -> None:
    records, classes = joiner.manifest.records, joiner.manifest.classes
    if len(content) != len(records):
        raise DataError(
            f"{joiner.path}: results of {len(content)} images in the data set's order, but the manifest has "
            f"{len(records)}"
        )
    for image, by_class in enumerate(content):
        where = f"{joiner.path}: [{image}]"
        if not isinstance(by_class, (list, tuple)) or len(by_class) != len(classes):
            raise DataError(f"{where}: expected one array for each of the {len(classes)} classes")
        arrays = [_scored_boxes(value, f"{where}[{label}]") for label, value in enumerate(by_class)]
        if len({array.shape[1] for array in arrays}) > 1:
            raise DataError(f"{where}: some arrays have 6 columns and some 9; expected one of both")
        rows = np.concatenate(arrays)
        labels = np.repeat(np.arange(len(classes)), [len(array) for array in arrays])
        _add(joiner, image, rows[:, :-1], labels, rows[:, -1], where)


def _scored_boxes(value: Any, where: str) -> Array:
    array = as_array(value)
    if array is None or array.ndim != 2 or array.shape[1] not in (6, 9):
        raise DataError(f"{where}: expected an array (N, 6) or (N, 9), the score last")
    return array


def _add(joiner: Joiner, image: int, boxes: Array, labels: Array, scores: Array, where: str) -> None:
    if boxes.ndim != 2 or boxes.shape[1] not in (5, 8):
        raise DataError(f"{where}: boxes must be (N, 5) or (N, 8), found {boxes.shape}")
    if not labels.shape == scores.shape == boxes.shape[:1]:
        raise DataError(
            f"{where}: {len(boxes)} boxes need as many labels and scores, "
            f"found {labels.shape} and {scores.shape}"
        )
    joiner.add(
        image, boxes.astype(np.float64), labels, scores, lambda i: f"{where}: detection {i} of this image"
    )


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, Inert):
        return value.fields
    return dict(value) if isinstance(value, dict) else {}
