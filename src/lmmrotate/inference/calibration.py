"""Scores that say how likely a box is right, fitted on images that the model was not trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.inference.scores import FORMULAS

Floats = npt.NDArray[np.float64]
Method = Literal["isotonic", "platt"]
METHODS: tuple[Method, ...] = ("isotonic", "platt")

FILE = "calibration.json"
"""In the run directory."""
KIND = "lmmrotate-calibration"
SCHEMA_VERSION = 1

_TINY = 1e-9
_NEWTON_STEPS = 50


@dataclass(frozen=True)
class ScoreCalibration:
    """A formula for scores, and a rising curve from its values to probabilities."""

    formula: str
    """One of ``scores.FORMULAS``."""
    method: Method
    values: tuple[float, ...]
    """Values of the formula at which the curve is known, rising; between them it is straight."""
    probabilities: tuple[float, ...]
    """As many, rising, in [0, 1]."""
    fitted_on: Mapping[str, Any] = field(default_factory=dict)
    """Data set, split, images, fingerprint of the manifest, and what was measured there, for the record."""

    @property
    def identity(self) -> str:
        """Tells scores of one calibration from those of another."""
        curve = json.dumps([self.values, self.probabilities])
        return f"{self.formula}, {self.method} {hashlib.sha256(curve.encode()).hexdigest()[:8]}"

    def apply(self, values: Floats) -> Floats:
        """Probabilities (N,) for the formula's values (N,)."""
        out: Floats = np.interp(values, self.values, self.probabilities)
        return out

    def write(self, run: Path) -> None:
        """Write ``calibration.json`` into a run directory, atomically."""
        body = {"kind": KIND, "schema_version": SCHEMA_VERSION} | asdict(self)
        write_text_atomic(run / FILE, [json.dumps(body, indent=1) + "\n"])


def read_calibration(run: Path) -> ScoreCalibration | None:
    """The calibration of a run directory; None if it has none.

    Raises:
        CheckpointError: if the file does not follow the schema.
    """
    path = run / FILE
    if not path.exists():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if (body["kind"], body["schema_version"]) != (KIND, SCHEMA_VERSION):
            raise ValueError(f"kind or schema version is not {KIND} {SCHEMA_VERSION}")
        found = ScoreCalibration(
            str(body["formula"]),
            body["method"],
            tuple(map(float, body["values"])),
            tuple(map(float, body["probabilities"])),
            dict(body["fitted_on"]),
        )
        _check(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: is no calibration that can be read: {error}") from error
    return found


def _check(found: ScoreCalibration) -> None:
    if found.formula not in FORMULAS or found.method not in METHODS:
        raise ValueError(f"formula {found.formula!r} or method {found.method!r} is unknown")
    values, probabilities = np.array(found.values), np.array(found.probabilities)
    if len(values) != len(probabilities) or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError("values and probabilities must be as many finite numbers")
    if (np.diff(values) <= 0).any() or (np.diff(probabilities) < 0).any():
        raise ValueError("values and probabilities must rise")
    if not (0 <= probabilities[0] and probabilities[-1] <= 1):
        raise ValueError("probabilities must lie in [0, 1]")


def fit_curve(values: Floats, right: npt.NDArray[np.bool_], method: Method) -> tuple[Floats, Floats]:
    """The curve from the values of boxes (N,) and whether each is right (N,).

    Returns:
        Values and probabilities as ``ScoreCalibration`` holds them. The curve rises strictly where the
        values of the boxes lie, so that boxes keep their ranks.

    Raises:
        ConfigError: for an unknown method, or if all boxes are right or none is.
    """
    if method not in METHODS:
        raise ConfigError(f"method is {method!r}; valid: {', '.join(METHODS)}")
    if not right.any() or right.all():
        raise ConfigError(
            f"calibration: {int(right.sum())} of {len(right)} boxes are right; there must be right and wrong "
            "ones to tell them apart by; use more images"
        )
    return _isotonic(values, right) if method == "isotonic" else _platt(values, right)


def _isotonic(values: Floats, right: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Pool adjacent violators (Zadrozny and Elkan, KDD 2002); each pool's share of right ones stands at its
    mean value, and the curve is straight in between."""
    order = np.argsort(values, kind="stable")
    pools: list[list[float]] = []  # sum of values, sum of right ones, count
    for value, is_right in zip(values[order].tolist(), right[order].tolist(), strict=True):
        pools.append([value, float(is_right), 1.0])
        # Equal shares are pooled, too, so that the curve rises from pool to pool.
        while len(pools) > 1 and pools[-2][1] * pools[-1][2] >= pools[-1][1] * pools[-2][2]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    x = np.array([total / count for total, _, count in pools])
    y = np.array([hits / count for _, hits, count in pools])
    if x[0] > 0:
        x, y = np.append(0.0, x), np.append(0.0, y)
    if x[-1] < 1:
        x, y = np.append(x, 1.0), np.append(y, 1.0)
    return x, y


def _platt(values: Floats, right: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """A logistic curve over the logit of the value (Platt 1999, with his targets for few boxes), by Newton's
    method; kept as straight pieces between the values' percentiles."""
    hits, misses = int(right.sum()), int((~right).sum())
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    middle, scale = _logit(values).mean(), max(_logit(values).std(), _TINY)
    x = np.column_stack([(_logit(values) - middle) / scale, np.ones_like(values)])
    weights = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        share = _logistic(x @ weights)
        hessian = (x * (share * (1 - share))[:, None]).T @ x + _TINY * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (target - share))
        weights = weights + step
        if np.abs(step).max() < _TINY:
            break
    places = np.unique([0.0, *np.percentile(values, np.arange(101)), 1.0])
    slope = max(float(weights[0]), 0.0)  # a falling curve would turn ranks round
    return places, _logistic(slope * (_logit(places) - middle) / scale + weights[1])


def _logistic(values: Floats) -> Floats:
    out: Floats = 1 / (1 + np.exp(-np.clip(values, -50, 50)))
    return out


def _logit(values: Floats) -> Floats:
    inside = np.clip(values, _TINY, 1 - _TINY)
    out: Floats = np.log(inside / (1 - inside))
    return out
