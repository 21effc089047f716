import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lmmrotate.data.catalog import SPECS, dataset_spec, is_known, published_splits
from lmmrotate.errors import ConfigError

PUBLISHED = {"dota": "dota_v1", "dior": "dior_r", "fair1m": "fair1m", "srsdd": "srsdd", "rsar": "rsar"}
COUNTS = {
    "dota_v1": 15,
    "dota_v1.5": 16,
    "dota_v2": 18,
    "dior_r": 20,
    "fair1m": 34,
    "fair1m_37": 37,
    "srsdd": 6,
    "rsar": 6,
    "hrsc2016": 1,
}


@pytest.mark.golden
@pytest.mark.parametrize("published", PUBLISHED)
def test_class_order_is_that_of_the_published_code(published: str, golden: Callable[[str], Path]) -> None:
    class_map = json.loads(golden("b_response_decoding.json").read_text())["class_maps"][published]
    assert dataset_spec(published).name == PUBLISHED[published]
    spoken = [name.lower().replace("-", " ") for name in dataset_spec(published).classes]
    assert {name: index for index, name in enumerate(spoken)} == class_map


def test_counts_and_consistency() -> None:
    assert {name: len(spec.classes) for name, spec in SPECS.items()} == COUNTS
    for spec in SPECS.values():
        assert len(set(spec.classes)) == len(spec.classes)
        assert not set(spec.left_out) & set(spec.classes)
    assert SPECS["dota_v2"].classes[:16] == SPECS["dota_v1.5"].classes
    assert set(SPECS["fair1m"].classes) | set(SPECS["fair1m"].left_out) == set(SPECS["fair1m_37"].classes)


def test_no_name_leads_to_two_data_sets() -> None:
    for spec in SPECS.values():
        for name in (spec.name, *spec.aliases):
            assert dataset_spec(name) is spec


@pytest.mark.parametrize("name", ["DOTA-v1.0", "dota v1.0", "DOTA_V1", " dota ", "dota_train"])
def test_case_and_separators_do_not_matter(name: str) -> None:
    assert dataset_spec(name).name == "dota_v1"


@pytest.mark.parametrize("name", ["", "dotta", "dota_v3"])
def test_unknown_names_list_the_known_ones(name: str) -> None:
    assert not is_known(name)
    with pytest.raises(ConfigError, match=r"known: dota_v1, dota_v1\.5, .*hrsc2016"):
        dataset_spec(name)


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("dota", ("trainval", "test")),
        ("DOTA-train", ("train", "val")),
        ("dior", ("trainval", "test")),
        ("fair1m_1.0", ("train", "test")),
        ("fair1m_2.0_train", ("train", "val")),
        ("srsdd", ("train", "test")),
    ],
)
def test_published_splits(name: str, splits: tuple[str, str]) -> None:
    assert published_splits(name) == splits
    assert set(splits) <= set(dataset_spec(name).splits)
