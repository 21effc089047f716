"""Pictures with oriented boxes: one set of boxes, or ground truth beside predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.geometry.quads import Quads, as_quads
from lmmrotate.report.captions import (
    INK,
    MUTED,
    PAPER,
    Entry,
    caption_boxes,
    few_enough,
    legend_strip,
    shortened,
    write,
)
from lmmrotate.report.detail import MOST_ENLARGED, detail_panel, detail_window
from lmmrotate.report.palette import RGB, class_colours
from lmmrotate.report.strokes import line_width, outlines
from lmmrotate.report.text import count, printable

if TYPE_CHECKING:
    from lmmrotate.report.matches import ImageMatch

# What became of a box. Green and red differ in lightness too, and missed objects are dashed, so that
# nobody has to tell them apart by hue alone.
CORRECT: RGB = (60, 235, 150)
WRONG: RGB = (255, 45, 45)
MISSED: RGB = (255, 180, 0)
IGNORED: RGB = (185, 190, 200)

_UNKNOWN: RGB = (255, 255, 255)
_SMALL_SIDE = 512
_PANEL_LINE = 2  # pixels


def draw_boxes(
    image: Image.Image,
    quads: Quads,
    labels: Sequence[str],
    scores: Sequence[float] | None = None,
    *,
    colours: Mapping[str, RGB] | None = None,
    captions: bool | None = None,
    legend: bool | None = None,
    width: int | None = None,
    heading: bool = False,
    enlarge: int | None = None,
) -> Image.Image:
    """Draw oriented boxes on a copy of ``image``.

    Args:
        image: any mode; the result is RGB.
        quads: (N, 4, 2), pixels of ``image``.
        labels: N class names.
        scores: N confidences, shown in the captions.
        colours: by class; pass ``class_colours(classes)`` so that a class keeps its colour from picture
            to picture. Default: the colours of the sorted labels.
        captions: class and score beside each box that has room for them; default: unless all together
            would take more than a tenth of the picture.
        legend: classes and counts on a strip below, which makes the picture higher; default: where a
            box stays without caption.
        width: of the lines, pixels of the result; default: by image size, thinner where objects are small.
        heading: mark the middle of the edge between corners 0 and 1, the front in some data sets.
        enlarge: whole factor; default: 1 to 4, so that small tiles can be seen.
    """
    if enlarge is None:
        enlarge = int(np.clip(_SMALL_SIDE // max(image.size), 1, MOST_ENLARGED))
    canvas = image.convert("RGB")
    if enlarge > 1:
        canvas = canvas.resize((canvas.width * enlarge, canvas.height * enlarge), Image.Resampling.BICUBIC)
    quads = as_quads(quads) * enlarge
    colours = class_colours(sorted(set(labels))) if colours is None else colours
    by_box = [colours.get(label, _UNKNOWN) for label in labels]
    side = max(canvas.size)
    font_size = max(12, round(side / 75))

    pixels = np.array(canvas)
    width = line_width(quads, max(2, side // 400)) if width is None else width
    outlines(pixels, quads, by_box, width, heading=heading)
    canvas = Image.fromarray(pixels)
    without = len(quads)
    texts = _captions(labels, scores)
    if captions or (captions is None and few_enough(texts, font_size, canvas.size)):
        without = caption_boxes(canvas, quads, texts, by_box, font_size)
    if legend or (legend is None and without):
        strip = legend_strip(_class_entries(labels, colours), canvas.width, font_size)
        return _stack([canvas, strip])
    return canvas


def draw_comparison(
    image: Image.Image,
    record: ImageRecord,
    prediction: Prediction,
    *,
    colours: Mapping[str, RGB] | None = None,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    panel_side: int = 720,
    detail: bool = True,
    title: str | None = None,
) -> Image.Image:
    """Draw ground truth (left, by class) beside predictions (right, by what became of them).

    Boxes follow the picture where its size is not the record's; detections below ``score_threshold``
    are not drawn.

    Args:
        image: the picture that ``record`` describes.
        colours: by class, for the left side; default: the colours of the sorted labels.
        panel_side: longest side of each of the two pictures, pixels; large images shrink to it, small
            ones grow by a whole factor, up to 4.
        detail: of an image whose objects would be too small to see, show only the part with the most
            errors; the counts remain those of the whole image, and the heading says so.
        title: default: the image's path.
    """
    # Here, because it brings numba, half a second that drawing detections alone need not wait for.
    from lmmrotate.report.matches import match_image

    match = match_image(record, prediction, iou_threshold, score_threshold)
    if colours is None:
        colours = class_colours(sorted({*record.labels, *prediction.labels}))
    # Both in the record's frame, as the match is: boxes made at another size look as wrong as they count.
    scale = np.array(image.size) / np.array(record.wh)
    truth, boxes = as_quads(record.quads * scale), as_quads(prediction.quads * scale)
    window = _window(image.size, truth, boxes, match, panel_side) if detail else (0, 0, *image.size)
    panel, zoom = detail_panel(image, window, panel_side)
    truth, boxes = (as_quads((quads - window[:2]) * zoom) for quads in (truth, boxes))
    left = _truth_panel(panel, truth, record.labels, match, colours)
    right = _prediction_panel(panel, truth, boxes, _captions(prediction.labels, prediction.scores), match)

    size = 14
    column = max(panel.width, 300)
    counted = [label for label, skip in zip(record.labels, match.difficult, strict=True) if not skip]
    headings = (
        f"Ground truth: {count(len(counted), 'object')}",
        f"Predictions: {count(int(match.kept.sum()), 'box', 'boxes')}, "
        f"{int(match.correct.sum())} matched at IoU {iou_threshold:g}",
    )
    classes = _class_entries(counted, colours)
    if match.difficult.any():
        classes.append(Entry(f"difficult, not counted {int(match.difficult.sum())}", IGNORED))
    columns = [
        _stack([_heading_strip(text, column, size), picture, legend_strip(entries, column, size)])
        for text, picture, entries in (
            (headings[0], left, classes),
            (headings[1], right, _outcome_entries(match)),
        )
    ]
    lines = [title if title is not None else record.image]
    if window != (0, 0, *image.size):
        lines.append(
            f"Detail of {window[2] - window[0]} x {window[3] - window[1]} px at ({window[0]}, {window[1]}) "
            f"of {image.width} x {image.height} px; counts are of the whole image"
        )
    return _sheet(columns, [line for line in lines if line], size)


def _window(
    wh: tuple[int, int], truth: Quads, boxes: Quads, match: ImageMatch, side: int
) -> tuple[int, int, int, int]:
    errors = np.concatenate([truth[match.missed], boxes[match.wrong]]).mean(axis=1)
    everything = np.concatenate([truth, boxes[match.kept]])
    return detail_window(wh, everything, errors if len(errors) else everything.mean(axis=1), side)


def _truth_panel(
    panel: Image.Image, quads: Quads, labels: Sequence[str], match: ImageMatch, colours: Mapping[str, RGB]
) -> Image.Image:
    pixels = np.array(panel)
    counted = np.flatnonzero(~match.difficult)
    by_box = [colours.get(labels[int(i)], _UNKNOWN) for i in counted]
    outlines(pixels, quads[match.difficult], [IGNORED] * int(match.difficult.sum()), 1)
    outlines(pixels, quads[counted], by_box, line_width(quads, _PANEL_LINE))
    return Image.fromarray(pixels)


def _prediction_panel(
    panel: Image.Image, truth: Quads, boxes: Quads, captions: Sequence[str], match: ImageMatch
) -> Image.Image:
    pixels = np.array(panel)
    width = line_width(truth, _PANEL_LINE)
    outlines(pixels, truth[match.missed], [MISSED] * int(match.missed.sum()), width, dashed=True)
    outcomes = ((match.ignored, IGNORED, 1), (match.correct, CORRECT, width), (match.wrong, WRONG, width))
    for mask, colour, pen in outcomes:  # errors last: they must not vanish below a correct box
        outlines(pixels, boxes[mask], [colour] * int(mask.sum()), pen)

    picture = Image.fromarray(pixels)
    inside = ((boxes.mean(axis=1) >= 0) & (boxes.mean(axis=1) <= panel.size)).all(axis=1)
    # Errors first: they get the free places.
    order = [(int(i), colour) for mask, colour, _ in outcomes[::-1] for i in np.flatnonzero(mask & inside)]
    texts = [captions[i] for i, _ in order]
    if few_enough(texts, 12, picture.size):
        where = as_quads(boxes[[i for i, _ in order]])
        caption_boxes(picture, where, texts, [colour for _, colour in order], 12)
    return picture


def _captions(labels: Sequence[str], scores: Sequence[float] | None) -> list[str]:
    names = [printable(label, 28) for label in labels]
    if scores is None:
        return names
    return [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]


def _class_entries(labels: Sequence[str], colours: Mapping[str, RGB]) -> list[Entry]:
    """Every class that occurs with its count, in the order of ``colours``."""
    counts = Counter(labels)
    known = [label for label in colours if label in counts]
    others = sorted(counts.keys() - colours.keys())
    return [Entry(f"{label} {counts[label]}", colours.get(label, _UNKNOWN)) for label in [*known, *others]]


def _outcome_entries(match: ImageMatch) -> list[Entry]:
    entries = [
        Entry(f"correct {int(match.correct.sum())}", CORRECT),
        Entry(f"false positive {int(match.wrong.sum())}", WRONG),
        Entry(f"missed object {int(match.missed.sum())}", MISSED, dashed=True),
    ]
    if match.ignored.any():
        entries.append(Entry(f"on a difficult object {int(match.ignored.sum())}", IGNORED))
    return entries


def _heading_strip(text: str, width: int, size: int) -> Image.Image:
    strip = Image.new("RGB", (width, round(size * 1.9)), PAPER)
    write(ImageDraw.Draw(strip), (0, strip.height // 2), shortened(text, size, width), size, MUTED)
    return strip


def _stack(parts: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other, on white."""
    sheet = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _sheet(columns: Sequence[Image.Image], lines: Sequence[str], size: int) -> Image.Image:
    """Pictures side by side on white, below lines of text of which the first is a title."""
    margin, line = size, round(size * 1.8)
    width = sum(c.width for c in columns) + margin * (len(columns) + 1)
    top = margin // 2 + line * len(lines)
    sheet = Image.new("RGB", (width, top + max(c.height for c in columns) + margin // 2), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, text in enumerate(lines):
        fitted = shortened(text, size, width - 2 * margin, bold=index == 0)
        write(draw, (margin, margin // 2 + line * (index + 0.5)), fitted, size, INK, bold=index == 0)
    left = margin
    for column in columns:
        sheet.paste(column, (left, top))
        left += column.width + margin
    return sheet
