"""The report of an evaluation as one HTML file (see ``page``)."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path

from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import DataError
from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.report.detail_plots import calibration_svg, confusion_svg, thresholds_svg
from lmmrotate.report.gallery import Scored, choose_images, data_uri, picture, score_images
from lmmrotate.report.page import card_list, facts_list, page_end, page_start, page_text
from lmmrotate.report.palette import class_colours
from lmmrotate.report.plots import ap_bars_svg, precision_recall_svg
from lmmrotate.report.summary import detail_rows, headline_numbers, trouble_rows
from lmmrotate.report.text import count, fraction

_PICTURES_BYTES = 7_000_000  # all JPEGs together; base64 makes a third more of it
_EXAMPLES = 3  # of each kind of trouble
_NAMES = 20  # in a list of images

_CHOICES = {
    "worst": "The lowest F1; of equal ones, those with the most errors.",
    "typical": "Closest to the median F1.",
    "best": "The highest F1; of equal ones, those with the most correct boxes.",
}


def write_report(
    path: Path,
    evaluation: Evaluation,
    manifest: Manifest,
    predictions: Predictions,
    *,
    max_images: int = 24,
    title: str | None = None,
    date: datetime.date | None = None,
) -> None:
    """Write the report to ``path``, whole or not at all.

    Images that cannot be read are listed in the report. Text from files is escaped; nothing in the file
    runs, and opening it sends no request.

    Args:
        evaluation: of ``predictions`` on ``manifest``; its thresholds hold for the pictures too.
        max_images: pictures of ground truth beside predictions: a third of the worst images, a third
            typical ones, a third of the best. 0 for none.
        title: default: data set and split.
        date: shown in the head; default: today.
    """
    title = title or f"Oriented object detection: {manifest.dataset} {manifest.split}"
    write_text_atomic(
        path,
        _page(evaluation, manifest, predictions, max_images, title, date or datetime.date.today()),
    )


def _page(
    evaluation: Evaluation,
    manifest: Manifest,
    predictions: Predictions,
    max_images: int,
    title: str,
    date: datetime.date,
) -> Iterator[str]:
    yield page_start(title)
    yield f"<header>\n<h1>{page_text(title)}</h1>\n"
    yield from _facts(evaluation, manifest, predictions, date)
    yield (
        '<nav aria-label="Sections"><a href="#classes">Classes</a><a href="#details">Details</a>'
        '<a href="#plots">Plots</a>'
        '<a href="#trouble">Trouble</a><a href="#images">Images</a></nav>\n</header>\n<main>\n'
    )
    yield from _cards(evaluation)
    yield from _class_section(evaluation)
    yield from _detail_section(evaluation)
    yield from _plot_section(evaluation)
    yield from _trouble_section(evaluation, manifest, predictions)
    yield from _image_section(evaluation, manifest, predictions, max_images)
    yield page_end()


def _facts(
    evaluation: Evaluation, manifest: Manifest, predictions: Predictions, date: datetime.date
) -> Iterator[str]:
    header = predictions.header
    settings = ", ".join(f"{key}={value}" for key, value in header.settings.items())
    facts = [
        ("Data set", page_text(manifest.dataset)),
        ("Split", page_text(manifest.split)),
        ("Model", f"<code>{page_text(header.model, 120)}</code>" if header.model else "not named"),
        ("Codec", page_text(header.codec) if header.codec else "none: a detector that does not write"),
        ("Protocol", page_text(evaluation.protocol)),
        ("IoU threshold", f"{evaluation.iou_threshold:g}"),
        ("Score threshold (precision, recall, F1)", f"{evaluation.score_threshold:g}"),
        ("Decoding", f"<code>{page_text(settings, 300)}</code>" if settings else ""),
        ("Manifest SHA-256", f"<code>{manifest.fingerprint()[:16]}</code>"),
        ("Date", date.isoformat()),
    ]
    yield from facts_list(facts)


def _cards(evaluation: Evaluation) -> Iterator[str]:
    objects = sum(c.objects for c in evaluation.classes)
    boxes = sum(c.detections for c in evaluation.classes)
    speed = evaluation.seconds_per_image
    cards = [
        *((name, fraction(value, 4), what) for name, value, what in headline_numbers(evaluation)),
        ("Images", f"{evaluation.images:,}", f"{evaluation.missing_images:,} without a prediction"),
        ("Objects", f"{objects:,}", "ground truth, difficult ones left out"),
        ("Boxes", f"{boxes:,}", "predicted"),
        ("Time", f"{speed:.3g} s" if speed > 0 else "-", "an image, as the model took it"),
    ]
    yield from card_list(cards)


def _class_section(evaluation: Evaluation) -> Iterator[str]:
    yield '<section id="classes">\n<h2>Classes</h2>\n'
    if not evaluation.classes:
        yield '<p class="note">The data set has no classes.</p>\n</section>\n'
        return
    headings = ("Objects", "Boxes", "TP", "FP", "Precision", "Recall", "F1", "AP", "AP area", "AP_nc")
    yield '<div class="panel"><table>\n<thead><tr><th scope="col">Class</th>'
    yield from (f'<th scope="col">{heading}</th>' for heading in headings)
    yield "</tr></thead>\n<tbody>\n"
    yield from (_class_row(result) for result in evaluation.classes)
    scored = sum(c.objects > 0 for c in evaluation.classes)
    yield f'</tbody>\n<tfoot><tr><th scope="row">Sum, mean of {count(scored, "class", "classes")}</th>'
    for field in ("objects", "detections", "true_positives", "false_positives"):
        yield f"<td>{sum(getattr(c, field) for c in evaluation.classes):,}</td>"
    yield "<td></td><td></td>"
    for value in (evaluation.mf1, evaluation.map_11, evaluation.map_area, evaluation.map_nc):
        yield f"<td>{fraction(value)}</td>"
    yield "</tr></tfoot>\n</table></div>\n</section>\n"


def _class_row(result: ClassResult) -> str:
    counts = (result.objects, result.detections, result.true_positives, result.false_positives)
    cells = [f"<td>{number:,}</td>" for number in counts]
    cells += [f"<td>{fraction(value)}</td>" for value in (result.precision, result.recall, result.f1)]
    part = 0.0 if math.isnan(result.ap_11) else 100 * result.ap_11
    cells.append(f'<td class="bar" style="--part:{part:.1f}%">{fraction(result.ap_11)}</td>')
    cells += [f"<td>{fraction(value)}</td>" for value in (result.ap_area, result.ap_nc)]
    mark = "" if result.objects else ' class="none"'
    return f'<tr{mark}><th scope="row">{page_text(result.label, 60)}</th>{"".join(cells)}</tr>\n'


def _detail_section(evaluation: Evaluation) -> Iterator[str]:
    rows = detail_rows(evaluation)
    if rows:
        yield '<section id="details">\n<h2>Beyond the headline</h2>\n<div class="panel"><table>\n<tbody>\n'
        for name, value in rows:
            yield f'<tr><th scope="row">{page_text(name)}</th><td class="text">{page_text(value)}</td></tr>\n'
        yield "</tbody>\n</table></div>\n</section>\n"


def _plots(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    """Heading, description and SVG."""
    yield "Average precision", "Bars of the AP of each class", ap_bars_svg(evaluation)
    text = "Precision against recall, a line for each class"
    yield "Precision and recall", text, precision_recall_svg(evaluation)
    details = evaluation.details
    if details and any(c.objects for c in evaluation.classes):
        text = "mF1, mAP_nc and F1 of each class against the score threshold"
        yield "Score thresholds", text, thresholds_svg(evaluation, details)
        text = "Share of detections that are right against their score"
        yield "Calibration of scores", text, calibration_svg(details)
        text = "Counts of objects of each class by the class that they were detected as"
        yield "Confusion", text, confusion_svg(evaluation, details)


def _plot_section(evaluation: Evaluation) -> Iterator[str]:
    yield '<section id="plots">\n<h2>Plots</h2>\n<div class="plots">\n'
    for heading, label, svg in _plots(evaluation):
        yield (
            f'<figure class="panel"><h3>{heading}</h3>'
            f'<div role="img" aria-label="{label}; the table above has the numbers">{svg}</div></figure>\n'
        )
    yield "</div>\n</section>\n"


def _trouble_section(evaluation: Evaluation, manifest: Manifest, predictions: Predictions) -> Iterator[str]:
    yield '<section id="trouble">\n<h2>Trouble with answers</h2>\n'
    rows = trouble_rows(evaluation)
    if not rows:
        yield '<p class="note">None: every answer was read whole, and every image has one.</p>\n</section>\n'
        return
    yield '<div class="panel"><table class="short">\n<thead><tr><th scope="col">What</th>'
    yield '<th scope="col">Count</th></tr></thead>\n<tbody>\n'
    for name, number in rows:
        yield f'<tr><th scope="row">{page_text(name)}</th><td>{number:,}</td></tr>\n'
    yield "</tbody>\n</table></div>\n"

    examples = list(_examples(predictions))
    if examples:
        yield '<h3>Examples</h3>\n<div class="panel"><table>\n<thead><tr><th scope="col">What</th>'
        yield '<th scope="col" class="text">Image</th><th scope="col" class="text">Text</th></tr></thead>\n'
        yield "<tbody>\n"
        for what, image, text in examples:
            yield (
                f'<tr><th scope="row">{page_text(what, 60)}</th><td class="text">{page_text(image, 120)}</td>'
                f'<td class="text"><code>{page_text(text, 240)}</code></td></tr>\n'
            )
        yield "</tbody>\n</table></div>\n"

    known = {p.image for p in predictions.images}
    missing = [record.image for record in manifest.records if record.image not in known]
    if missing:
        yield f"<h3>Images without a prediction</h3>\n<p>{_names(missing)}</p>\n"
    yield "</section>\n"


def _examples(predictions: Predictions) -> Iterator[tuple[str, str, str]]:
    """(kind, image, text): the first few of every kind of problem, then of answers cut short."""
    found: dict[str, list[tuple[str, str]]] = {}
    for prediction in predictions.images:
        for problem in prediction.problems:
            found.setdefault(problem.kind, []).append((prediction.image, problem.text))
    for kind in sorted(found):
        yield from ((kind, image, text) for image, text in found[kind][:_EXAMPLES])
    cut = [p for p in predictions.images if p.truncated]
    yield from (("cut at the token limit", p.image, "…" + p.text[-160:]) for p in cut[:_EXAMPLES])


def _names(images: list[str]) -> str:
    names = ", ".join(f"<code>{page_text(image, 120)}</code>" for image in images[:_NAMES])
    return names + (f" and {len(images) - _NAMES:,} more" if len(images) > _NAMES else "")


def _image_section(
    evaluation: Evaluation, manifest: Manifest, predictions: Predictions, max_images: int
) -> Iterator[str]:
    yield '<section id="images">\n<h2>Images</h2>\n'
    groups = choose_images(score_images(evaluation, manifest, predictions), max_images)
    chosen = sum(map(len, groups.values()))
    if not chosen:
        yield '<p class="note">No images to show.</p>\n</section>\n'
        return
    yield (
        f'<p class="note">{chosen:,} of {count(len(manifest.records), "image")}, chosen by the F1 of the '
        f"single image, all classes together, at IoU {evaluation.iou_threshold:g}: the worst, typical ones "
        "and the best. Left: ground truth by class. Right: predictions.</p>\n"
    )
    colours = class_colours(manifest.classes)
    unreadable: list[str] = []
    for name, items in groups.items():
        if not items:
            continue
        yield f'<h3>{name.capitalize()}</h3>\n<p class="note">{_CHOICES[name]}</p>\n<div class="gallery">\n'
        for item in items:
            try:
                image = picture(item, manifest, evaluation, colours)
            except DataError as error:
                unreadable.append(str(error))
                continue
            yield _figure(item, data_uri(image, _PICTURES_BYTES // chosen), image.size)
        yield "</div>\n"
    if unreadable:
        yield '<h3>Images that could not be read</h3>\n<ul class="trouble">\n'
        yield from (f"<li>{page_text(message, 300)}</li>\n" for message in unreadable)
        yield "</ul>\n"
    yield "</section>\n"


def _figure(item: Scored, uri: str, wh: tuple[int, int]) -> str:
    match = item.match
    objects, boxes = int((~match.difficult).sum()), int(match.kept.sum())
    correct, wrong, missed = (int(mask.sum()) for mask in (match.correct, match.wrong, match.missed))
    counts = (
        f"{count(objects, 'object')}, {count(boxes, 'box', 'boxes')}: "
        f"{correct} correct, {wrong} false, {missed} missed"
    )
    if match.ignored.any():
        counts += f", {int(match.ignored.sum())} on difficult objects"
    path = page_text(item.record.image)
    answer = ""
    if item.prediction.text:
        answer = (
            f"<details><summary>Answer ({len(item.prediction.text):,} characters)</summary>"
            f"<pre>{page_text(item.prediction.text, 1500)}</pre></details>"
        )
    return (
        f'<figure class="panel"><figcaption><span class="path">{path}</span>'
        f"<span>F1 {fraction(match.f1)}</span><span>{counts}</span></figcaption>"
        f'<img src="{uri}" width="{wh[0]}" height="{wh[1]}" loading="lazy" '
        f'alt="Ground truth and predictions on {path}: {counts}">{answer}</figure>\n'
    )
