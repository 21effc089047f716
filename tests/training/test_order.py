import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.training.order import EpochOrder


@given(st.integers(1, 60), st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_every_image_is_shown_and_the_last_update_is_full(
    images: int, update: int, grouped: bool, epoch: int
) -> None:
    lengths = np.random.default_rng(0).integers(3, 400, images)
    order = EpochOrder(range(images), update, 0, (lambda: lengths) if grouped else None)
    order.set_epoch(epoch)
    shown = list(order)
    assert len(shown) == len(order) == -(-images // update) * update
    counts = np.bincount(shown, minlength=images)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    assert shown == list(order)


def test_seeds_and_epochs_differ() -> None:
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        order = EpochOrder(range(50), 5, seed)
        order.set_epoch(epoch)
        orders.append(list(order))
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


@pytest.mark.parametrize("update", [4, 8])
def test_grouping_saves_padding(update: int) -> None:
    lengths = np.random.default_rng(0).geometric(0.02, 400)

    def padded(order: EpochOrder) -> int:
        return int(lengths[np.reshape(list(order), (-1, update))].max(axis=1).sum() * update)

    plain, grouped = EpochOrder(range(400), update, 0), EpochOrder(range(400), update, 0, lambda: lengths)
    assert padded(grouped) < 1.25 * lengths.sum() < padded(plain)
    updates = np.reshape(list(grouped), (-1, update))
    assert (np.diff(lengths[updates].max(axis=1)) > 0).any(), "updates come in random order"
