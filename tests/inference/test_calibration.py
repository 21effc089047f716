"""Scores that are probabilities."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.assets import TINY, model_path
from lmmrotate.cli.main import main
from lmmrotate.data.synthetic.dataset import synthesise
from lmmrotate.data.synthetic.scene import SceneSpec
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.inference.calibration import (
    FILE,
    METHODS,
    Method,
    ScoreCalibration,
    fit_curve,
    read_calibration,
)
from lmmrotate.inference.predictor import Predictor


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 2**32 - 1))
def test_scores_become_shares_of_right_boxes_and_keep_their_ranks(method: Method, seed: int) -> None:
    """Boxes whose value is a distorted probability: the curve undoes the distortion."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.02, 0.98, 4000)
    right = rng.uniform(size=4000) < truth
    logit = np.log(truth / (1 - truth))
    values = 1 / (1 + np.exp(-(1.7 * logit - 2.5)))  # too low, and too sure
    x, y = fit_curve(values, right, method)
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert ((y >= 0) & (y <= 1)).all()
    curve = ScoreCalibration("product", method, tuple(x), tuple(y))
    fitted = curve.apply(values)
    assert np.abs(fitted - truth).mean() < 0.06
    order = np.argsort(values)
    assert (np.diff(fitted[order]) >= 0).all()
    if method == "isotonic":  # the means of the pools are the shares of right ones
        assert fitted.mean() == pytest.approx(right.mean(), abs=0.02)


def test_isotonic_is_the_best_rising_curve_at_its_pools() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    right = np.array([False, True, False, True, True, True])
    x, y = fit_curve(values, right, "isotonic")
    assert dict(zip(x.round(6).tolist(), y.tolist(), strict=True)) == {0: 0, 0.1: 0, 0.25: 0.5, 0.5: 1, 1: 1}


def test_what_cannot_be_fitted_is_refused() -> None:
    values = np.array([0.1, 0.5])
    for right in ([True, True], [False, False]):
        with pytest.raises(ConfigError, match="must be right and wrong"):
            fit_curve(values, np.array(right), "isotonic")
    with pytest.raises(ConfigError, match="method is 'magic'; valid: isotonic, platt"):
        fit_curve(values, np.array([True, False]), "magic")  # type: ignore[arg-type]


def test_files_are_read_back_and_checked(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    made = ScoreCalibration("minimum", "platt", (0.0, 0.5, 1.0), (0.1, 0.2, 0.9), {"images": 3})
    made.write(tmp_path)
    assert read_calibration(tmp_path) == made
    body = json.loads((tmp_path / FILE).read_text())
    for change in (
        {"kind": "other"},
        {"formula": "luck"},
        {"values": [0.5, 0.5, 1]},
        {"probabilities": [0.3, 0.2, 0.9]},
        {"probabilities": [0.1, 0.2, 1.9]},
        {"values": []},
        {"values": "x"},
    ):
        (tmp_path / FILE).write_text(json.dumps(body | change))
        with pytest.raises(CheckpointError, match=r"calibration\.json: is no calibration"):
            read_calibration(tmp_path)


def test_the_command_calibrates_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(model_path(TINY), run)
    (run / FILE).unlink(missing_ok=True)
    before = Predictor.from_run(run, device="cpu")
    spec = SceneSpec(256, 256, (0.2, 0.4), 12, before.classes)
    synthesise(tmp_path / "data", 24, spec, seed=77, split="val")
    command = ["calibrate", str(run), "--manifest", str(tmp_path / "data" / "val.jsonl"), "--device", "cpu"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["formulas"]) >= {"opening", "product", "minimum", "opening_iou"}
    assert told["after"]["calibration_error"] < told["formulas"][told["formula"]]["calibration_error"]
    after = Predictor.from_run(run, device="cpu")
    assert after.header.settings["score"].startswith(told["formula"])
    assert after.header.settings != before.header.settings, "predictions are not mixed up"
    assert main([*command, "--formula", "luck"]) == 2
    other = SceneSpec(256, 256, 0.3, 3, ("ship", "plane"))
    synthesise(tmp_path / "other", 2, other, seed=1, split="val")
    command[3] = str(tmp_path / "other" / "val.jsonl")
    assert main(command) == 2, "other classes"
