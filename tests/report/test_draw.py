import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.geometry.quads import as_quads
from lmmrotate.report.captions import caption_boxes
from lmmrotate.report.detail import detail_window
from lmmrotate.report.draw import CORRECT, IGNORED, MISSED, WRONG, draw_boxes, draw_comparison
from lmmrotate.report.palette import PALETTE, RGB, class_colours, luminance, on_any_page, text_colour

GREY = Image.new("RGB", (600, 600), (90, 90, 90))
DIAMOND = as_quads([[300, 150, 450, 300, 300, 450, 150, 300]])


def near(image: Image.Image, x: float, y: float, colour: RGB, reach: int = 2) -> bool:
    """Whether a pixel close to (x, y) has nearly this colour."""
    pixels = np.asarray(image, dtype=int)[
        int(y) - reach : int(y) + reach + 1, int(x) - reach : int(x) + reach + 1
    ]
    return bool((np.abs(pixels - colour).max(axis=2) < 40).any())


def has(image: Image.Image, colour: RGB) -> bool:
    return bool((np.abs(np.asarray(image, dtype=int) - colour).max(axis=2) < 25).any())


def test_lines_run_along_the_edges() -> None:
    picture = draw_boxes(
        GREY, DIAMOND, ["ship"], colours={"ship": (255, 0, 255)}, captions=False, legend=False
    )
    assert picture.size == GREY.size
    assert picture.mode == "RGB"
    for x, y in [(375, 225), (375, 375), (225, 375), (225, 225)]:  # middles of the edges
        assert near(picture, x, y, (255, 0, 255))
    assert not near(picture, 300, 300, (255, 0, 255), reach=40)
    assert GREY.getpixel((375, 225)) == (90, 90, 90)  # the caller's picture is left alone


def test_small_pictures_are_enlarged_and_large_ones_are_not() -> None:
    quad = as_quads([[30, 30, 90, 30, 90, 60, 30, 60]])
    small = draw_boxes(Image.new("L", (128, 100)), quad, ["ship"], colours={"ship": (0, 255, 0)})
    assert small.size == (512, 400)
    assert near(small, 4 * 60, 4 * 60, (0, 255, 0))
    assert draw_boxes(Image.new("RGB", (900, 300)), quad, ["ship"], legend=False).size == (900, 300)
    assert draw_boxes(Image.new("RGB", (128, 128)), quad, ["ship"], enlarge=1, legend=False).size == (
        128,
        128,
    )


def test_heading_points_from_the_first_edge_to_the_centre() -> None:
    picture = draw_boxes(
        GREY, DIAMOND, ["ship"], colours={"ship": (255, 0, 255)}, captions=False, heading=True
    )
    assert near(picture, 337, 263, (255, 0, 255))
    assert not near(picture, 263, 337, (255, 0, 255))


def test_many_boxes_get_a_legend_instead_of_captions() -> None:
    rows = [[x, y, x + 8, y, x + 8, y + 8, x, y + 8] for x in range(10, 590, 15) for y in range(10, 590, 30)]
    picture = draw_boxes(GREY, as_quads(rows), ["ship"] * len(rows), colours={"ship": (255, 0, 255)})
    assert picture.height > 600
    strip = picture.crop((0, 600, 600, picture.height))
    assert has(strip, (255, 0, 255))
    assert has(strip, (255, 255, 255))


def test_captions_hide_neither_objects_nor_each_other() -> None:
    rows = [
        [x, y, x + 16, y, x + 16, y + 16, x, y + 16] for x in range(0, 600, 20) for y in range(0, 600, 20)
    ]
    picture = GREY.copy()
    left_out = caption_boxes(picture, as_quads(rows), ["ship"] * len(rows), [(255, 0, 255)] * len(rows), 12)
    assert left_out == len(rows)
    assert picture.tobytes() == GREY.tobytes()
    assert caption_boxes(picture, DIAMOND, ["ship"], [(255, 0, 255)], 12) == 0
    assert has(picture, (255, 0, 255))


@pytest.mark.parametrize(
    "quad", [[-1e12, 5, 1e12, 5, 1e12, 9, -1e12, 9], [5, 5, 5, 5, 5, 5, 5, 5], [-90] * 8]
)
def test_boxes_of_any_kind_are_survived(quad: list[float]) -> None:
    draw_boxes(GREY, as_quads([quad]), ["\x1b[31m$\\frac"], [0.5], colours={})


def test_no_boxes() -> None:
    assert draw_boxes(GREY, as_quads([]), []).tobytes() == GREY.tobytes()


def test_comparison_shows_every_fate(manifest: Manifest, predictions: Predictions) -> None:
    record, prediction = manifest.records[1], predictions.images[1]
    image = Image.new("RGB", (100, 80), (90, 100, 90))
    picture = draw_comparison(image, record, prediction, title="")
    half = picture.width // 2
    right = picture.crop((half, 0, picture.width, picture.height))
    panels = picture.crop((0, 0, picture.width, 340))
    assert has(right, WRONG)
    assert has(right, MISSED)
    assert has(right, IGNORED)
    # Ship at (10, 10): class colour on the left, dashed orange on the right.
    assert has(panels.crop((0, 0, half, 340)), class_colours(["ship"])["ship"])
    assert not has(panels.crop((0, 0, half, 340)), WRONG)
    good = draw_comparison(image, manifest.records[0], predictions.images[0])
    assert has(good.crop((half, 0, good.width, 340)), CORRECT)
    untitled = draw_comparison(image, manifest.records[0], predictions.images[0], title="")
    assert good.height > untitled.height


def test_comparison_follows_the_picture_and_its_size() -> None:
    record = ImageRecord("a", 1000, 1000, DIAMOND * 1000 / 600, ("ship",), (0,))
    prediction = Prediction("a", 1000, 1000, "", DIAMOND * 1000 / 600, ("ship",), (0.9,))
    picture = draw_comparison(GREY, record, prediction, title="", panel_side=300)
    assert picture.width == 2 * 300 + 3 * 14
    right = picture.crop((2 * 14 + 300, 0, picture.width, picture.height))
    assert has(right, CORRECT)
    wrong_frame = draw_comparison(GREY, record, Prediction("a", 600, 600, "", DIAMOND, ("ship",), (0.9,)))
    assert has(wrong_frame.crop((0, 0, wrong_frame.width, 600)), WRONG)
    huge = draw_comparison(
        Image.new("RGB", (3000, 20)), ImageRecord("x" * 500, 3000, 20), Prediction("a", 9, 9)
    )
    assert huge.width == 2 * 720 + 3 * 14


def test_large_images_with_small_objects_are_shown_in_part() -> None:
    def boxes(x: float, y: float) -> list[list[float]]:
        return [[x + i, y, x + i + 9, y, x + i + 9, y + 9, x + i, y + 9] for i in range(0, 200, 20)]

    rows = boxes(3000, 2500) + boxes(100, 100)[:3]
    quads = as_quads(rows)
    window = detail_window((4000, 3000), quads, quads.mean(axis=1), 720)
    x, y, right, bottom = window
    assert 720 <= right - x < 2000
    assert 0 <= x <= 3000
    assert right <= 4000
    assert y <= 2500
    assert bottom <= 3000  # holds the larger group
    assert detail_window((700, 700), quads, quads.mean(axis=1), 720) == (0, 0, 700, 700)
    assert detail_window((4000, 3000), quads * 20, quads.mean(axis=1), 720) == (0, 0, 4000, 3000)

    record = ImageRecord("a", 4000, 3000, quads, ("ship",) * len(rows), (0,) * len(rows))
    image, nothing = Image.new("RGB", (4000, 3000)), Prediction("a", 4000, 3000)
    part = draw_comparison(image, record, nothing, colours={"ship": (255, 0, 255)})
    assert has(part.crop((0, 90, part.width // 2, 700)), (255, 0, 255))
    assert part.height > draw_comparison(image, record, nothing, detail=False).height


def test_palette_is_distinct_and_stable() -> None:
    assert len(set(PALETTE)) == len(PALETTE) >= 20
    names = [f"c{i}" for i in range(50)]
    colours = class_colours(names)
    assert colours["c3"] == class_colours(names[:4])["c3"]
    for colour in PALETTE:
        ink = text_colour(colour)
        bright, dark = sorted((luminance(colour), luminance(ink)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA
        assert luminance(on_any_page(colour)) < 0.33
