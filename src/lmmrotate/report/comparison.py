"""Several results side by side: a table for the terminal, and a page with the images they differ on most."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.errors import DataError
from lmmrotate.evaluation.compare import Entry
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.gallery import Scored, data_uri, picture, score_images
from lmmrotate.report.page import facts_list, page_end, page_start, page_text
from lmmrotate.report.palette import class_colours
from lmmrotate.report.summary import setting_parts
from lmmrotate.report.text import count, fraction, printable

HEADINGS = (
    *("mAP", "mAP_nc", "best mAP_nc", "mF1", "best mF1", "mAP 50:95", "boxes", "images/s", "boxes/s"),
    *("parameters", "training"),
    *("mAP less 1st", "95 % interval", "p", "best mF1 less 1st", "95 % interval", "p"),
)
_PICTURES_BYTES = 7_000_000


def comparison_table(entries: Sequence[Entry]) -> Table:
    """A column for every result, a line for every number: names may be long and results many."""
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for entry in entries:
        table.add_column(Text(printable(entry.name, 60)), justify="right", overflow="fold")
    columns = [list(_cells(entry)) for entry in entries]
    for heading, *cells in zip(HEADINGS, *columns, strict=True):
        table.add_row(heading, *cells)
    return table


def _cells(entry: Entry) -> Iterator[str]:
    evaluation, sweep = entry.evaluation, entry.details.sweep
    yield fraction(evaluation.map_11, 4)
    yield fraction(evaluation.map_nc, 4)
    yield "{} at {}".format(*_with_threshold(sweep.best_map_nc()))
    yield fraction(evaluation.mf1, 4)
    yield "{} at {}".format(*_with_threshold(sweep.best_mf1()))
    yield fraction(entry.details.map_50_95, 4)
    yield f"{entry.boxes:,}"
    for speed in (entry.images_per_second, entry.boxes_per_second):
        yield _speed(speed)
    yield "-" if entry.parameters is None else f"{entry.parameters:,}"
    yield "-" if entry.trained_seconds is None else _duration(entry.trained_seconds)
    for metric in ("mAP", "best_mF1"):
        difference = entry.differences.get(metric)
        if difference is None:
            yield from ("-", "-", "-")
        else:
            yield f"{difference.mean:+.4f}"
            yield f"{difference.low:+.4f} to {difference.high:+.4f}"
            yield f"{difference.p:.3f}"


def _speed(a_second: float) -> str:
    if math.isnan(a_second):
        return "-"
    return f"{a_second:,.0f}" if a_second >= 100 else f"{a_second:.3g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _with_threshold(best: tuple[float, float]) -> tuple[str, str]:
    return fraction(best[0], 4), fraction(best[1], 2)


def write_comparison(
    path: Path, entries: Sequence[Entry], manifest: Manifest, *, max_images: int = 12, title: str = ""
) -> None:
    """Write one self-contained page: the table, and the images on which the results differ most in F1.

    Args:
        max_images: 0 for none.
        title: default: data set and split.
    """
    title = title or f"Comparison: {manifest.dataset} {manifest.split}"
    write_text_atomic(path, _page(entries, manifest, max_images, title))


def _page(entries: Sequence[Entry], manifest: Manifest, max_images: int, title: str) -> Iterator[str]:
    yield page_start(title)
    yield f"<header>\n<h1>{page_text(title)}</h1>\n"
    rules = setting_parts(replace(entries[0].evaluation, seconds_per_image=0.0))
    yield from facts_list([("Rules", page_text(", ".join(rules)))])
    yield "</header>\n<main>\n"
    yield '<section id="numbers">\n<h2>Numbers</h2>\n<div class="panel"><table>\n<thead><tr><th></th>'
    yield from (f'<th scope="col">{page_text(entry.name, 60)}</th>' for entry in entries)
    yield "</tr></thead>\n<tbody>\n"
    columns = [list(_cells(entry)) for entry in entries]
    for heading, *cells in zip(HEADINGS, *columns, strict=True):
        row = "".join(f"<td>{page_text(cell)}</td>" for cell in cells)
        yield f'<tr><th scope="row">{heading}</th>{row}</tr>\n'
    yield "</tbody>\n</table></div>\n"
    yield (
        '<p class="note">Differences: mean and 95 % interval over the same draws of images (paired '
        "bootstrap), and the two-sided p value; mF1 with each result's boxes from its best score on."
        "</p>\n</section>\n"
    )
    yield from _gallery(entries, manifest, max_images)
    yield page_end()


def _gallery(entries: Sequence[Entry], manifest: Manifest, max_images: int) -> Iterator[str]:
    rules = [_at_best(entry) for entry in entries]
    scored = [
        score_images(rule, manifest, entry.predictions) for rule, entry in zip(rules, entries, strict=True)
    ]
    rows = sorted(zip(*scored, strict=True), key=lambda row: (-_spread(row), row[0].record.image))
    chosen = [row for row in rows if _spread(row) > 0][:max_images]
    yield '<section id="images">\n<h2>Where they differ most</h2>\n'
    if not chosen:
        yield '<p class="note">No images to show.</p>\n</section>\n'
        return
    yield (
        f'<p class="note">{count(len(chosen), "image")} with the largest differences in F1. In each picture: '
        "ground truth left; predictions right, from the score on that gives the result its best mF1.</p>\n"
    )
    colours = class_colours(manifest.classes)
    most = _PICTURES_BYTES // (len(chosen) * len(entries))
    for row in chosen:
        yield f'<h3 class="path">{page_text(row[0].record.image)}</h3>\n<div class="gallery">\n'
        for entry, rule, item in zip(entries, rules, row, strict=True):
            name = page_text(entry.name, 60)
            try:
                image = picture(item, manifest, rule, colours)
            except DataError as error:
                yield f'<p class="note">{page_text(str(error), 300)}</p>\n'
                break
            yield (
                f'<figure class="panel"><figcaption><span class="path">{name}</span>'
                f"<span>F1 {fraction(item.match.f1)}</span>"
                f"<span>scores from {fraction(rule.score_threshold, 2)}</span></figcaption>"
                f'<img src="{data_uri(image, most)}" width="{image.width}" height="{image.height}" '
                f'loading="lazy" alt="Ground truth and predictions of {name}"></figure>\n'
            )
        yield "</div>\n"
    yield "</section>\n"


def _at_best(entry: Entry) -> Evaluation:
    """The rules with the threshold of the best mF1: for mAP's sake detectors write boxes of any score."""
    _, best = entry.details.sweep.best_mf1()
    given = entry.evaluation.score_threshold
    return (
        entry.evaluation if math.isnan(best) else replace(entry.evaluation, score_threshold=max(best, given))
    )


def _spread(row: Sequence[Scored]) -> float:
    """How far apart the F1s of one image are; on an empty image finding nothing is perfect."""
    values = [1.0 if math.isnan(item.match.f1) else item.match.f1 for item in row]
    return max(values) - min(values)
