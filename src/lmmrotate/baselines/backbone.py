"""ResNets from Transformers as backbones, with weights from wherever they are to be had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import ResNetBackbone, ResNetConfig

from lmmrotate.errors import CheckpointError, first_line

_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "resnet50": {
        "layer_type": "bottleneck", "depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048]
    },
    "resnet18": {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]},
    "resnet-tiny": {
        "layer_type": "basic", "depths": [1, 1, 1, 1], "hidden_sizes": [16, 16, 32, 32], "embedding_size": 16
    },
}  # fmt: skip
_LEVELS = ["stage2", "stage3", "stage4"]
_INSIDE = ("state_dict", "model")
"""Keys under which checkpoints of trainings hold weights."""
_PREFIX = re.compile(r"(module\.|model\.|backbone\.|resnet\.)+")
"""Of names of weights that were part of a larger model."""
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(.+)")


def build_backbone(name: str) -> Any:
    """A ResNet with random weights; its output has ``feature_maps`` at strides 8, 16 and 32."""
    return ResNetBackbone(ResNetConfig(**_SHAPES[name], out_features=_LEVELS))


def backbone_widths(name: str) -> list[int]:
    """Channels of its feature maps."""
    widths: list[int] = _SHAPES[name]["hidden_sizes"]
    return widths[1:]


def load_backbone_weights(backbone: Any, source: str) -> None:
    """Put pretrained weights into a backbone.

    Args:
        source: a file of torchvision's, timm's or Transformers' weights (``.pth``, ``.safetensors``), alone
            or part of a larger model, or a directory or hub id of a ResNet in Transformers' layout, such as
            ``microsoft/resnet-50``.

    Raises:
        CheckpointError: if there are none, those of another network, or some are no numbers.
    """
    path = Path(source)
    state = _from_file(path) if path.is_file() else _from_transformers(source)
    wanted = backbone.state_dict()
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    other = [n for n in wanted if n in state and state[n].shape != wanted[n].shape]
    if missing or other:
        name = (missing + other)[0]
        raise CheckpointError(
            f"backbone_weights: {source} does not fit: {len(missing)} tensors are missing and {len(other)} "
            f"have another shape, {name} for one; it must hold the ResNet that 'backbone' names"
        )
    broken = [n for n in wanted if n in state and not torch.isfinite(state[n]).all()]
    if broken:
        raise CheckpointError(f"backbone_weights: {source}: {broken[0]} holds NaN or infinity")
    backbone.load_state_dict({name: state.get(name, wanted[name]) for name in wanted})


def _from_file(path: Path) -> dict[str, Tensor]:
    stored: Any
    try:
        if path.suffix == ".safetensors":
            stored = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path}: cannot be read: it is no file of PyTorch's, or holds more than tensors by name, which "
            "could run code; save the state_dict() alone"
        ) from error
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {first_line(error)}") from error
    inside = [stored[key] for key in _INSIDE if key in stored] if isinstance(stored, Mapping) else []
    stored = inside[0] if inside else stored
    if not isinstance(stored, Mapping) or not all(isinstance(t, Tensor) for t in stored.values()):
        raise CheckpointError(f"{path}: holds no weights by name")
    return {_renamed(name): tensor for name, tensor in stored.items()}


def _renamed(name: str) -> str:
    """Transformers' name of a weight that may have torchvision's, or be part of a larger model."""
    name = name.removeprefix(prefix[0]) if (prefix := _PREFIX.match(name)) else name
    if name.startswith(("conv1.", "bn1.")):
        part = "convolution" if name.startswith("conv1") else "normalization"
        return f"embedder.embedder.{part}.{name.split('.', 1)[1]}"
    match = _BLOCK.fullmatch(name)
    if not match:
        return name
    stage, block, kind, number, rest = match.groups()
    where = f"encoder.stages.{int(stage) - 1}.layers.{block}"
    if kind == "downsample.":
        return f"{where}.shortcut.{('convolution', 'normalization')[int(number)]}.{rest}"
    part = "convolution" if kind == "conv" else "normalization"
    return f"{where}.layer.{int(number) - 1}.{part}.{rest}"


def _from_transformers(source: str) -> dict[str, Tensor]:
    try:
        found, loading = ResNetBackbone.from_pretrained(
            source, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"backbone_weights: {source}: neither a file nor a ResNet of Transformers that could be loaded "
            f"({first_line(error)})"
        ) from error
    # Transformers fills what is missing with random numbers.
    state: dict[str, Tensor] = found.state_dict()
    return {name: tensor for name, tensor in state.items() if name not in loading["missing_keys"]}


def frozen_parts(backbone: Any, stages: int) -> list[nn.Module]:
    """The stem and the first ``stages`` stages, as mmdet's ``frozen_stages``; none for 0."""
    return [backbone.embedder, *backbone.encoder.stages[:stages]] if stages else []
