"""The manifests of a training run, looked through before it begins."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from lmmrotate.data.images import image_size
from lmmrotate.data.manifest import require_images
from lmmrotate.data.progress import progress_bar
from lmmrotate.data.streaming import ManifestFile, open_manifest
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.training.run_folder import is_first_process

_MANY = 20_000
"""Images whose check takes some ten seconds."""

Item = TypeVar("Item")


def open_training_manifests(paths: Sequence[str], image_folders: Sequence[str]) -> list[ManifestFile]:
    """Open the manifests, which must share one class list, and look at every line and image.

    Raises:
        ConfigError: if their class lists differ.
        DataError: if a manifest or one of its images is missing, a line cannot be used, an image stands on
            two lines or has another size.
    """
    folders: list[Path | None] = [Path(f) for f in image_folders] or [None for _ in paths]
    manifests = [open_manifest(Path(p), f) for p, f in zip(paths, folders, strict=True)]
    for manifest in manifests:
        if manifest.classes != manifests[0].classes:
            raise ConfigError(
                f"{manifest.path}: its class list differs from that of {paths[0]}: "
                f"{', '.join(manifest.classes)} against {', '.join(manifests[0].classes)}"
            )
    for manifest in manifests:
        _check_images(manifest)
    return manifests


def _check_images(manifest: ManifestFile) -> None:
    stated_wh: dict[str, tuple[int, int]] = {}
    for record in followed("reading the manifest", manifest):
        if record.image in stated_wh:
            line = manifest.lines[len(stated_wh)]
            raise DataError(f"{manifest.path}:{line}: image {record.image!r} stands on an earlier line, too")
        stated_wh[record.image] = record.wh
    require_images(stated_wh, manifest.image_folder)
    for image, (width, height) in followed("looking at images", stated_wh.items()):
        path = manifest.image_folder / image
        found = image_size(path)
        if found != (width, height):
            raise DataError(
                f"{path}: is {found[0]} x {found[1]} px, but the manifest says {width} x {height}"
            )


def followed(what: str, items: Collection[Item]) -> Iterator[Item]:
    """The items, with a bar where there are so many that one would wonder."""
    with progress_bar("images", shown=len(items) >= _MANY and is_first_process()) as bar:
        yield from bar.track(items, description=what)
