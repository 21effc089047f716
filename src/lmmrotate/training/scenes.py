"""An endless supply of synthetic scenes as a data set: sample ``i`` is the same whenever it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

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
    """The first ``count`` scenes of a seed. Nothing is stored, so that resuming costs nothing."""

    def __init__(self, mix: SceneMix, seed: int, count: int, *, pictures: bool = True) -> None:
        self._mix = mix
        self._seed = seed
        self._count = count
        self._pictures = pictures

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        spec = self._mix.spec(self._seed, index)
        if not self._pictures:
            return Sample((self._seed, index), describe_scene(spec, self._seed, index), None)
        pixels, record = render_scene(spec, self._seed, index)
        rng = np.random.default_rng([self._seed, index, _PHOTOMETRIC])
        return Sample((self._seed, index), record, photometric(pixels, rng))


def class_indices(record: ImageRecord, classes: Sequence[str]) -> list[int]:
    """Positions of the record's labels in ``classes``."""
    return [classes.index(label) for label in record.labels]
