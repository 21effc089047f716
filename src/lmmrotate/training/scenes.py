"""An endless supply of synthetic scenes as a data set: sample ``i`` is the same whenever it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from lmmrotate.data.jsonl import replacing
from lmmrotate.data.photometric import photometric
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.synthetic.scene import SceneSpec, describe_scene, render_scene


@dataclass(frozen=True, eq=False)
class Sample:
    """One scene."""

    number: tuple[int, int]
    """Seed and index."""
    record: ImageRecord
    pixels: npt.NDArray[np.uint8] | None
    """(H, W, 3), RGB; None where only annotations are wanted."""


_CHOICE, _PHOTOMETRIC = 101, 102  # streams of random numbers, apart from those of the scenes


@dataclass(frozen=True)
class SceneMix:
    """Which scenes, and how often each kind."""

    specs: tuple[SceneSpec, ...]
    shares: tuple[float, ...]

    def spec(self, seed: int, index: int) -> SceneSpec:
        """The kind of scene number ``index``."""
        rng = np.random.default_rng([seed, index, _CHOICE])
        shares = np.asarray(self.shares) / sum(self.shares)
        return self.specs[int(rng.choice(len(self.specs), p=shares))]


class SceneDataset(Dataset[Sample]):
    """The first scenes of a seed, each as often as wanted in another of its symmetries.

    Drawing a picture takes as long as learning from it (65 ms). So drawn ones may be kept in a folder; after
    the last new scene they come again in the same order, turned or mirrored, and changed photometrically.
    """

    def __init__(
        self,
        mix: SceneMix,
        seed: int,
        count: int,
        *,
        pictures: bool = True,
        views: int = 1,
        folder: Path | None = None,
    ) -> None:
        """
        Args:
            mix, seed: which scenes.
            count: samples.
            pictures: false for annotations alone.
            views: samples made of each scene, at most 8.
            folder: where drawn pictures are kept (192 KiB each for 256 px); needed if ``views`` > 1.
        """
        self._mix = mix
        self._seed = seed
        self._count = count
        self._pictures = pictures
        self._scenes = -(-count // views)
        self._folder = folder

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        view, scene = divmod(index, self._scenes)
        spec = self._mix.spec(self._seed, scene)
        number = (self._seed, index)
        if not self._pictures:
            return Sample(number, turned(describe_scene(spec, self._seed, scene), view), None)
        pixels, record = self._picture(spec, scene)
        rng = np.random.default_rng([*number, _PHOTOMETRIC])
        return Sample(number, turned(record, view), photometric(turned_pixels(pixels, view), rng))

    def _picture(self, spec: SceneSpec, scene: int) -> tuple[npt.NDArray[np.uint8], ImageRecord]:
        if self._folder is None:
            return render_scene(spec, self._seed, scene)
        path = self._folder / f"{self._seed}-{scene}.npy"
        if path.exists():
            return np.load(path), describe_scene(spec, self._seed, scene)
        pixels, record = render_scene(spec, self._seed, scene)
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.save(file, pixels)
        return pixels, record


VIEWS = 8
"""Symmetries of a square: four quarter turns, mirrored or not; the first is the picture itself."""


def turned_pixels(pixels: npt.NDArray[np.uint8], view: int) -> npt.NDArray[np.uint8]:
    """A square picture (S, S, 3) in one of its ``VIEWS``: mirrored left to right from view 4 on, then
    turned anticlockwise by quarters."""
    seen = pixels[:, ::-1] if view >= VIEWS // 2 else pixels
    return np.ascontiguousarray(np.rot90(seen, view))


def turned(record: ImageRecord, view: int) -> ImageRecord:
    """The record of ``turned_pixels``; corners stay clockwise, of front left, front right and so on."""
    side, quads = record.width, record.quads
    if view >= VIEWS // 2:
        quads = (quads * (-1, 1) + (side, 0))[:, [1, 0, 3, 2]]
    for _ in range(view % (VIEWS // 2)):
        quads = quads[..., ::-1] * (1, -1) + (0, side)
    return replace(record, quads=quads)


def class_indices(record: ImageRecord, classes: Sequence[str]) -> list[int]:
    """Positions of the record's labels in ``classes``."""
    return [classes.index(label) for label in record.labels]
