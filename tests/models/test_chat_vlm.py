"""What chat models have in common: templates, sizes, what is saved."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lmmrotate.errors import CheckpointError, ConfigError, DataError
from lmmrotate.models.loading import load_family
from lmmrotate.models.vocabulary import Speller, Spelling

PICTURE = Image.new("RGB", (64, 48), "red")
# As published templates are: a system text unless there is one, the answer behind a line break of its own.
WITH_SYSTEM = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VICUNA = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|image_pad|>{% else %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% if m['role'] == 'assistant' %}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT: {% endif %}"
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    load_family("tiny-qwen2_vl", tokens=(), words=("ship",)).save(tmp_path, "native")
    return tmp_path


def question(family: Any) -> str:
    return str(family.tokenizer.decode(family._row(PICTURE).ids)).replace("<|image_pad|>", "")


def test_the_template_of_the_checkpoint_is_used(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").write_text(WITH_SYSTEM)
    plain: Any = load_family(str(checkpoint), tokens=(), prompt="Where?")
    assert question(plain) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n<|vision_start|><|vision_end|>Where?"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    told: Any = load_family(str(checkpoint), tokens=(), prompt="Where?", system_prompt="Look.")
    assert question(told).startswith("<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\n")
    assert plain.tokenizer.decode(plain.answer_ids("ship")) == "ship<|im_end|>"
    (checkpoint / "chat_template.jinja").write_text(VICUNA)
    other: Any = load_family(str(checkpoint), tokens=(), prompt="Where?")
    assert question(other) == "USER: Where? ASSISTANT: "
    assert other.answer_ids("") == plain.answer_ids("")


def test_templates_of_older_checkpoints_and_none(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="no chat template: take an instruction-tuned one"):
        load_family(str(checkpoint), tokens=())
    (checkpoint / "chat_template.json").write_text(json.dumps({"chat_template": VICUNA}))
    assert "USER: " in question(load_family(str(checkpoint), tokens=()))
    (checkpoint / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages[0]['role'] }}"}))
    with pytest.raises(CheckpointError, match="does not place one image"):
        load_family(str(checkpoint), tokens=())


def test_new_words_begin_at_the_mean_and_apart(checkpoint: Path) -> None:
    before = load_family(str(checkpoint), tokens=()).model.get_input_embeddings().weight
    family = load_family(str(checkpoint), tokens=[f"<loc_{number}>" for number in range(1000)])
    new = family.model.get_input_embeddings().weight[len(before) :]
    assert len(new) == 1000
    spread, mean = torch.std_mean(before, dim=0)
    assert (new - mean).abs().max() < 0.01 * spread.max()
    assert len(new.unique(dim=0)) == 1000
    assert family.model.get_output_embeddings().weight is family.model.get_input_embeddings().weight
    assert family.model.config.get_text_config().vocab_size == len(before) + 1000


def test_sizes_are_limited_and_saved(tmp_path: Path) -> None:
    family = load_family("tiny-qwen2_vl", tokens=(), min_pixels=4096, max_pixels=10_000)
    assert family.shown_wh((16, 16)) == (64, 64)
    assert family.shown_wh((70, 60)) == (64, 64)
    assert family.shown_wh((400, 300)) == (112, 80)
    assert family.image_square_length == 96
    family.save(tmp_path, "native")
    again = load_family(str(tmp_path), tokens=())
    assert again.shown_wh((400, 300)) == (112, 80)
    assert load_family(str(tmp_path), tokens=(), image_square_length=48).shown_wh((400, 300)) == (48, 32)
    with pytest.raises(DataError, match="an image of 500 x 2 px is too narrow"):
        again.training_batch([Image.new("RGB", (500, 2))], [""])
    grid = load_family("tiny-internvl", tokens=(), image_square_length=64)
    assert grid.shown_wh((400, 100)) == (64, 64)
    frames = load_family("tiny-llava_onevision", tokens=(), image_square_length=100)
    assert frames.shown_wh((1000, 1000)) == (96, 96)
    fixed = load_family("tiny-paligemma", tokens=(), image_square_length=64)
    assert fixed.shown_wh((3, 900)) == (64, 64)
    with pytest.raises(ConfigError, match="image_square_length and max_pixels"):
        load_family("tiny-qwen2_vl", tokens=(), image_square_length=64, max_pixels=100)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "internvl", "llava_onevision", "paligemma"])
def test_what_is_saved_can_be_read_by_others(name: str, tmp_path: Path) -> None:
    """Processor classes by the names that every version knows, and the generation settings as they were."""
    family = load_family(f"tiny-{name}", tokens=())
    family.save(tmp_path, "native")
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert settings["image_processor_type"].endswith("ImageProcessor")
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == name
    with pytest.raises(ConfigError, match="layout is 'original'"):
        family.save(tmp_path / "x", "original")


def test_paligemma_lends_its_own_locations(tmp_path: Path) -> None:
    own = [f"<loc{number:04d}>" for number in range(1024)]
    load_family("tiny-paligemma", tokens=own).save(tmp_path, "native")
    family = load_family(str(tmp_path), tokens=[f"<loc_{number}>" for number in range(1000)])
    table, ids = family.model.get_input_embeddings().weight, family.tokenizer.convert_tokens_to_ids
    for mine, theirs in ((0, 0), (500, 512), (999, 1023)):
        assert torch.equal(table[ids(f"<loc_{mine}>")], table[ids(own[theirs])])


def test_bytes_of_tokens_spell_what_they_write() -> None:
    family: Any = load_family("tiny-internvl", tokens=(), words=("größe", "<ref>"))
    spelled, speller = Spelling(family.tokenizer).all(), Speller(family.tokenizer)
    ids = family.tokenizer("größe x\nß<ref>", add_special_tokens=False).input_ids
    assert b"".join(spelled[token] for token in ids).decode() == "größe x\nß<ref>"
    assert speller.text_with_ends(ids)[0] == "größe x\nß<ref>"
    assert speller.text_with_ends(ids[:3])[1] == sorted(speller.text_with_ends(ids[:3])[1])
    sharp = family.tokenizer("ß", add_special_tokens=False).input_ids  # of two bytes, a token each
    assert speller.text_with_ends(sharp) == ("ß", [0, 1])
    assert speller.text_with_ends(sharp[:1]) == ("\ufffd", [0])
    assert not set(spelled) & {family.tokenizer.eos_token_id, family.tokenizer.pad_token_id}


def test_bytes_of_sentencepiece_tokens() -> None:
    """As Gemma writes them."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocab = {"<eos>": 0, "▁ship": 1, "<0x0A>": 2, "ü": 3}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    assert Spelling(fast).all() == {1: b" ship", 2: b"\n", 3: "ü".encode()}
