"""Which images ``lmmrotate eval`` is about."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lmmrotate.data.catalog import dataset_spec
from lmmrotate.data.formats import FORMATS, annotation_format
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.errors import ConfigError

_ANNOTATION_FOLDERS = ("annfiles", "labelTxt", "labels", "Annotations", "annotations", "labelXml")


@dataclass(frozen=True, eq=False)
class EvalData:
    """The images of one split."""

    name: str
    """For files: split, and the clip if it is one."""
    manifest: Manifest
    server: str = ""
    """The evaluation server whose format a submission has: dota, fair1m, or none."""

    @property
    def labelled(self) -> bool:
        return any(record.labels for record in self.manifest.records)


def eval_data(
    manifests: Sequence[Path],
    image_folder: Path | None,
    dataset_type: str | None,
    data_root: Path | None,
    splits: Sequence[str],
    clip: tuple[int, int] | None,
) -> list[EvalData]:
    """The splits that are asked for; the data set is never guessed.

    Args:
        manifests: of any data set; or
        dataset_type, data_root, splits: a known data set, its folder, and names of splits: for each, a
            manifest ROOT/SPLIT.jsonl, ROOT/SPLIT/SPLIT.jsonl or ROOT/SPLIT/manifest.jsonl, else images in
            ROOT/SPLIT/images with annotations as published beside them, or none.
        clip: how many images to draw from each, and the seed.

    Raises:
        ConfigError: saying what is missing or does not fit.
        DataError: as readers do.
    """
    if bool(manifests) == bool(dataset_type):
        raise ConfigError(
            "eval: say which data: --manifest FILE …, or --dataset_type NAME --data_root FOLDER"
        )
    if manifests:
        found = [EvalData(path.stem, read_manifest(path, image_folder)) for path in manifests]
    else:
        spec = dataset_spec(str(dataset_type))
        if data_root is None:
            raise ConfigError(f"eval: --dataset_type {spec.name} needs --data_root, the folder that holds it")
        server = "fair1m" if spec.name.startswith("fair1m") else "dota" if "dota" in spec.name else ""
        found = []
        for split in splits:
            data = EvalData(split, _read_split(spec.name, data_root, split), server)
            if set(data.manifest.classes) != set(spec.classes):
                raise ConfigError(
                    f"eval: {data_root} {split} has the classes {', '.join(data.manifest.classes)}; those of "
                    f"{spec.name} are {', '.join(spec.classes)}"
                )
            found.append(data)
    names = [data.name for data in found]
    if len(set(names)) < len(names):
        raise ConfigError(f"eval: results would share their names ({', '.join(names)}); rename a manifest")
    return [_clipped(data, *clip) for data in found] if clip else found


def _read_split(dataset: str, root: Path, split: str) -> Manifest:
    candidates = (root / f"{split}.jsonl", root / split / f"{split}.jsonl", root / split / "manifest.jsonl")
    for path in candidates:
        if path.exists():
            return read_manifest(path)
    images = root / split / "images"
    if not images.is_dir():
        places = ", ".join(str(path) for path in (*candidates, images))
        raise ConfigError(f"eval: no split {split!r} of {dataset}: looked for {places}")
    spec = dataset_spec(dataset)
    beside = [root / split / name for name in _ANNOTATION_FOLDERS]
    annotations = next((path for path in beside if path.is_dir()), None)
    manifest, _ = annotation_format(spec.annotation_format, FORMATS).read(
        images,
        annotations,
        classes=spec.classes,
        left_out=spec.left_out,
        dataset=spec.name,
        split=split,
    )
    return manifest


def _clipped(data: EvalData, count: int, seed: int) -> EvalData:
    records = data.manifest.records
    if count >= len(records):
        return data
    chosen = sorted(random.Random(seed).sample(range(len(records)), count))
    name = f"{data.name}-clip{count}-seed{seed}"
    return replace(
        data, name=name, manifest=replace(data.manifest, records=tuple(records[i] for i in chosen))
    )
