"""Original and published checkpoints against values recorded from the published code (golden j)."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from lmmrotate.cli.main import main
from lmmrotate.codec.quantize import dequantize
from lmmrotate.codec.registry import make_codec
from lmmrotate.errors import CheckpointError, ConfigError
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.legacy import TASK_TOKENS
from lmmrotate.models.loading import load_family
from lmmrotate.models.positions import grow_image_positions, grow_text_positions

from .published_stop import published_stop

FindFile = Callable[[str], Path]
pytestmark = pytest.mark.golden
TOKENS = make_codec("loc_tokens", ["ship"]).special_tokens
CASES = ("A", "B", "C", "D_padded_prompt")


@pytest.fixture(scope="session")
def checkpoint(golden: FindFile) -> Path:
    return golden("j_tiny_florence2")


@pytest.fixture(scope="session")
def recorded(golden: FindFile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(golden("j_florence2.json").read_text())
    return found


@pytest.fixture(scope="session")
def arrays(golden: FindFile) -> dict[str, np.ndarray]:
    with np.load(golden("j_florence2.npz")) as stored:
        return dict(stored)


@pytest.fixture
def family(checkpoint: Path) -> Florence2Family:
    loaded = load_family(str(checkpoint), tokens=TOKENS)
    assert isinstance(loaded, Florence2Family)
    loaded.model.eval()
    return loaded


def inputs(arrays: dict[str, np.ndarray], case: str, family: Florence2Family) -> dict[str, torch.Tensor]:
    """The recorded inputs in the native layout: placeholders for image features before the prompt.

    The published code attends to padding of the prompt, so the mask of case D is left out.
    """
    images = "B" if case.startswith("D") else case
    features = arrays[f"{images}/image_features"].shape[1]
    prompt = torch.from_numpy(arrays[f"{case}/input_ids"])
    image = torch.full((len(prompt), features), family.tokenizer.image_token_id)
    ids = torch.cat([image, prompt], dim=1)
    pixels = torch.from_numpy(arrays[f"{images}/pixel_values"])
    return {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


def close(found: torch.Tensor, expected: np.ndarray, largest: float = 1.0) -> None:
    """Within 1e-4 of a value of about ``largest``."""
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-4 * largest, rtol=0)


def close_inside(found: torch.Tensor, expected: np.ndarray) -> None:
    """As ``close``, for states of the vision tower, which grow to tens before they are normalised."""
    close(found, expected, float(np.abs(expected).max()))


@pytest.mark.parametrize("case", ["A", "C"])
@torch.no_grad()
def test_every_vision_stage(family: Florence2Family, arrays: dict[str, np.ndarray], case: str) -> None:
    tower = family.model.model.vision_tower
    states = torch.from_numpy(arrays[f"{case}/pixel_values"])
    for stage, (conv, blocks) in enumerate(zip(tower.convs, tower.blocks, strict=True)):
        for name, layers in (("conv", [conv]), ("block", blocks)):
            for layer in layers:
                states = layer(states)
            if f"{case}/stage{stage}_{name}" in arrays:
                tokens = states.flatten(2).transpose(1, 2)
                kept = tokens[:, ::4] if stage == 1 else tokens
                close_inside(kept, arrays[f"{case}/stage{stage}_{name}"])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_features_states_logits_and_loss(
    checkpoint: Path, arrays: dict[str, np.ndarray], case: str, attention: str
) -> None:
    family = load_family(str(checkpoint), tokens=TOKENS, attn_implementation=attention)
    assert isinstance(family, Florence2Family)
    model = family.model.eval()
    batch = inputs(arrays, case, family)
    tower = model.model.vision_tower(batch["pixel_values"]).last_hidden_state
    close_inside(tower.flatten(2).transpose(1, 2), arrays[f"{case}/davit_out"])
    if f"{case}/image_features" in arrays:
        close(model.model.multi_modal_projector(tower), arrays[f"{case}/image_features"])
    starts = torch.from_numpy(arrays[f"{case}/decoder_input_ids"])
    out = model(**batch, decoder_input_ids=starts, output_hidden_states=True)
    close(out.encoder_last_hidden_state, arrays[f"{case}/encoder_last_hidden_state"])
    close(out.decoder_hidden_states[-1], arrays[f"{case}/decoder_last_hidden_state"])
    close(out.logits, arrays[f"{case}/logits"])
    out = model(**batch, labels=torch.from_numpy(arrays[f"{case}/labels"]))
    if f"{case}/labels_logits" in arrays:
        close(out.logits, arrays[f"{case}/labels_logits"])
    assert out.loss.item() == pytest.approx(float(arrays[f"{case}/loss"]), abs=1e-5)


def settings(kind: str) -> dict[str, Any]:
    """What ``generate`` had besides the recorded arguments."""
    forced = {"forced_eos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "early_stopping": False}
    if kind == "florence_like":
        return forced | {"forced_bos_token_id": 0, "no_repeat_ngram_size": 3}
    return forced


def generated(
    family: Florence2Family, batch: dict[str, torch.Tensor], kind: str, beams: int, length: int
) -> Any:
    with published_stop(family.model):
        return family.model.generate(
            **batch,
            max_length=length,
            num_beams=beams,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            **settings(kind),
        )


@pytest.mark.parametrize("kind", ["plain", "florence_like"])
def test_greedy_and_beam_ids(
    family: Florence2Family, arrays: dict[str, np.ndarray], recorded: dict[str, Any], kind: str
) -> None:
    compared = 0
    for name, expected in recorded["generate"][kind].items():
        case, *rest = name.split("_beams")
        if "error" in expected or not rest:
            continue
        beams = int(rest[0][0])
        length = int(name.split("_max")[1]) if "_max" in name else 24
        out = generated(family, inputs(arrays, case, family), kind, beams, length)
        assert out.sequences.tolist() == expected["ids"], name
        if "sequences_scores" in expected:
            np.testing.assert_allclose(out.sequences_scores, expected["sequences_scores"], atol=1e-4)
        compared += 1
    assert compared == 13


def test_sequences_that_end_by_themselves(
    family: Florence2Family, arrays: dict[str, np.ndarray], recorded: dict[str, Any]
) -> None:
    head = family.model.lm_head.bias.data
    before = float(head[2])
    for name, expected in recorded["generate_eos_bias"].items():
        kind, rest = name.split("_bias")
        bias, case, beams, length = rest.split("_")
        head[2] = before + float(bias)
        out = generated(family, inputs(arrays, case, family), kind, int(beams[-1]), int(length[3:]))
        assert out.sequences.tolist() == expected["ids"], name
        if "sequences_scores" in expected:
            np.testing.assert_allclose(out.sequences_scores, expected["sequences_scores"], atol=1e-4)


def test_from_image_to_text_and_boxes(
    family: Florence2Family, arrays: dict[str, np.ndarray], recorded: dict[str, Any]
) -> None:
    """The published inferencer: pixels, ids, text with its special tokens, and the polygons read from it."""
    for result in recorded["inferencer"]["results"]:
        index = result["image"]
        batch = family.training_batch([Image.fromarray(arrays[f"inferencer/image{index}"])], ["ship"])
        del batch["labels"]
        pixels = batch["pixel_values"][:, :, ::4, ::4]
        close(pixels, arrays[f"inferencer/pixel_values{index}"])
        assert batch["input_ids"][:, -16:].tolist() == recorded["prompt_ids"]
        ids = generated(family, batch, "plain", 3, 64).sequences
        assert ids.tolist() == result["generated_ids"]
        text = family.tokenizer.decode(ids[0], skip_special_tokens=False)
        assert text == result["generated_text"]
        # The published parser loses the first number and a last odd one; what it makes of the rest of them
        # is golden b's subject.
        numbers = [re.findall(r"<loc_(\d+)>", piece) for piece in text.split("\ufffd")]
        numbers[0] = numbers[0][1:]
        places = [np.reshape(n[: len(n) // 2 * 2], (1, -1, 2)).astype(np.int64) for n in numbers if n]
        points = [dequantize(place, tuple(result["size_wh"]), 1000).ravel() for place in places]
        polygons = [box for instance in result["parsed"]["<ROD>"]["polygons"] for box in instance]
        assert len(points) == len(polygons)
        for found, expected in zip(points, polygons, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_training_batch(family: Florence2Family, recorded: dict[str, Any]) -> None:
    """The published collator for three beams, its default, writes what we write; others repeat ``<s>``."""
    collate = recorded["collate_florence2"]
    answers = collate["responses"]
    ours = family.training_batch([Image.new("RGB", (8, 8))] * len(answers), answers)["labels"]
    for beams in range(1, 5):
        out = collate["out"][f"num_beams={beams}"]
        labels = torch.tensor(out["labels"])
        for row, expected in zip(ours, labels, strict=True):
            answer = row[(row != -100)][1:].tolist()
            theirs = expected[expected != -100].tolist()
            full = [0] * max(0, beams - 2) + answer
            if len(full) > len(theirs):  # the published collator cuts at max_length and ends there
                full = [*full[: len(theirs) - 1], 2]
            assert theirs == full
        if beams == 3:
            shifted = labels[:, :-1].masked_fill(labels[:, :-1] == -100, 1)
            starts = torch.tensor([[2]] * len(labels))
            assert out["decoder_input_ids"] == torch.cat([starts, shifted], dim=1).tolist()


def test_vocabulary(family: Florence2Family, recorded: dict[str, Any]) -> None:
    for text, ids in recorded["tokenizer_encode_examples"].items():
        assert family.tokenizer(text).input_ids == ids
    for text, ids in recorded["special_ids"].items():
        assert family.tokenizer.convert_tokens_to_ids(text) == ids
    first = family.tokenizer.convert_tokens_to_ids("<od>")
    assert family.tokenizer.convert_tokens_to_ids(list(TASK_TOKENS)) == list(range(first, first + 1024))
    parts = {
        name: sum(p.numel() for module in modules for p in module.parameters())
        for name, modules in family.parts().items()
    }
    sizes = recorded["num_parameters"]
    assert sum(p.numel() for p in family.model.parameters()) == sizes["all"] + 1424  # the head's bias
    assert parts["vision"] == sizes["vision"]


RESIZED = ("square512_from8", "square1024_from24", "square1024_from50_no_change", "square2048_from50_lang300",
           "lang_smaller", "lang_equal")  # fmt: skip


@pytest.mark.parametrize("name", RESIZED)
def test_position_tables_grow(golden: FindFile, family: Florence2Family, name: str) -> None:
    case = json.loads(golden("j_pos_embed_resize.json").read_text())[name]
    model = family.model
    tables = model.model.multi_modal_projector.image_position_embed
    language = model.model.language_model
    weights = {
        "row": tables.row_embeddings,
        "column": tables.column_embeddings,
        "encoder_pos": language.encoder.embed_positions,
        "decoder_pos": language.decoder.embed_positions,
    }
    with np.load(golden("j_pos_embed_resize.npz")) as stored:
        for part, module in weights.items():
            module.weight = torch.nn.Parameter(torch.from_numpy(stored[f"{name}/{part}_before"]))
            module.num_embeddings = len(module.weight)
        model.config.vision_config.max_position_embeddings = case["max_pos_embeddings_before"]
        model.config.text_config.max_position_embeddings = case["max_position_embeddings_before"]
        torch.manual_seed(case["torch_manual_seed_before_call"])
        grow_image_positions(model, (case["image_square_length"] or 0) // 32)
        grow_text_positions(model, case["language_model_max_length"] or 0)
        for part, module in weights.items():
            close(module.weight.detach(), stored[f"{name}/{part}_after"])
    assert model.config.vision_config.max_position_embeddings == case["config_max_pos_after"]


def test_published_layout_to_native_and_back(checkpoint: Path, tmp_path: Path) -> None:
    """Weights, config and vocabulary survive, generation settings included."""
    source = tmp_path / "released"
    source.mkdir()
    for file in checkpoint.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    config = json.loads((source / "config.json").read_text())
    config["text_config"] |= {"no_repeat_ngram_size": 3, "forced_bos_token_id": 0, "early_stopping": True}
    (source / "config.json").write_text(json.dumps(config))

    native, original = tmp_path / "native", tmp_path / "original"
    assert main(["export", str(source), str(native), "--to", "native", "--dataset_type", "dota"]) == 0
    assert main(["export", str(native), str(original), "--to", "original"]) == 0

    before, after = load_file(source / "model.safetensors"), load_file(original / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = json.loads((original / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        for key, value in again[part].items():
            assert config[part].get(key) == value, (part, key)
    for key in ("num_beams", "no_repeat_ngram_size", "forced_bos_token_id", "forced_eos_token_id"):
        assert again["text_config"][key] == config["text_config"][key]
    for name in ("vocab.json", "merges.txt", "preprocessor_config.json"):
        kept, written = ((folder / name).read_text().strip() for folder in (source, original))
        if name.endswith(".json"):
            kept, written = (
                {k: v for k, v in json.loads(t).items() if v is not None} for t in (kept, written)
            )
        assert written == kept, name
    tokens = [json.loads((f / "tokenizer.json").read_text()) for f in (source, original)]
    assert tokens[0]["added_tokens"] == tokens[1]["added_tokens"]

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))
    texts = [Predictor.from_run(folder).predict([picture])[0].text for folder in (native, original)]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 0
    processor = AutoProcessor.from_pretrained(native)
    assert processor.image_token_id == processor.tokenizer.convert_tokens_to_ids("<mask>")
    plain = Florence2ForConditionalGeneration.from_pretrained(native)
    assert plain.generation_config.no_repeat_ngram_size == 3


def test_other_weight_files(checkpoint: Path, tmp_path: Path) -> None:
    """``.bin``, half precision, shards and copies of the tied table load to the same weights."""
    weights = load_file(checkpoint / "model.safetensors")
    expected = load_family(str(checkpoint), tokens=TOKENS).model.state_dict()

    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        for file in ("config.json", "tokenizer.json", "preprocessor_config.json"):
            (tmp_path / name / file).write_bytes((checkpoint / file).read_bytes())
        return tmp_path / name

    copies = weights | {
        "language_model.lm_head.weight": weights["language_model.model.shared.weight"].clone()
    }
    torch.save(copies, folder("bin") / "pytorch_model.bin")
    names = sorted(weights)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, kept in shards.items():
        save_file(
            {n: weights[n] for n in kept},
            (tmp_path / "shards" if shard[6] == "2" else folder("shards")) / shard,
        )
    index = {"weight_map": {n: shard for shard, kept in shards.items() for n in kept}}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({n: t.half() for n, t in weights.items()}, folder("half") / "model.safetensors")
    for name, tolerance in (("bin", 0.0), ("shards", 0.0), ("half", 1e-2)):
        found = load_family(str(tmp_path / name), tokens=TOKENS).model.state_dict()
        assert found.keys() == expected.keys()
        for key, tensor in found.items():
            assert tensor.dtype == torch.float32
            torch.testing.assert_close(tensor, expected[key], atol=tolerance, rtol=tolerance)

    torch.save({"model": print}, tmp_path / "bin" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: cannot be read"):
        load_family(str(tmp_path / "bin"), tokens=TOKENS)
    (tmp_path / "bin" / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match="holds neither"):
        load_family(str(tmp_path / "bin"), tokens=TOKENS)
    save_file({n: weights[n] for n in names[5:]}, tmp_path / "bin" / "model.safetensors")
    with pytest.raises(CheckpointError, match="weights are missing"):
        load_family(str(tmp_path / "bin"), tokens=TOKENS)


def test_export_refuses(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert main(["export", str(checkpoint), str(tmp_path / "full"), "--to", "native"]) == 2
    assert main(["export", "tiny", str(tmp_path / "new"), "--to", "native", "--classes", "ship"]) == 2
    assert main(["export", str(checkpoint), str(tmp_path / "new"), "--to", "native", "--classes", "a,"]) == 2
    errors = capfd.readouterr().err.strip().splitlines()
    assert "not empty" in errors[0]
    assert "class list of its own" in errors[1]
    assert "names with commas" in errors[2]
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match="layout is 'onnx'; valid: native, original"):
        load_family("tiny", tokens=TOKENS).save(tmp_path / "new", "onnx")


def test_broken_checkpoints_are_named(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()

    def broken(name: str, text: str) -> str:
        for file in checkpoint.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / name).write_text(text)
        return str(folder)

    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"]["d_model"] = 32
    for name, text, message in (
        ("tokenizer.json", "{}", r"tokenizer\.json: cannot be read"),
        ("tokenizer.json", '{"added_tokens": []}', r"tokenizer\.json: cannot be read"),
        ("preprocessor_config.json", "[1]", r"preprocessor_config\.json: expected a JSON object"),
        ("preprocessor_config.json", "{}", r"preprocessor_config\.json: 'size' is missing or wrong"),
        ("model.safetensors", "{}", r"model\.safetensors: cannot be read"),
        ("config.json", json.dumps(config), r"weights do not fit config\.json"),
        (
            "config.json",
            json.dumps(config | {"vision_config": {"dim_embed": 1}}),
            r"config\.json: .* missing",
        ),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_family(broken(name, text), tokens=TOKENS)
