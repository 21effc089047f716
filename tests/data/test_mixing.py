import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.data.mixing import epoch_items
from lmmrotate.errors import ConfigError

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@pytest.mark.golden
def test_epochs_are_the_published_ones(golden: Callable[[str], Path]) -> None:
    cases = json.loads(golden("k_balanced_concat.json").read_text())["cases"]
    epochs = 0
    for case in cases:
        for epoch, names in case["epochs"].items():
            items = epoch_items(case["sizes"], case["mode"], int(epoch))
            assert [f"{dataset}_{index}" for dataset, index in items.tolist()] == names
            epochs += 1
    assert epochs >= 10


@given(SIZES, st.integers(0, 50))
def test_balanced_epochs_hold_every_data_set_alike(sizes: list[int], epoch: int) -> None:
    items = epoch_items(sizes, "balanced concat", epoch)
    assert len(items) == sum(sizes)
    counts = Counter(items[:, 0].tolist())
    fair = -(-sum(sizes) // len(sizes))
    assert all(count <= fair for count in counts.values())
    assert sum(fair - counts[k] for k in range(len(sizes))) == fair * len(sizes) - sum(sizes)
    assert all(0 <= index < sizes[dataset] for dataset, index in items.tolist())


@given(SIZES)
def test_concat_shows_everything_once(sizes: list[int]) -> None:
    items = epoch_items(sizes, "concat", 3)
    assert len({tuple(item) for item in items.tolist()}) == len(items) == sum(sizes)


def test_weights_set_the_proportions() -> None:
    counts = Counter(epoch_items([1000, 1000], "balanced concat", 0, [3, 1])[:, 0].tolist())
    assert counts == {0: 1500, 1: 500}


def test_repeats_are_spread_evenly() -> None:
    """A data set that must be shown ten times is shown no image much more often than another."""
    items = epoch_items([10, 190], "balanced concat", 0)
    shown = Counter(index for dataset, index in items.tolist() if dataset == 0)
    assert len(shown) == 10
    assert max(shown.values()) == 10


@pytest.mark.parametrize(
    ("sizes", "mode", "weights", "message"),
    [
        ([3], "mixed", (), "dataset_mode must be one of 'single', 'concat', 'balanced concat', got 'mixed'"),
        ([3, 4], "single", (), "'single' is for one data set, got 2"),
        ([3, 4], "concat", (1, 2), "dataset_weights need dataset_mode 'balanced concat', got 'concat'"),
        ([3, 4], "balanced concat", (1,), "one positive number for each of the 2 data sets"),
        ([3, 4], "balanced concat", (1, 0), "one positive number for each of the 2 data sets"),
        ([3, 0], "balanced concat", (), "data set 1 "),
    ],
)
def test_refused(sizes: list[int], mode: str, weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        epoch_items(sizes, mode, 0, weights)
