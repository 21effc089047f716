import json
from pathlib import Path

import pytest
import torch
from transformers import Florence2ForConditionalGeneration

from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.models.loading import load_family
from lmmrotate.models.presets import PRESETS, Florence2Shape, _config
from lmmrotate.models.vocabulary import Speller, build_tokenizer


@pytest.mark.parametrize(
    ("name", "positions", "expected"),
    [("base", 1024, 231_414_016), ("large", 2048, 772_271_104)],
)
def test_presets_have_the_published_sizes(name: str, positions: int, expected: int) -> None:
    """772,271,104 is the published count of Florence-2-large with 2,048 positions."""
    shape: Florence2Shape = PRESETS[name]
    with torch.device("meta"):
        model = Florence2ForConditionalGeneration(_config(shape, build_tokenizer(["ship"]), 24, positions))
    model.tie_weights()
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("side", [128, 256])
def test_tiny_is_tiny(side: int) -> None:
    family = load_family("tiny-random", tokens=[f"<loc_{i}>" for i in range(1000)], image_square_length=side)
    assert 2e6 < sum(p.numel() for p in family.model.parameters()) < 8e6


def write_config(folder: Path, **values: object) -> str:
    (folder / "config.json").write_text(json.dumps(values))
    return str(folder)


def test_wrong_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory; give a run directory"):
        load_family("tinny", tokens=[])
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        load_family(str(tmp_path), tokens=[])
    with pytest.raises(CheckpointError, match="'resnet' is not supported; supported: florence2"):
        load_family(write_config(tmp_path, model_type="resnet"), tokens=[])
    original = {"text_config": {"model_type": "florence2_language", "d_model": 8}, "vision_config": {}}
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: no such file"):
        load_family(write_config(tmp_path, model_type="florence2", **original), tokens=[])
    with pytest.raises(ConfigError, match="attn_implementation is 'fast'; valid: sdpa, eager"):
        load_family("tiny", tokens=[], attn_implementation="fast")
    with pytest.raises(ConfigError, match="needs a GPU and the package flash-attn"):
        load_family("tiny", tokens=[], attn_implementation="flash_attention_2")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_family(write_config(tmp_path, model_type="florence2"), tokens=[])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_family(str(tmp_path), tokens=[])


@pytest.mark.parametrize("text", ["ship", "pré 航空", "<loc_1>ship<sep>", "", " lead and  double "])
def test_tokenizer_spells_anything(text: str) -> None:
    tokenizer = build_tokenizer(["ship", "<loc_1>", "<sep>"])
    ids = tokenizer(text).input_ids
    again, ends = Speller(tokenizer).text_with_ends(ids)
    assert again == text
    assert len(ends) == len(ids)
    assert ends[-1] == len(text)
    assert ends == sorted(ends)
