from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, Florence2ForConditionalGeneration, Florence2Processor

from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.models.base import IGNORE_INDEX, ModelFamily
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.loading import load_family
from lmmrotate.models.preprocessing import SquareResize

Build = Callable[..., Florence2Family]
ANSWERS = [
    "ship" + "<loc_7>" * 8 + "<sep>" + "<loc_9>" * 8 + "small vehicle" + "<loc_1>" * 8,
    "There are none.",
    "quai é" + "<loc_999>" * 8,
]


def memorise(family: Florence2Family, pictures: list[Image.Image], steps: int = 120) -> float:
    batch = family.training_batch(pictures, ANSWERS)
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=1e-3)
    family.model.train()
    for _ in range(steps):
        loss = family.model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


@torch.inference_mode()
def first_logits(family: ModelFamily, pictures: list[Image.Image]) -> torch.Tensor:
    return family.answer_decoder(pictures).begin()


def test_labels_hold_the_answer_and_nothing_else(tiny: Build, pictures: list[Image.Image]) -> None:
    family = tiny()
    batch = family.training_batch(pictures, ANSWERS)
    for label, answer in zip(batch["labels"], ANSWERS, strict=True):
        kept = label[label != IGNORE_INDEX]
        assert family.tokenizer.decode(kept) == f"<s>{answer}</s>"
        assert len(kept) == len(family.answer_ids(answer))
    prompt = family.tokenizer.decode(batch["input_ids"][0])
    assert prompt == "<image>" * (1 + 4 * 4) + f"<s>{family.prompt}</s>"


def test_names_prompt_and_coordinates_are_single_tokens(tiny: Build) -> None:
    family = tiny()
    assert len(family.answer_ids("small vehicle" + "<loc_12>" * 8)) == 2 + 1 + 8
    assert len(family.answer_ids("boat")) == 2 + 4, "unknown words are spelled"
    assert len(family._prompt_ids) == 1 + 16 + 3


def test_saved_checkpoint_is_complete(tiny: Build, pictures: list[Image.Image], tmp_path: Path) -> None:
    family = tiny()
    memorise(family, pictures, steps=10)
    family.model.save_pretrained(tmp_path)
    family.save_processor(tmp_path)
    again = load_family(str(tmp_path), tokens=[])
    assert again.image_square_length == 64
    before, after = (first_logits(one, pictures) for one in (family, again))
    assert torch.equal(before, after)
    # Anybody with Transformers alone reads the same folder to the same numbers.
    processor = Florence2Processor.from_pretrained(tmp_path)
    inputs = processor(text=[family.prompt] * 3, images=pictures, return_tensors="pt")
    ours = family.training_batch(pictures, ANSWERS)
    torch.testing.assert_close(inputs["pixel_values"], ours["pixel_values"], atol=1e-6, rtol=0)
    assert torch.equal(inputs["input_ids"], ours["input_ids"])
    native = Florence2ForConditionalGeneration.from_pretrained(tmp_path)
    assert native.generate(**inputs, max_new_tokens=3).shape[0] == 3


def test_preprocessing_equals_the_reference(pictures: list[Image.Image]) -> None:
    reference = CLIPImageProcessorPil(
        size={"height": 48, "width": 48},
        do_center_crop=False,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    expected = reference(pictures, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(SquareResize(48)(pictures), expected, atol=1e-6, rtol=0)


def test_tokens_are_added_once_with_rows_like_the_others(tiny: Build) -> None:
    family = tiny()
    table = family.model.get_input_embeddings().weight.detach().clone()
    assert family.add_tokens(["<sep>", "<loc_0>"]) == 0
    assert family.add_tokens(["<new>", "<newer>"]) == 2
    grown = family.model.get_input_embeddings().weight
    assert len(grown) == len(table) + 2
    torch.testing.assert_close(grown[:-2], table, atol=0, rtol=0)
    apart = (grown[-1] - grown[-2]).norm()
    usual = (table[-1] - table[-2]).norm()
    assert usual / 3 < apart < usual * 3, "equal rows would be one word with two names"
    assert family.model.lm_head.weight is grown, "input and output table stay one"


def test_parts_cover_every_weight_once(tiny: Build) -> None:
    family = tiny()
    listed = [id(p) for modules in family.parts().values() for m in modules for p in m.parameters()]
    assert sorted(listed) == sorted(id(p) for p in family.model.parameters())


def test_positions_grow_for_large_images_and_long_answers(
    tiny: Build, tmp_path: Path, pictures: list[Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    family = tiny()
    family.save(tmp_path / "small", "native")
    grown = load_family(
        str(tmp_path / "small"), tokens=[], image_square_length=960, language_model_max_length=4000
    )
    assert "positions grow from 512 to 4000" in caplog.text
    assert grown.grid == 60
    assert grown.max_answer_tokens == 4000
    assert [(len(table), old) for table, old in grown.grown_positions()] == [(4002, 514)] * 2
    assert family.grown_positions() == []
    written = first_logits(grown, pictures)
    grown.save(tmp_path / "grown", "native")
    again = load_family(str(tmp_path / "grown"), tokens=[])
    assert again.max_answer_tokens == 4000
    assert torch.equal(first_logits(again, pictures), written)
    assert load_family(str(tmp_path / "small"), tokens=[], prompt="x" * 600).max_answer_tokens == 512 + 107


def test_impossible_sizes_are_refused(tiny: Build) -> None:
    with pytest.raises(ConfigError, match="at least 16"):
        tiny(image_square_length=4)


def test_checkpoints_without_some_weights_are_refused(tiny: Build, tmp_path: Path) -> None:
    family = tiny()
    family.model.save_pretrained(tmp_path)
    family.save_processor(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if name.endswith("image_projection.weight"))
    save_file(
        {k: v for k, v in weights.items() if k != gone}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(CheckpointError, match=r"1 weights are missing: .*image_projection\.weight"):
        load_family(str(tmp_path), tokens=[])
