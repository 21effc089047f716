"""What chat models have in common: templates, sizes, what is saved."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lmmrotate.codec.registry import make_codec
from lmmrotate.errors import CheckpointError, ConfigError, DataError
from lmmrotate.inference.decoding import DecodingOptions, Writer
from lmmrotate.models.base import FamilyOptions
from lmmrotate.models.loading import family_class, load_family
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

TEXT_ONLY = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}{% endfor %}"
FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "llava_onevision", "paligemma")


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
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": TEXT_ONLY}))
    assert "USER: " in question(load_family(str(checkpoint), tokens=())), "the processor's knows images"
    (checkpoint / "chat_template.json").unlink()
    with pytest.raises(CheckpointError, match="is it that of a text model"):
        load_family(str(checkpoint), tokens=())
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


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_spare_rows_are_no_words(name: str, tied: bool, tmp_path: Path) -> None:
    """Published tables are longer than their vocabularies; Qwen2.5-VL-7B has 399 rows that are no words."""
    torch.manual_seed(0)
    family: Any = load_family(f"tiny-{name}", tokens=())
    words = len(family.tokenizer)
    family.model.config.tie_word_embeddings = family.model.config.get_text_config().tie_word_embeddings = tied
    if not tied:
        family.model.lm_head.weight = torch.nn.Parameter(2 * family.model.lm_head.weight.detach())
    family.model.resize_token_embeddings(words + 399, mean_resizing=False)
    tables = (family.model.get_input_embeddings().weight, family.model.get_output_embeddings().weight)
    assert (tables[0] is tables[1]) == tied
    with torch.no_grad():
        for table in tables:
            table[words:] = 0
    family.save(tmp_path, "native")
    fresh = [f"<loc_{number}>" for number in range(1000)]
    again = load_family(str(tmp_path), tokens=fresh)
    ids = again.tokenizer.convert_tokens_to_ids(fresh)
    assert ids == list(range(words, words + 1000))
    for table in (again.model.get_input_embeddings().weight, again.model.get_output_embeddings().weight):
        spread, mean = torch.std_mean(table[:words], dim=0)
        assert (table[ids] - mean).abs().max() < 0.01 * spread.max()
        assert len(table[ids].unique(dim=0)) == 1000


def test_an_end_token_that_only_the_template_has(checkpoint: Path) -> None:
    """It ends answers and is no part of them."""
    family: Any = load_family(str(checkpoint), tokens=())
    family.tokenizer.eos_token = "<|endoftext|>"
    family.save_processor(checkpoint)
    again: Any = load_family(str(checkpoint), tokens=())
    end = again.answer_ids("")[-1]
    assert again.tokenizer.convert_ids_to_tokens(end) == "<|im_end|>"
    assert again.tokenizer.eos_token == "<|endoftext|>"
    ids = again.answer_ids("There are none.")
    assert Speller(again.tokenizer, end).text_with_ends(ids)[0] == "There are none."
    codec = make_codec("plain", ("ship",))
    for grammar in ("off", "syntax"):
        writer = Writer(again, codec.form, DecodingOptions(max_new_tokens=40, grammar=grammar))  # type: ignore[arg-type]
        again.answer_decoder = partial(_Reciting, ids)
        (answer,) = writer.write([PICTURE])
        assert answer.text == "There are none."
        assert not answer.truncated
        assert not codec.decode(answer.text, PICTURE.size).problems


class _Reciting:
    """Writes these tokens, whatever it sees."""

    def __init__(self, ids: list[int], images: object, alphabet: torch.Tensor | None, beams: int) -> None:
        self._left = list(ids)
        self._alphabet = torch.arange(2000) if alphabet is None else alphabet

    def begin(self) -> torch.Tensor:
        return 9.0 * (self._alphabet == self._left.pop(0))[None]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.begin()


@pytest.mark.parametrize("name", [*FAMILIES, "florence2"])
def test_the_image_token_is_no_word_of_a_prompt(name: str) -> None:
    preset = "tiny-random" if name == "florence2" else f"tiny-{name}"
    token = "<image>" if name == "florence2" else family_class(name).image_token
    with pytest.raises(ConfigError, match=r"prompt: contains .* which stands for the image"):
        load_family(preset, tokens=(), prompt=f"{token}find ships")


def test_flash_attention_reads_in_one_direction() -> None:
    with pytest.raises(ConfigError, match="valid: sdpa, eager"):
        family_class("paligemma")._attention(FamilyOptions(attn_implementation="flash_attention_2"))
    assert family_class("internvl")._attention(FamilyOptions(attn_implementation="sdpa")) == "sdpa"


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
    assert frames.image_square_length == 96
    for name in FAMILIES:  # the largest square that is not reduced
        some = load_family(f"tiny-{name}", tokens=())
        side = some.image_square_length
        assert some.shown_wh((side, side)) == (side, side)
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
    if name == "llava_onevision":
        joint = json.loads((tmp_path / "processor_config.json").read_text())
        assert joint["num_image_tokens"] == 36, "48 px in patches of 8"
        assert joint["vision_feature_select_strategy"] == "full"
        load_family(str(tmp_path), tokens=())
    with pytest.raises(ConfigError, match="layout is 'original'"):
        family.save(tmp_path / "x", "original")


def test_paligemma_lends_its_own_locations(tmp_path: Path) -> None:
    own = [f"<loc{number:04d}>" for number in range(1024)]
    load_family("tiny-paligemma", tokens=own).save(tmp_path, "native")
    family = load_family(str(tmp_path), tokens=[f"<loc_{number}>" for number in range(1000)])
    table, ids = family.model.get_input_embeddings().weight, family.tokenizer.convert_tokens_to_ids
    for mine, theirs in ((0, 0), (500, 512), (999, 1023)):
        assert torch.equal(table[ids(f"<loc_{mine}>")], table[ids(own[theirs])])
    with torch.no_grad():
        table[ids("<loc_7>")] = 5.0  # trained
    family.add_tokens([*(f"<loc_{number}>" for number in range(1000)), "<sep>"])
    assert (family.model.get_input_embeddings().weight[ids("<loc_7>")] == 5).all()
    family.add_tokens(["<another>"])


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
