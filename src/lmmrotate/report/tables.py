"""The numbers of an evaluation for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.report.summary import detail_rows, headline_numbers, setting_parts, trouble_rows
from lmmrotate.report.text import fraction, printable

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
        for heading, rows in (
            ("beyond the headline", detail_rows(evaluation)),
            ("trouble with answers", [(n, str(v)) for n, v in trouble_rows(evaluation)]),
        ):
            if rows:
                yield Text()
                yield _plain_table(heading, rows)


def _summary(evaluation: Evaluation) -> Iterable[Text]:
    headline = Text()
    for name, value, _ in headline_numbers(evaluation):
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


def _plain_table(heading: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column(heading, overflow="fold")
    table.add_column("", overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table
