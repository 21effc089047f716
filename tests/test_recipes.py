"""Every file of recipes/ can be used as it is."""

import json
from pathlib import Path

import pytest
from accelerate.commands.config import load_config_from_file

from lmmrotate.baselines.config import BaselineConfig
from lmmrotate.data.catalog import dataset_spec, is_known
from lmmrotate.errors import ConfigError
from lmmrotate.training.arguments import accumulation
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.options import read_config
from lmmrotate.training.pretrain_config import PretrainConfig

RECIPES = Path(__file__).parents[1] / "recipes"
TRAINING = sorted(
    path for path in RECIPES.rglob("*.yaml") if path.parent.name not in ("accelerate", "shared")
)
FAMILIES = ("florence2", "internvl", "qwen2_5_vl")
FOLDERS = (*FAMILIES, "baselines")
PUBLISHED = [path for path in TRAINING if path.parent.name == "florence2"]
BASELINES = [path for path in TRAINING if path.parent.name == "baselines"]
CHAT = [path for path in TRAINING if path.parent.name in FAMILIES[1:]]


@pytest.mark.parametrize("recipe", TRAINING, ids=lambda path: path.stem)
def test_every_recipe_is_read(recipe: Path) -> None:
    kind: type[BaselineConfig | PretrainConfig | TrainConfig] = TrainConfig
    if recipe in BASELINES:
        kind = BaselineConfig
    elif "joint_steps" in recipe.read_text(encoding="utf-8"):
        kind = PretrainConfig
    config = read_config(kind, recipe, {})
    family = f"{recipe.parent.name}-" if recipe.parent.name in FOLDERS else ""
    assert Path(config.output_dir).name == family + recipe.stem


@pytest.mark.parametrize("recipe", PUBLISHED, ids=lambda path: path.stem)
def test_published_settings(recipe: Path) -> None:
    """As findings record them, on 1 GPU, on 4, and on 2 nodes of 8."""
    config = read_config(TrainConfig, recipe, {})
    assert (config.image_square_length, config.language_model_max_length) == (1024, 2048)
    assert (config.learning_rate, config.warmup_ratio, config.weight_decay) == (2e-5, 0.03, 0)
    assert (
        config.model_name_or_path == f"microsoft/Florence-2-{'large' if 'large' in recipe.stem else 'base'}"
    )
    batch = config.per_device_train_batch_size
    for devices in (1, 4, 16):
        assert config.effective_batch_size == 32
        assert accumulation(32, batch, devices) * batch * devices == 32
    for manifest in (*config.data_path, *config.eval_data_path):
        dataset, split = Path(manifest).parts[1:3]
        if dataset == "joint":
            dataset, split = split, "train"
        assert is_known(dataset)
        assert split in dataset_spec(dataset).splits


@pytest.mark.parametrize("recipe", CHAT, ids=lambda path: path.stem)
def test_chat_recipes(recipe: Path) -> None:
    """They ask for the model and format that their folder is for, on one GPU, on 4, and on 2 nodes of 8."""
    config = read_config(TrainConfig, recipe, {})
    assert config.model_type == recipe.parent.name
    assert config.response_format == {"internvl": "allseeing", "qwen2_5_vl": "plain"}[recipe.parent.name]
    assert config.language_model_lora == ("lora" in recipe.stem)
    for devices in (1, 4, 16):
        batch = config.per_device_train_batch_size
        assert accumulation(32, batch, devices) * batch * devices == config.effective_batch_size == 32
    if "dota512" in recipe.stem:
        classes = sorted(name.replace("-", " ") for name in dataset_spec("dota_v1").classes)
        assert config.prompt == f"find the {', '.join(classes)}"


@pytest.mark.parametrize(
    "recipe", [path for path in BASELINES if "synthetic" not in path.stem], ids=lambda path: path.stem
)
def test_published_baselines(recipe: Path) -> None:
    """MMRotate's schedules and shapes, as the published configurations name them."""
    config = read_config(BaselineConfig, recipe, {})
    long = "srsdd" in recipe.stem
    assert (config.num_train_epochs, config.lr_drop_epochs) == ((72, (48, 66)) if long else (12, (8, 11)))
    assert (config.optimizer, config.learning_rate, config.momentum) == ("sgd", 0.0025, 0.9)
    assert (config.weight_decay, config.max_grad_norm, config.warmup_steps) == (1e-4, 35, 500)
    assert (config.backbone, config.channels, config.stacked_convs) == ("resnet50", 256, 4)
    assert (config.frozen_stages, config.norm_eval, config.per_device_train_batch_size) == (1, True, 2)
    assert config.image_square_length == (800 if "-800-" in recipe.stem else 1024)
    assert (config.augment_flip, config.skip_empty) == (True, True)
    assert config.arch in recipe.stem
    for manifest in (*config.data_path, *config.eval_data_path):
        dataset, split = Path(manifest).parts[1:3]
        assert is_known(dataset)
        assert split in dataset_spec(dataset).splits


def test_all_baselines_are_there() -> None:
    sets = ("dota", "dota-train", "dior_r-800", "dior_r-1024", "fair1m", "srsdd", "rsar-800", "rsar-1024")
    archs = ("rotated_retinanet", "rotated_fcos")
    assert {p.stem for p in BASELINES} == {f"{s}-{a}" for s in (*sets, "synthetic") for a in archs}


def test_all_experiments_are_there() -> None:
    names = {path.stem for path in PUBLISHED}
    datasets = ("dota", "dior_r", "fair1m", "srsdd", "rsar")
    single = {f"{d}-{size}{end}" for d in datasets for size in ("base", "large") for end in ("", "-train")}
    joint = {f"joint-{mode}-{size}" for mode in ("concat", "balanced") for size in ("base", "large")}
    assert names == single | joint


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_files(stage: int) -> None:
    config = json.loads((RECIPES / "deepspeed" / f"zero{stage}.json").read_text())
    assert config["zero_optimization"]["stage"] == stage
    ours = (
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "train_batch_size",
        "gradient_clipping",
    )
    assert {config[key] for key in ours} == {"auto"}, "Trainer fills these in from our options"


@pytest.mark.parametrize("name", ["fsdp", "gpus"])
def test_accelerate_files(name: str) -> None:
    config = load_config_from_file(str(RECIPES / "accelerate" / f"{name}.yaml"))
    assert config.num_processes == 4
    assert config.distributed_type == {"fsdp": "FSDP", "gpus": "MULTI_GPU"}[name]


def test_a_file_can_extend_another(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "all.yaml").write_text("data_path: a.jsonl\nseed: 3\nmax_steps: 7\n")
    (tmp_path / "mine.yaml").write_text("extends: shared/all.yaml\noutput_dir: runs/mine\nseed: 4\n")
    config = read_config(TrainConfig, tmp_path / "mine.yaml", {"max_steps": 8})
    assert (config.data_path, config.seed, config.max_steps) == (("a.jsonl",), 4, 8)
    (tmp_path / "shared" / "all.yaml").write_text("extends: ../mine.yaml\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: extends itself, by way of 2 files"):
        read_config(TrainConfig, tmp_path / "mine.yaml", {})
    (tmp_path / "mine.yaml").write_text("extends: [a]\n")
    with pytest.raises(ConfigError, match=r"extends must be the path of a YAML file, found \['a'\]"):
        read_config(TrainConfig, tmp_path / "mine.yaml", {})
    (tmp_path / "mine.yaml").write_text("extends: gone.yaml\n")
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        read_config(TrainConfig, tmp_path / "mine.yaml", {})
