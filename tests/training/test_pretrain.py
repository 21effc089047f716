from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lmmrotate.codec.registry import make_codec
from lmmrotate.errors import ConfigError
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.pretraining import Answering, JointStage, LanguageStage, VisionStage, join, random_tiny
from lmmrotate.training.answer_places import AnswerPlaces
from lmmrotate.training.pretrain import pretrain
from lmmrotate.training.pretrain_config import PretrainConfig
from lmmrotate.training.scene_batches import AnswerBatches, JointBatches, LanguageBatches, VisionBatches
from lmmrotate.training.scenes import SceneDataset


@pytest.fixture
def short(tmp_path: Path) -> PretrainConfig:
    return PretrainConfig(
        output_dir=str(tmp_path / "run"),
        image_square_length=64,
        densities=("sparse",),
        density_shares=(1.0,),
        batch_size=2,
        vision_steps=2,
        language_steps=2,
        joint_steps=4,
        save_steps=2,
        logging_steps=1,
        dataloader_num_workers=0,
    )


def test_pretraining_writes_a_run_that_predicts(short: PretrainConfig) -> None:
    result = pretrain(short)
    predictor = Predictor.from_run(result.run_folder)
    assert predictor.classes == short.mix.specs[0].classes
    picture = Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8))
    assert len(predictor.predict([picture], max_new_tokens=4)) == 1
    with pytest.raises(ConfigError, match="holds a finished run"):
        pretrain(short)


def test_an_interrupted_pretraining_goes_on_and_ends_the_same(short: PretrainConfig, tmp_path: Path) -> None:
    pretrain(short)
    whole = Path(short.output_dir)
    cut = tmp_path / "cut"
    for name in ("vision", "language", "joint", "pretrain.yaml"):
        (cut / name).parent.mkdir(exist_ok=True)
        (whole / name).rename(cut / name)
    for file in ("model.safetensors", "average.safetensors"):
        (cut / "joint" / file).unlink()
    last = cut / "joint" / "checkpoints" / "checkpoint-4"
    (last / "trainer_state.json").unlink()  # killed while it was written
    with pytest.raises(ConfigError, match=r"unfinished run with other options \(seed: 0 -> 1"):
        pretrain(replace(short, output_dir=str(cut), seed=1))
    pretrain(replace(short, output_dir=str(cut)))
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, cut))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_joining_keeps_what_the_language_model_reads(short: PretrainConfig) -> None:
    """The joined projector gives what head and reader gave one after the other."""
    codec = make_codec("loc_tokens", short.mix.specs[0].classes)
    family = random_tiny(codec.special_tokens, codec.words, 64)
    vision = VisionStage(family.model, len(codec.classes))
    places = AnswerPlaces(family.tokenizer, codec)
    answering = Answering(
        family.model, torch.tensor(family.tokenizer(family.prompt).input_ids), places.ids, codec.circular
    )
    language = LanguageStage(answering, len(codec.classes))
    pictures = VisionBatches(codec.classes, family.preprocess, family.grid)
    answers = AnswerBatches(family.tokenizer, codec, family.grid)
    dataset = SceneDataset(short.mix, 3, 4)
    batch = JointBatches(pictures, answers)([dataset[i] for i in range(4)])
    assert batch["cell_classes"].any()
    with torch.no_grad():
        torch.nn.init.normal_(vision.head.bias)
        seen = vision(**{k: batch[k] for k in ("pixel_values", "cell_classes", "cell_numbers")})
        answer_batch = {
            k: v for k, v in batch.items() if k not in ("pixel_values", "cell_classes", "cell_numbers")
        }
        apart = language(seen["cells"], **answer_batch)["loss"] + seen["loss"]
        join(family.model, vision.head, language.reader)
        together = JointStage(family.model, answering, vision.head)(**batch)["loss"]
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


def test_imitated_cells_repeat_with_the_scene(short: PretrainConfig) -> None:
    codec = make_codec("loc_tokens", short.mix.specs[0].classes)
    family = random_tiny(codec.special_tokens, codec.words, 64)
    batches = LanguageBatches(AnswerBatches(family.tokenizer, codec, 4), codec.classes, 4)
    samples = [SceneDataset(short.mix, 5, 2, pictures=False)[i] for i in range(2)]
    again, first = batches(samples), batches(samples)
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gsd_m": (0.2,)}, "gsd_m must be two numbers"),
        ({"density_shares": (0.5, 0.5)}, "one number above 0 for each density"),
        ({"densities": ("many",)}, "unknown density 'many'"),
        ({"ema_decay": 1.0}, "ema_decay must be below 1"),
        ({"classes": ("unicorn",)}, "unknown class 'unicorn'"),
        ({"output_dir": ""}, "output_dir must be given"),
    ],
)
def test_wrong_options_are_refused(short: PretrainConfig, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(short, **change)  # type: ignore[arg-type]
