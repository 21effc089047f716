from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.codec.registry import make_codec
from lmmrotate.errors import ConfigError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.base import FamilyOptions
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.pretraining import Answering, JointStage, LanguageStage, VisionStage, join
from lmmrotate.training.answer_places import AnswerPlaces
from lmmrotate.training.averaging import WeightAverage
from lmmrotate.training.pretrain import pretrain
from lmmrotate.training.pretrain_config import PretrainConfig
from lmmrotate.training.run_folder import LOCK_FILE
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
        vision_steps=1,
        language_steps=1,
        joint_steps=2,
        save_steps=1,
        logging_steps=1,
        dataloader_num_workers=0,
    )


def parts(config: PretrainConfig) -> tuple[BoxCodec, Florence2Family]:
    codec = make_codec("loc_tokens", config.mix.specs[0].classes)
    family = Florence2Family.from_preset(
        "tiny-random",
        codec.special_tokens,
        codec.words,
        FamilyOptions(image_square_length=config.image_square_length),
    )
    return codec, family


def test_pretraining_writes_a_run_that_predicts(short: PretrainConfig) -> None:
    short = replace(short, scene_views=2)
    result = pretrain(short)
    assert not (result.run_folder / "scenes").exists()
    predictor = Predictor.from_run(result.run_folder)
    assert predictor.classes == short.mix.specs[0].classes
    picture = Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8))
    assert len(predictor.predict([picture], options=DecodingOptions(max_new_tokens=4))) == 1
    with pytest.raises(ConfigError, match="holds a finished run"):
        pretrain(short)


def test_an_interrupted_pretraining_goes_on_and_ends_the_same(
    short: PretrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pretrain(short)
    whole = Path(short.output_dir)
    cut = tmp_path / "cut"
    for name in ("vision", "language", "joint", "pretrain.yaml"):
        (cut / name).parent.mkdir(exist_ok=True)
        (whole / name).rename(cut / name)
    for file in ("model.safetensors", "average.safetensors"):
        (cut / "joint" / file).unlink()
    last = cut / "joint" / "checkpoints" / "checkpoint-2"
    (last / "trainer_state.json").unlink()  # killed while it was written
    with pytest.raises(ConfigError, match=r"unfinished run with other options \(seed: 0 -> 1"):
        pretrain(replace(short, output_dir=str(cut), seed=1))
    pretrain(replace(short, output_dir=str(cut)))
    assert f"going on from {last.with_name('checkpoint-1')}" in caplog.text
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, cut))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_joining_keeps_what_the_language_model_reads(short: PretrainConfig) -> None:
    """The joined projector gives what head and reader gave one after the other."""
    codec, family = parts(short)
    vision = VisionStage(family.model, len(codec.classes))
    places = AnswerPlaces(family.tokenizer, codec)
    answering = Answering(
        family.model, torch.tensor(family.tokenizer(family.prompt).input_ids), places.ids, codec.circular
    )
    language = LanguageStage(family.model, answering, len(codec.classes))
    pictures = VisionBatches(codec.classes, family.preprocess, family.grid)
    answers = AnswerBatches(family, codec)
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
    codec, family = parts(short)
    batches = LanguageBatches(AnswerBatches(family, codec), codec.classes, 4)
    samples = [SceneDataset(short.mix, 5, 2, pictures=False)[i] for i in range(2)]
    again, first = batches(samples), batches(samples)
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gsd_m": (0.2,)}, "gsd_m must be two numbers"),
        ({"density_shares": (0.5, 0.5)}, "one number above 0 for each density"),
        ({"densities": ("many",)}, "unknown density 'many'"),
        ({"scene_views": 9}, "scene_views must be from 1 to 8"),
        ({"ema_decay": 1.0}, "ema_decay must be below 1"),
        ({"classes": ("unicorn",)}, "unknown class 'unicorn'"),
        ({"output_dir": ""}, "output_dir must be given"),
        ({"image_square_length": 100}, "image_square_length must be a multiple of 16"),
    ],
)
def test_wrong_options_are_refused(short: PretrainConfig, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(short, **change)  # type: ignore[arg-type]


def test_what_is_refused_leaves_no_folder_behind(short: PretrainConfig) -> None:
    with pytest.raises(ConfigError, match="response_format is 'boxes'"):
        pretrain(replace(short, response_format="boxes"))
    assert not Path(short.output_dir).exists()


def test_a_second_process_is_kept_out(short: PretrainConfig) -> None:
    folder = Path(short.output_dir)
    folder.mkdir()
    with FileLock(folder / LOCK_FILE), pytest.raises(ConfigError, match="another process is training"):
        pretrain(short)


def test_tokens_that_wrap_around_are_counted_from_the_last_word(short: PretrainConfig) -> None:
    class Turning(LocTokenCodec):
        circular = (False, True)

    _, family = parts(short)
    codec = Turning(("ship",))
    text = "There<loc_1><loc_2><loc_3><loc_4><sep><loc_5><loc_6>"
    labels = family.answer_labels([text, "<loc_7>"])
    tokens = [family.tokenizer.convert_ids_to_tokens(row[row >= 0]) for row in labels]
    wraps = AnswerPlaces(family.tokenizer, codec).circular(labels)
    found = [
        [t for t, wrap in zip(row, flags, strict=False) if wrap]
        for row, flags in zip(tokens, wraps, strict=True)
    ]
    assert found == [["<loc_2>", "<loc_4>", "<loc_6>"], []]


def test_the_average_follows_the_weights_and_is_stored(tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, 0.5)
    arguments = TrainingArguments(output_dir=str(tmp_path / "checkpoints"), use_cpu=True, report_to=[])
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    torch.nn.init.constant_(module.weight, 1.0)
    average.on_train_begin(arguments, state, control)
    torch.nn.init.constant_(module.weight, 3.0)
    state.global_step = 100
    average.on_step_end(arguments, state, control)
    average.on_train_end(arguments, state, control)
    average.load(tmp_path)
    assert module.weight.item() == 2.0


@pytest.mark.parametrize("response_format", ["loc_tokens", "rbox"])
def test_every_object_is_found_in_its_answer(short: PretrainConfig, response_format: str) -> None:
    """The pointer loss is told at which token a box begins, whatever the order of the answer."""
    _, family = parts(short)
    codec = make_codec(response_format, short.mix.specs[0].classes)
    samples = [SceneDataset(short.mix, 5, 24, pictures=False)[i] for i in range(24)]
    batch = AnswerBatches(family, codec)(samples)
    first_token = family.tokenizer.convert_tokens_to_ids("<loc_0>")
    assert len(batch["object_steps"]) == len(batch["object_cells"]) > 9
    for (image, _), bins, step in zip(
        batch["object_cells"], batch["object_bins"], batch["object_steps"], strict=True
    ):
        written = batch["labels"][image, step : step + len(codec.circular)] - first_token
        assert written.tolist() == bins.tolist()
        assert batch["labels"][image, step - 1] < first_token or (
            family.tokenizer.decode(batch["labels"][image, step - 1]) == "<sep>"
        )
