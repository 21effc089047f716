from dataclasses import fields, replace
from pathlib import Path
from typing import get_type_hints

import pytest

from lmmrotate.baselines.config import BaselineConfig
from lmmrotate.errors import ConfigError
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.options import config_from_mapping, config_to_yaml, differences, read_config
from lmmrotate.training.run_config import INCIDENTAL

MINIMUM = {"data_path": "train.jsonl", "output_dir": "run"}


def test_yaml_and_flags_meet(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    # PyYAML reads 2e-5 as text, and a lone path is not a list.
    path.write_text(
        "data_path: a.jsonl\noutput_dir: run\nlearning_rate: 2e-5\nmax_steps: 3\nmodel_revision: null\n"
    )
    config = read_config(TrainConfig, path, {"max_steps": "7", "image_square_length": "128"})
    assert config.data_path == ("a.jsonl",)
    assert config.learning_rate == 2e-5
    assert config.max_steps == 7, "flags win"
    assert config.image_square_length == 128
    path.write_text(config_to_yaml(config))
    assert read_config(TrainConfig, path, {}) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 1}, r"here: unknown key lr; valid: .*learning_rate"),
        ({"max_steps": "many"}, "here: max_steps must be int, found 'many'"),
        ({"max_steps": 1.5}, "must be int"),
        ({"learning_rate": True}, "learning_rate must be float"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": "nan"}, "learning_rate must be above 0"),
        ({"learning_rate": "inf"}, "learning_rate must be a finite number"),
        ({"weight_decay": -1}, "must not be negative"),
        ({"warmup_ratio": 5}, "warmup_ratio is a share of the updates"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 2**32}, "seed must be from 0"),
        ({"max_steps": "--5"}, "max_steps must be int"),
        ({"max_steps": "²"}, "max_steps must be int"),
        ({"output_dir": "a\0b"}, "output_dir contains a null byte"),
        ({"image_square_length": 4}, "image_square_length must be at least 16"),
        ({"language_model_max_length": 0}, "language_model_max_length must be at least 16"),
        ({"over_long": "cut"}, "over_long is 'cut'; valid: drop_boxes, skip, error"),
        ({"precision": "int8"}, "valid: auto, fp32"),
        ({"image_folder": ["a", "b"]}, "2 folders for 1 manifests"),
        ({"data_path": []}, "data_path must be given"),
        ({"output_dir": ""}, "output_dir must be given"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_mapping(TrainConfig, MINIMUM | values, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "cannot be read as YAML"), ("- a\n", "found list"), ("", "found NoneType")],
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    with pytest.raises(ConfigError, match=r"run\.yaml: no such file"):
        read_config(TrainConfig, path, {})
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(TrainConfig, path, {})
    assert str(path) in str(caught.value)


def test_differences_ignore_the_folder() -> None:
    config = config_from_mapping(TrainConfig, MINIMUM, "")
    assert differences(config, replace(config, output_dir="elsewhere", logging_steps=1), INCIDENTAL) == []
    assert differences(config, replace(config, seed=4), INCIDENTAL) == ["seed: 0 -> 4"]


@pytest.mark.parametrize("kind", [TrainConfig, BaselineConfig])
def test_every_option_explains_itself(kind: type) -> None:
    options = fields(kind)
    assert all(option.metadata["help"] for option in options)
    assert set(get_type_hints(kind)) == {option.name for option in options}, "what a file may set"


@pytest.mark.parametrize("flag", ["true", "True", "false"])
def test_flags_that_are_true_or_false(flag: str) -> None:
    """As the published scripts write them."""
    from lmmrotate.cli.main import build_parser
    from lmmrotate.cli.options import read_options

    line = ["train", "--data_path", "a.jsonl", "--output_dir", "run", "--freeze_vision", flag]
    config = read_options(build_parser().parse_args(line), TrainConfig)
    assert config.freeze_vision is (flag.lower() == "true")
    with pytest.raises(ConfigError, match="freeze_vision must be true or false, found 'perhaps'"):
        read_options(build_parser().parse_args([*line[:-1], "perhaps"]), TrainConfig)
