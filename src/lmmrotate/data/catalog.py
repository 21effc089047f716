"""The data sets lmmrotate knows: the only place where a class list is written down.

Names are spelled as in the annotation files and stand in the order of the published code, so that an
index means the same class here and there. What a model writes for a class is ``lmmrotate.codec``'s
business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lmmrotate.errors import ConfigError


@dataclass(frozen=True)
class DatasetSpec:
    """What the rest of the code needs to know about a data set, and nothing about paths."""

    name: str
    classes: tuple[str, ...]
    """Index = class id."""
    splits: tuple[str, ...]
    annotation_format: str
    """A format name of ``lmmrotate.data.formats``."""
    train_split: str = "trainval"
    """What the published system trains on; it evaluates on "test" (see ``published_splits``)."""
    hidden_test_labels: bool = False
    """The test splits are scored by a server: they can be predicted and submitted, not evaluated."""
    left_out: tuple[str, ...] = ()
    """Classes of the annotation files that this class list leaves out on purpose (counted when read)."""
    aliases: tuple[str, ...] = ()
    """Other names in use, those of the published code first."""


_DOTA_V1 = (
    "plane",
    "baseball-diamond",
    "bridge",
    "ground-track-field",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "tennis-court",
    "basketball-court",
    "storage-tank",
    "soccer-ball-field",
    "roundabout",
    "harbor",
    "swimming-pool",
    "helicopter",
)
_DIOR = (
    "airplane",
    "airport",
    "baseballfield",
    "basketballcourt",
    "bridge",
    "chimney",
    "Expressway-Service-area",
    "Expressway-toll-station",
    "dam",
    "golffield",
    "groundtrackfield",
    "harbor",
    "overpass",
    "ship",
    "stadium",
    "storagetank",
    "tenniscourt",
    "trainstation",
    "vehicle",
    "windmill",
)
_FAIR1M_37 = (
    "Boeing737",
    "Boeing747",
    "Boeing777",
    "Boeing787",
    "C919",
    "A220",
    "A321",
    "A330",
    "A350",
    "ARJ21",
    "other-airplane",
    "Passenger Ship",
    "Motorboat",
    "Fishing Boat",
    "Tugboat",
    "Engineering Ship",
    "Liquid Cargo Ship",
    "Dry Cargo Ship",
    "Warship",
    "other-ship",
    "Small Car",
    "Bus",
    "Cargo Truck",
    "Dump Truck",
    "Van",
    "Trailer",
    "Tractor",
    "Excavator",
    "Truck Tractor",
    "other-vehicle",
    "Basketball Court",
    "Tennis Court",
    "Football Field",
    "Baseball Field",
    "Intersection",
    "Roundabout",
    "Bridge",
)
_FAIR1M_OTHER = tuple(name for name in _FAIR1M_37 if name.startswith("other-"))

_TRAINVAL_TEST = ("train", "val", "trainval", "test")

SPECS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="dota_v1",
            classes=_DOTA_V1,
            splits=_TRAINVAL_TEST,
            annotation_format="dota",
            hidden_test_labels=True,
            aliases=("dota", "dota_train", "dota_v1.0", "dota_1.0"),
        ),
        DatasetSpec(
            name="dota_v1.5",
            classes=(*_DOTA_V1, "container-crane"),
            splits=_TRAINVAL_TEST,
            annotation_format="dota",
            hidden_test_labels=True,
            aliases=("dota_1.5",),
        ),
        DatasetSpec(
            name="dota_v2",
            classes=(*_DOTA_V1, "container-crane", "airport", "helipad"),
            splits=("train", "val", "trainval", "test-dev", "test-challenge"),
            annotation_format="dota",
            hidden_test_labels=True,
            aliases=("dota_v2.0", "dota_2.0"),
        ),
        DatasetSpec(
            name="dior_r",
            classes=_DIOR,
            splits=_TRAINVAL_TEST,
            annotation_format="dior",
            aliases=("dior",),
        ),
        DatasetSpec(
            name="fair1m",
            classes=tuple(name for name in _FAIR1M_37 if name not in _FAIR1M_OTHER),
            splits=_TRAINVAL_TEST,
            annotation_format="fair1m",
            train_split="train",
            hidden_test_labels=True,
            left_out=_FAIR1M_OTHER,
            aliases=("fair1m_1.0", "fair1m_2.0", "fair1m_2.0_train", "fair1m_34"),
        ),
        DatasetSpec(
            name="fair1m_37",
            classes=_FAIR1M_37,
            splits=_TRAINVAL_TEST,
            annotation_format="fair1m",
            train_split="train",
            hidden_test_labels=True,
        ),
        DatasetSpec(
            name="srsdd",
            classes=("Cell-Container", "Container", "Dredger", "Fishing", "LawEnforce", "ore-oil"),
            splits=("train", "test"),
            annotation_format="dota",
            train_split="train",
            aliases=("srsdd_v1.0",),
        ),
        DatasetSpec(
            name="rsar",
            classes=("ship", "aircraft", "car", "tank", "bridge", "harbor"),
            splits=_TRAINVAL_TEST,
            annotation_format="dota",
        ),
        DatasetSpec(
            name="hrsc2016",
            classes=("ship",),
            splits=_TRAINVAL_TEST,
            annotation_format="hrsc",
            aliases=("hrsc",),
        ),
    )
}


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


_BY_KEY = {_key(name): spec for spec in SPECS.values() for name in (spec.name, *spec.aliases)}


def is_known(name: str) -> bool:
    """Whether ``dataset_spec`` finds the name."""
    return _key(name) in _BY_KEY


def dataset_spec(name: str) -> DatasetSpec:
    """Look a data set up by name or alias; case and the kind of separator do not matter.

    Raises:
        ConfigError: if the name is not known; the message lists the known names.
    """
    if not is_known(name):
        raise ConfigError(f"unknown data set {name!r}; known: {', '.join(SPECS)}")
    return _BY_KEY[_key(name)]


def published_splits(name: str) -> tuple[str, str]:
    """The splits that the published system trains on and evaluates on, under this name of a data set.

    Names that end in "train" (``dota_train``, ``fair1m_2.0_train``) train on "train" and evaluate on "val",
    whose labels are public; the others evaluate on "test". FAIR1M 1.0 and 2.0 share "train".

    Raises:
        ConfigError: as ``dataset_spec``.
    """
    spec = dataset_spec(name)
    return ("train", "val") if _key(name).endswith("_train") else (spec.train_split, "test")
