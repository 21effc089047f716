from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lmmrotate.codec.registry import make_codec
from lmmrotate.errors import ConfigError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.loading import load_family
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train
from lmmrotate.training.objective import Objective

Config = Callable[..., TrainConfig]
ANSWER = "ship<loc_100><loc_100><loc_90><loc_300><loc_400><loc_310><loc_410><loc_110>"


@pytest.mark.parametrize("response_format", ["loc_tokens", "rbox"])
def test_both_options_train_resume_and_leave_an_ordinary_run(
    config: Config, tmp_path: Path, response_format: str
) -> None:
    options = {"location_smoothing": 3.0, "cell_loss": True, "response_format": response_format}
    whole = train(config(output_dir=str(tmp_path / "whole"), **options)).run_folder
    cut = config(output_dir=str(tmp_path / "cut"), **options)
    train(cut)
    run = tmp_path / "cut"
    for path in run.iterdir():  # as if killed after the checkpoint at step 2
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    (run / "checkpoints" / "checkpoint-4" / "trainer_state.json").write_text('{"global_step": 4')
    assert train(cut).resumed_from == "checkpoint-2"

    weights, resumed = (load_file(folder / "model.safetensors") for folder in (whole, run))
    assert not [name for name in weights if "cell_loss" in name]
    for name, tensor in weights.items():
        torch.testing.assert_close(resumed[name], tensor)
    assert (
        len(
            Predictor.from_run(whole).predict(
                [Image.new("RGB", (30, 20))], options=DecodingOptions(max_new_tokens=4)
            )
        )
        == 1
    )


def test_the_options_change_what_is_learned(config: Config, tmp_path: Path) -> None:
    runs = [
        train(config(output_dir=str(tmp_path / str(number)), **options)).loss
        for number, options in enumerate(({}, {"location_smoothing": 3.0}, {"cell_loss": True}))
    ]
    assert runs[0] != runs[1]
    assert runs[2] > runs[0] + 4  # the cell loss of untrained weights is about ln 1000


def test_without_smoothing_it_is_the_models_own_loss() -> None:
    codec = make_codec("loc_tokens", ["ship"])
    family = load_family(
        "tiny-random", tokens=codec.special_tokens, words=codec.words, image_square_length=64
    )
    family.model.eval()
    answers = [ANSWER, "There are none."]
    batch = family.training_batch([Image.new("RGB", (64, 64))] * 2, answers)
    objective = Objective(family, codec, 0.0, with_cells=False)
    with torch.no_grad():
        outputs = family.model(**batch)
    tokens = (batch["labels"] != -100).sum()
    targets = objective.targets(batch["labels"], answers)
    loss = objective(outputs, batch["labels"], targets, tokens, torch.tensor(0))
    torch.testing.assert_close(loss, outputs.loss)


def test_cells_are_those_of_the_centres() -> None:
    codec = make_codec("loc_tokens", ["ship"])
    family = load_family(
        "tiny-random", tokens=codec.special_tokens, words=codec.words, image_square_length=64
    )
    objective = Objective(family, codec, 0.0, with_cells=True)
    answers = ["There are none.", ANSWER]
    targets = objective.targets(family.answer_labels(answers), answers)
    # The centre lies at a quarter of the image, which has 4 x 4 cells: cell 4 * 0 + 0 or beyond.
    x, y = (100 + 90 + 400 + 410 + 2) / 4000, (100 + 300 + 310 + 110 + 2) / 4000
    assert targets["object_cells"].tolist() == [[1, int(y * 4) * 4 + int(x * 4)]]
    assert targets["object_bins"].tolist() == [[100, 100, 90, 300, 400, 310, 410, 110]]
    states = family.cell_states(family.model(**family.training_batch([Image.new("RGB", (9, 9))], [ANSWER])))
    assert states.shape == (1, family.grid**2, 128)


def test_a_negative_width_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match="location_smoothing must not be negative"):
        replace(config(), location_smoothing=-1.0)
