"""The numbers of an evaluation for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.report.text import count, fraction, printable

_WIDE = 100  # columns from which the table gets more air

# Fractions of a class, in the order of the columns.
_HEADINGS = ("truth", "dets", "TP", "FP", "prec", "rec", "F1", "AP", "AP\narea", "AP\nnc")


def evaluation_table(evaluation: Evaluation) -> RenderableType:
    """Summary, table of classes, and what went wrong with the answers.

    It adapts to the console's width; 80 columns suffice. Class names are shown as text: markup and
    control characters in them have no effect.
    """
    return _EvaluationTable(evaluation)


class _EvaluationTable:
    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        evaluation = self._evaluation
        yield from _summary(evaluation)
        yield Text()
        yield _class_table(evaluation, gap=2 if options.max_width >= _WIDE else 0)
        trouble = list(trouble_rows(evaluation))
        if trouble:
            yield Text()
            yield _trouble_table(trouble)


def setting_parts(evaluation: Evaluation) -> list[str]:
    """Under what rules the numbers were taken: protocol, thresholds, size of the data."""
    parts = [f"protocol {printable(evaluation.protocol)}", f"IoU {evaluation.iou_threshold:g}"]
    if evaluation.score_threshold > 0:
        parts.append(f"precision, recall and F1 at score >= {evaluation.score_threshold:g}")
    parts.append(count(evaluation.images, "image"))
    if evaluation.seconds_per_image > 0:
        parts.append(f"{evaluation.seconds_per_image:.3g} s an image")
    return parts


def trouble_rows(evaluation: Evaluation) -> Iterable[tuple[str, int]]:
    """What went wrong with the answers and how often, most frequent kind first; empty if nothing did."""
    for kind, number in sorted(evaluation.problems.items(), key=lambda item: (-item[1], item[0])):
        yield f"unread output: {printable(kind, 60)}", number
    if evaluation.truncated:
        yield "answers cut at the token limit", evaluation.truncated
    if evaluation.missing_images:
        yield "images without a prediction (scored as empty)", evaluation.missing_images


def _summary(evaluation: Evaluation) -> Iterable[Text]:
    headline = Text()
    for name, value in (
        ("mAP", evaluation.map_11),
        ("mAP_area", evaluation.map_area),
        ("mAP_nc", evaluation.map_nc),
        ("mF1", evaluation.mf1),
    ):
        headline.append(f"{name} ", "bold" if name == "mAP" else "")
        headline.append(fraction(value, 4), "bold green")
        headline.append("   ")
    headline.rstrip()
    yield headline
    yield Text(", ".join(setting_parts(evaluation)), "dim")


def _class_table(evaluation: Evaluation, gap: int) -> Table:
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, gap, 0, 0), show_footer=True)
    scored = sum(c.objects > 0 for c in evaluation.classes)
    footer = (
        *(f"{sum(getattr(c, field) for c in evaluation.classes)}" for field in _COUNTS),
        "",
        "",
        *(fraction(v) for v in (evaluation.mf1, evaluation.map_11, evaluation.map_area, evaluation.map_nc)),
    )
    table.add_column("class", f"sum, mean of {scored}", overflow="fold")
    for heading, foot in zip(_HEADINGS, footer, strict=True):
        table.add_column(heading, foot, justify="right", no_wrap=True)
    for result in evaluation.classes:
        style = "dim" if not result.objects else ""
        table.add_row(Text(printable(result.label)), *_cells(result), style=style)
    return table


_COUNTS = ("objects", "detections", "true_positives", "false_positives")


def _cells(result: ClassResult) -> list[str]:
    numbers = [str(getattr(result, field)) for field in _COUNTS]
    values = (
        result.precision,
        result.recall,
        result.f1,
        result.ap_11,
        result.ap_area,
        result.ap_nc,
    )
    return numbers + [fraction(value) for value in values]


def _trouble_table(rows: Iterable[tuple[str, int]]) -> Table:
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("trouble with answers", overflow="fold")
    table.add_column("count", justify="right", no_wrap=True)
    for name, number in rows:
        table.add_row(Text(name), str(number))
    return table
