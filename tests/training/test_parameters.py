"""What is trained, what is not, and how it comes back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lmmrotate.errors import ConfigError
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.loading import load_family
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import TrainResult, train

Config = Callable[..., TrainConfig]
PARTS = {
    "vision": "model.vision_tower",
    "projector": "model.multi_modal_projector",
    "language": "model.language_model",
}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A checkpoint to fine-tune."""
    torch.manual_seed(0)
    tokens = [*(f"<loc_{i}>" for i in range(1000)), "<sep>"]
    words = ["ship", "small vehicle", "There are none."]
    family = load_family("tiny-random", tokens=tokens, words=words, image_square_length=64)
    family.save(tmp_path / "start", "native")
    return tmp_path / "start"


def changed(start: Path, run: Path) -> dict[str, set[str]]:
    """Names of the weights of each part that training has changed."""
    before, after = load_file(start / "model.safetensors"), load_file(run / "model.safetensors")
    assert before.keys() == after.keys()
    names = {name for name in before if not torch.equal(before[name], after[name])}
    return {part: {n for n in names if n.startswith(prefix)} for part, prefix in PARTS.items()}


def trainable(result: TrainResult) -> dict[str, int]:
    return {size.part: size.trainable for size in result.parameters}


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("freeze_vision", "vision"),
        ("freeze_multimodal_projection", "projector"),
        ("freeze_language", "language"),
    ],
)
def test_frozen_parts_stay(config: Config, start: Path, option: str, part: str) -> None:
    settings = config(model_name_or_path=str(start), weight_decay=0.1, **{option: True})
    result = train(settings)
    names = changed(start, Path(settings.output_dir))
    assert {p for p, some in names.items() if some} == set(PARTS) - {part}
    counts = trainable(result)
    assert counts[part] == 0
    totals = {size.part: size.total for size in result.parameters}
    assert counts["all"] == totals["all"] - totals[part]
    assert totals["all"] == sum(totals[p] for p in PARTS)


def test_nothing_left_to_train(config: Config) -> None:
    with pytest.raises(ConfigError, match="every part of the model is frozen"):
        train(config(freeze_vision=True, freeze_multimodal_projection=True, freeze_language=True))


def test_adapters_are_trained_and_merged(config: Config, start: Path, tmp_path: Path) -> None:
    """Adapters and coordinate embeddings alone; the run is a plain checkpoint, without PEFT or a base."""
    settings = config(
        model_name_or_path=str(start), language_model_lora=True, lora_rank=4, freeze_vision=True,
        freeze_multimodal_projection=True, weight_decay=0.1, learning_rate=1e-2,
    )  # fmt: skip
    result = train(settings)
    run = Path(settings.output_dir)
    names = changed(start, run)
    assert not names["vision"] | names["projector"]
    layers = [
        name for name in names["language"] if name.endswith(("_proj.weight", "fc1.weight", "fc2.weight"))
    ]
    assert len(names["language"]) == len(layers) + 1, "layers and the embedding table, no bias and no norm"
    before, after = load_file(start / "model.safetensors"), load_file(run / "model.safetensors")
    for name in layers:
        assert torch.linalg.matrix_rank(after[name] - before[name], atol=1e-4) <= 4
    table = "model.language_model.shared.weight"
    rows = (before[table] != after[table]).any(dim=1).nonzero().flatten().tolist()
    family = load_family(str(run), tokens=[])
    first, last = family.tokenizer.convert_tokens_to_ids(["<loc_0>", "<loc_999>"])
    words = family.tokenizer.convert_tokens_to_ids(["<sep>", "ship", "small vehicle"])
    assert set(rows) <= {*range(first, last + 1), *words}
    assert len(rows) > 4
    width = before[table].shape[1]
    ranks = sum(4 * sum(before[name].shape) for name in before if name in layers)
    assert trainable(result)["language"] == ranks + 1003 * width
    assert Predictor.from_run(run).predict(
        [str(settings.data_path[0]).replace("train.jsonl", "images/train0.png")]
    )

    # Interrupted, it goes on to the same weights: frozen ones from the start, adapters from the checkpoint.
    again = replace(settings, output_dir=str(tmp_path / "again"))
    train(again)
    folder = tmp_path / "again"
    for name in ("lmmrotate.json", "model.safetensors"):
        (folder / name).unlink()
    for file in (folder / "checkpoints" / "checkpoint-4").iterdir():
        file.unlink() if file.is_file() else [f.unlink() for f in file.iterdir()]
    assert train(again).resumed_from == "checkpoint-2"
    resumed = load_file(folder / "model.safetensors")
    assert all(torch.equal(after[name], resumed[name]) for name in after)


def test_only_new_positions_learn(config: Config, start: Path) -> None:
    settings = config(
        model_name_or_path=str(start),
        language_model_max_length=700,
        freeze_old_positions=True,
        weight_decay=0.1,
    )
    train(settings)
    before = load_file(start / "model.safetensors")
    after = load_file(Path(settings.output_dir) / "model.safetensors")
    for part in ("encoder", "decoder"):
        name = f"model.language_model.{part}.embed_positions.weight"
        assert len(after[name]) == 702
        assert torch.equal(after[name][:514], before[name])


def test_gradient_checkpointing_changes_nothing(config: Config, tmp_path: Path) -> None:
    plain, saving = config(), config(output_dir=str(tmp_path / "saving"), gradient_checkpointing=True)
    train(plain)
    train(saving)
    weights = load_file(Path(plain.output_dir) / "model.safetensors")
    for name, tensor in load_file(tmp_path / "saving" / "model.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], atol=1e-5, rtol=1e-4)


def test_gradient_checkpointing_covers_vision() -> None:
    family = load_family("tiny-random", tokens=["<loc_0>"], image_square_length=64)
    assert isinstance(family, Florence2Family)
    family.model.train()
    seen: list[int] = []
    block = family.model.model.vision_tower.blocks[1][0]
    block.spatial_block.register_forward_hook(lambda *_: seen.append(1))
    family.enable_gradient_checkpointing()
    family.model.model.vision_tower(torch.rand(1, 3, 64, 64)).last_hidden_state.sum().backward()
    assert len(seen) == 2, "once forward, once again for the gradient"


def test_adapters_and_frozen_language_exclude_each_other(config: Config) -> None:
    with pytest.raises(ConfigError, match="freeze_language and language_model_lora exclude"):
        config(freeze_language=True, language_model_lora=True)
