import numpy as np

from lmmrotate.data.photometric import photometric


def test_pictures_change_but_keep_their_form_and_the_original() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    before = picture.copy()
    changed = [photometric(picture, np.random.default_rng(seed)) for seed in range(40)]
    assert np.array_equal(picture, before)
    assert all(c.shape == picture.shape and c.dtype == np.uint8 for c in changed)
    same = sum(np.array_equal(c, picture) for c in changed)
    assert 1 <= same <= 15, "about one in seven stays as it is"
    assert np.array_equal(changed[3], photometric(picture, np.random.default_rng(3)))


def test_nothing_moves() -> None:
    picture = np.full((64, 64, 3), 40, dtype=np.uint8)
    picture[20:40, 10:30] = 220
    for seed in range(40):
        grey = photometric(picture, np.random.default_rng(seed)).mean(axis=2)
        assert grey[24:36, 14:26].mean() > grey[:, 40:].mean() + 30
        assert grey[24:36, 14:26].mean() > grey[50:].mean() + 30
