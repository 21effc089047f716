"""Images and objects change together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrotate.data.augment import Augmentation, augmented
from lmmrotate.data.records import ImageRecord, SceneRef
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.quads import inside_fraction, quad_areas, signed_areas


def picture(
    width: int, height: int, quads: list[list[tuple[float, float]]]
) -> tuple[np.ndarray, ImageRecord]:
    """Black, each object filled with a colour of its own."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for index, quad in enumerate(quads):
        (x0, y0), (x1, y1) = np.clip(np.asarray(quad)[[0, 2]], 0, None).astype(int)
        pixels[y0:y1, x0:x1] = (0, 90 + 20 * (index % 8), 255)
    labels = tuple(f"class{index}" for index in range(len(quads)))
    difficult = tuple(index % 2 for index in range(len(quads)))
    boxes = np.asarray(quads, dtype=np.float64).reshape(-1, 4, 2)
    return pixels, ImageRecord("a.png", width, height, boxes, labels, difficult, SceneRef("a", 3, 4, 1.0))


def blob(x: float, y: float, w: float = 9, h: float = 5) -> list[tuple[float, float]]:
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


EVERYTHING = Augmentation(flip=True, turn=True, rotation_deg=180, scale=0.5, colour=0.5)
GEOMETRY = {
    "flip": Augmentation(flip=True),
    "turn": Augmentation(turn=True),
    "rotation": Augmentation(rotation_deg=180),
    "scale": Augmentation(scale=0.6),
    "all": Augmentation(flip=True, turn=True, rotation_deg=30, scale=0.2),
}


@pytest.mark.parametrize("augmentation", GEOMETRY.values(), ids=GEOMETRY)
@pytest.mark.parametrize("seed", range(8))
def test_boxes_stay_on_their_objects(augmentation: Augmentation, seed: int) -> None:
    """The middle of what is bright is the middle of the box, in an image that is not square."""
    pixels, record = picture(90, 70, [blob(36, 28, 20, 14)])
    changed, boxes = augmented(pixels, record, augmentation, np.random.default_rng(seed))
    assert changed.shape == (boxes.height, boxes.width, 3)
    bright = changed[..., 2].astype(float)
    bright = np.where(bright > 30, bright, 0)
    y, x = np.mgrid[: boxes.height, : boxes.width] + 0.5
    middle = np.asarray([(x * bright).sum(), (y * bright).sum()]) / bright.sum()
    np.testing.assert_allclose(boxes.quads[0].mean(axis=0), middle, atol=0.1)
    assert boxes.labels == record.labels
    assert boxes.difficult == record.difficult
    assert np.sign(signed_areas(boxes.quads)) == np.sign(signed_areas(record.quads))


@pytest.mark.parametrize("name", ["flip", "turn"])
def test_flips_and_quarter_turns_lose_nothing(name: str) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    _, record = picture(60, 40, [blob(-3, 10), blob(50, 36)])
    seen = set()
    for seed in range(60):
        changed, boxes = augmented(pixels, record, GEOMETRY[name], np.random.default_rng(seed))
        assert np.sort(changed.ravel()).tolist() == np.sort(pixels.ravel()).tolist()
        np.testing.assert_allclose(quad_areas(boxes.quads), quad_areas(record.quads))
        seen.add(changed.tobytes())
        assert boxes.wh in ((60, 40), (40, 60) if name == "turn" else (60, 40))
    assert len(seen) == 4
    assert pixels.tobytes() in seen


def symmetries(name: str) -> list[tuple[np.ndarray, ImageRecord]]:
    """What flips or turns make of ``marked``, each once."""
    pixels, record = marked()
    results = {}
    for seed in range(40):
        changed, boxes = augmented(pixels, record, GEOMETRY[name], np.random.default_rng(seed))
        results[changed.tobytes()] = changed, boxes
    return list(results.values())


def marked() -> tuple[np.ndarray, ImageRecord]:
    """Noise, so that every symmetry looks different, and an object whose corners have names."""
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    _, record = picture(60, 40, [blob(10, 20, 8, 4)])
    return pixels, record


FLIPPED = {
    # Front left, front right, rear right, rear left: in a mirror, left is right.
    "left-right": (lambda p: p[:, ::-1], [(42, 20), (50, 20), (50, 24), (42, 24)]),
    "top-bottom": (lambda p: p[::-1], [(18, 20), (10, 20), (10, 16), (18, 16)]),
    "both": (lambda p: p[::-1, ::-1], [(50, 20), (42, 20), (42, 16), (50, 16)]),
    "neither": (lambda p: p, blob(10, 20, 8, 4)),
}
TURNED = {
    0: blob(10, 20, 8, 4),
    1: [(20, 50), (20, 42), (24, 42), (24, 50)],
    2: [(50, 20), (42, 20), (42, 16), (50, 16)],
    3: [(20, 10), (20, 18), (16, 18), (16, 10)],
}


@pytest.mark.parametrize("case", FLIPPED)
def test_a_flip_is_exact_and_keeps_the_front_in_front(case: str) -> None:
    flip, quad = FLIPPED[case]
    pixels, _ = marked()
    found = [boxes for changed, boxes in symmetries("flip") if np.array_equal(changed, flip(pixels))]
    assert len(found) == 1
    np.testing.assert_array_equal(found[0].quads, [quad])


@pytest.mark.parametrize("quarters", TURNED)
def test_a_quarter_turn_is_exact(quarters: int) -> None:
    pixels, _ = marked()
    found = [
        boxes for changed, boxes in symmetries("turn") if np.array_equal(changed, np.rot90(pixels, quarters))
    ]
    assert len(found) == 1
    np.testing.assert_array_equal(found[0].quads, [TURNED[quarters]])
    assert found[0].wh == ((60, 40), (40, 60))[quarters % 2]


@pytest.mark.parametrize(("name", "times"), [("flip", 2), ("turn", 4)])
@pytest.mark.parametrize("seed", range(8))
def test_done_again_it_is_undone(name: str, times: int, seed: int) -> None:
    pixels, record = marked()
    changed, boxes = pixels, record
    for _ in range(times):
        changed, boxes = augmented(changed, boxes, GEOMETRY[name], np.random.default_rng(seed))
    np.testing.assert_array_equal(changed, pixels)
    np.testing.assert_array_equal(boxes.quads, record.quads)
    assert boxes.wh == record.wh


@pytest.mark.parametrize("seed", range(6))
def test_a_rotation_keeps_areas_and_what_it_uncovers_has_the_mean_colour(seed: int) -> None:
    pixels = np.full((80, 120, 3), (10, 100, 200), dtype=np.uint8)
    _, record = picture(120, 80, [blob(50, 30), blob(60, 40)[::-1]])
    changed, boxes = augmented(pixels, record, GEOMETRY["rotation"], np.random.default_rng(seed))
    assert (changed == (10, 100, 200)).all()
    np.testing.assert_allclose(signed_areas(boxes.quads), [45, -45])


@pytest.mark.parametrize("seed", range(20))
def test_what_is_in_the_middle_stays_and_exactly_what_leaves_is_dropped(seed: int) -> None:
    rng = np.random.default_rng(seed)
    middle = blob(35, 30, 20, 10)
    pixels, record = picture(90, 70, [middle, *(blob(*rng.uniform(-60, 140, 2)) for _ in range(80))])
    _, boxes = augmented(pixels, record, Augmentation(rotation_deg=60, scale=0.5), rng)
    np.testing.assert_allclose(boxes.quads[0].mean(axis=0), (45, 35))
    # The object in the middle tells where all the others must have gone.
    linear = np.linalg.solve(record.quads[0, :2] - (45, 35), boxes.quads[0, :2] - (45, 35))
    moved = (record.quads - (45, 35)) @ linear + (45, 35)
    kept = inside_fraction(moved, (90, 70)) >= 0.7
    assert 0 < kept.sum() < len(kept)
    assert boxes.labels == record.select(kept).labels
    np.testing.assert_allclose(boxes.quads, moved[kept])


def test_scales_are_spread_evenly_in_their_logarithm() -> None:
    pixels, record = picture(64, 64, [blob(30, 30, 4, 4)])
    factors = []
    for seed in range(400):
        _, boxes = augmented(pixels, record, Augmentation(scale=1), np.random.default_rng(seed))
        factors.append(np.sqrt(quad_areas(boxes.quads)[0] / 16))
    logs = np.log2(factors)
    assert -1 <= logs.min() < -0.95
    assert 0.95 < logs.max() <= 1
    assert abs(logs.mean()) < 0.1


def test_a_crossed_outline_counts_as_the_rectangle_around_it() -> None:
    pixels, record = picture(100, 80, [[(40, 30), (60, 30), (40, 50), (60, 50)]])
    for seed in range(5):
        _, boxes = augmented(pixels, record, Augmentation(rotation_deg=20), np.random.default_rng(seed))
        assert boxes.labels == record.labels


def test_objects_without_extent_or_outside_are_dropped_with_their_labels() -> None:
    quads = [blob(30, 30, 0.5, 0.5), blob(30, 30), blob(300, 30)]
    pixels, record = picture(64, 64, quads)
    _, boxes = augmented(pixels, record, Augmentation(rotation_deg=20), np.random.default_rng(0))
    assert boxes.labels == ("class1",)
    assert boxes.difficult == (1,)
    assert len(boxes.quads) == 1


@given(st.integers(0, 2**32 - 1), st.floats(0, 180), st.floats(0, 4))
def test_what_is_left_of_every_object(seed: int, rotation_deg: float, scale: float) -> None:
    """Kept objects lie in the image for the most part, and have grown by one factor."""
    rng = np.random.default_rng(seed)
    quads = [blob(*rng.uniform(0, 60, 2), *rng.uniform(0.5, 20, 2)) for _ in range(6)]
    pixels, record = picture(70, 64, quads)
    augmentation = Augmentation(rotation_deg=rotation_deg, scale=scale)
    _, boxes = augmented(pixels, record, augmentation, np.random.default_rng(seed))
    index = [int(label.removeprefix("class")) for label in boxes.labels]
    if boxes.quads is record.quads:
        return
    inside = inside_fraction(boxes.quads, boxes.wh)
    assert (inside >= 0.7).all()
    assert boxes.difficult == tuple(2 if share < 1 else i % 2 for i, share in zip(index, inside, strict=True))
    growth = quad_areas(boxes.quads) / quad_areas(record.quads[index])
    np.testing.assert_allclose(growth, growth[:1].repeat(len(growth)), rtol=1e-9)
    assert ((1 + scale) ** -2 - 1e-9 <= growth).all()
    assert (growth <= (1 + scale) ** 2 + 1e-9).all()


def test_it_is_drawn_from_the_generator_alone() -> None:
    pixels, record = picture(64, 64, [blob(20, 20)])
    one = augmented(pixels, record, EVERYTHING, np.random.default_rng(5))
    two = augmented(pixels.copy(), record, EVERYTHING, np.random.default_rng(5))
    assert one[0].tobytes() == two[0].tobytes()
    np.testing.assert_array_equal(one[1].quads, two[1].quads)
    states = []
    for count in (0, 3):
        rng = np.random.default_rng(5)
        augmented(*picture(64, 64, [blob(20, 20)] * count), GEOMETRY["all"], rng)
        states.append(rng.random())
    assert states[0] == states[1], "what comes next must not depend on the image"


def test_inputs_are_left_alone_and_scenes_forgotten() -> None:
    pixels, record = picture(64, 64, [blob(20, 20)])
    before = pixels.copy(), record.quads.copy()
    for seed in range(5):
        _, boxes = augmented(pixels, record, Augmentation(rotation_deg=20), np.random.default_rng(seed))
        assert boxes.scene is None
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(record.quads, before[1])


def test_nothing_asked_for_is_nothing_done_and_nothing_drawn() -> None:
    pixels, record = picture(64, 64, [blob(20, 20)])
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    same, kept = augmented(pixels[:, ::-1], record, Augmentation(), rng)
    assert same.base is pixels
    assert kept is record
    assert rng.bit_generator.state == before


def test_colour_alone_leaves_the_record_alone() -> None:
    pixels, record = picture(64, 64, [blob(20, 20)])
    pictures = [augmented(pixels, record, Augmentation(colour=1), np.random.default_rng(s)) for s in range(9)]
    assert any((changed != pixels).any() for changed, _ in pictures)
    for _, boxes in pictures:
        assert boxes.scene == record.scene
        np.testing.assert_array_equal(boxes.quads, record.quads)


def test_an_image_without_objects() -> None:
    pixels, record = picture(30, 20, [])
    assert augmented(pixels, record, EVERYTHING, np.random.default_rng(0))[1].labels == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotation_deg": 181}, "rotation_deg must be from 0 to 180, got 181"),
        ({"scale": -0.1}, "scale must be from 0 to 4"),
        ({"colour": float("nan")}, "colour must be from 0 to 1, got nan"),
    ],
)
def test_impossible_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmentation(**options)  # type: ignore[arg-type]


def test_a_record_of_another_size() -> None:
    pixels, record = picture(30, 20, [])
    with pytest.raises(DataError, match="is 30 x 19 px, its record says 30 x 20"):
        augmented(pixels[:19], record, EVERYTHING, np.random.default_rng(0))
