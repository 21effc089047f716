"""Plots as SVG text: AP by class, and precision against recall.

The background is transparent, and axes and text take the page's text colour (``currentColor``), so a plot
fits a light page and a dark one. Text stays text: it can be searched, and read aloud. The same
evaluation gives the same bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.report.palette import class_colours, hex_code, on_any_page
from lmmrotate.report.text import fraction, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#010203"  # stands for the page's text colour until the SVG is written
_FAINT = "#80808055"
_BAR = "#2f7fc1"
_MOST_LINES = 20  # curves in colour; more cannot be told apart
_MOST_POINTS = 200  # of one curve
_STYLES = ("-", "--", ":", "-.")


def ap_bars_svg(evaluation: Evaluation) -> str:
    """AP (11-point) of every class that has objects, best first, with mAP as a line and AP_nc as a dot."""
    results = sorted(_scored(evaluation), key=lambda c: (-c.ap_11, c.label))
    with _style("ap"):
        figure, axes = _figure(5.6, 1.1 + 0.27 * max(len(results), 1))
        places = np.arange(len(results))
        bars = axes.barh(places, [c.ap_11 for c in results], height=0.66, color=_BAR, label="AP")
        (dots,) = axes.plot(
            [c.ap_nc for c in results], places, "D", ms=4, mec=_INK, mfc="#ffffff", label="AP_nc"
        )
        for place, result in enumerate(results):  # a column of numbers, clear of the marks
            axes.text(1.02, place, fraction(result.ap_11), va="center", fontsize=8)
        axes.set_yticks(places, [printable(c.label, 40) for c in results])
        axes.set_ylim(len(results) - 0.4, -0.6)  # best on top
        axes.set_xlim(0, 1)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_xlabel(f"average precision at IoU {evaluation.iou_threshold:g}")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=_FAINT, lw=0.6)
        axes.set_axisbelow(True)
        if results:
            label = f"mAP {fraction(evaluation.map_11)}"
            mean = axes.axvline(evaluation.map_11, color=_INK, lw=1, ls="--", label=label)
            axes.legend(
                handles=[bars, dots, mean],
                loc="lower left",
                bbox_to_anchor=(0, 1),
                ncols=3,
                frameon=False,
                fontsize=8.5,
            )
        else:
            _say_empty(axes)
        return _svg(figure, "ap")


def precision_recall_svg(evaluation: Evaluation) -> str:
    """Precision envelope against recall: a line for each class, with its AP in the legend.

    Of more than 20 classes the 20 with the most objects are drawn in colour and the others in grey.
    """
    results = _scored(evaluation)
    frequent = sorted(results, key=lambda c: -c.objects)[:_MOST_LINES]
    shown = {c.label for c in frequent}
    colours = class_colours([c.label for c in evaluation.classes])
    with _style("pr"):
        figure, axes = _figure(5.2, 4.6)
        _f1_lines(axes)
        others = [c for c in results if c.label not in shown]
        for index, result in enumerate(others):
            label = f"{len(others)} other classes" if index == 0 else None
            axes.plot(*_envelope(result), color="#80808088", lw=0.8, label=label, zorder=1)
        drawn = sorted(frequent, key=lambda c: (-c.ap_11, c.label))
        for index, result in enumerate(drawn):
            colour = hex_code(on_any_page(colours[result.label]))
            label = f"{printable(result.label, 28)}, {fraction(result.ap_11)}"
            style = _STYLES[index % len(_STYLES)]
            axes.plot(*_envelope(result), style, color=colour, lw=1.7, label=label, zorder=2)
        axes.set_xlim(0, 1.005)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision (envelope)")
        axes.grid(color=_FAINT, lw=0.6)
        if results:
            handles, labels = axes.get_legend_handles_labels()
            if others:  # the grey line last
                handles, labels = [*handles[1:], handles[0]], [*labels[1:], labels[0]]
            legend = axes.legend(
                handles,
                labels,
                loc="upper left",
                bbox_to_anchor=(1.02, 1.02),
                frameon=False,
                fontsize=8.5,
                handlelength=2.4,
                title="class, AP",
                alignment="left",
            )
            legend.get_title().set_fontsize(8.5)
        else:
            _say_empty(axes)
        return _svg(figure, "pr")


def _scored(evaluation: Evaluation) -> list[ClassResult]:
    return [c for c in evaluation.classes if c.objects > 0]


def _envelope(result: ClassResult) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Corners of the monotone precision curve, from recall 0; AP is the area below it."""
    recall, precision = result.curve_recall, result.curve_precision
    if not len(recall):
        return np.zeros(1), np.zeros(1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    recall, best = np.concatenate([[0.0], recall]), np.concatenate([best[:1], best])
    corner = np.ones(len(best), dtype=bool)
    corner[1:-1] = (best[1:-1] != best[:-2]) | (best[1:-1] != best[2:])
    recall, best = recall[corner], best[corner]
    if len(best) > _MOST_POINTS:
        keep = np.linspace(0, len(best) - 1, _MOST_POINTS).round().astype(np.int64)
        recall, best = recall[keep], best[keep]
    return recall, best


def _say_empty(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no class has objects", transform=axes.transAxes, ha="center", va="center")


def _f1_lines(axes: Axes) -> None:
    """Faint curves of equal F1, for orientation."""
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(f1 / (2 - f1), 1, 60)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color=_FAINT, lw=0.8, zorder=0)
        axes.annotate(
            f"F1 {f1:g}", (1, f1 / (2 - f1)), (-3, 2), textcoords="offset points", fontsize=7, ha="right"
        )


@contextmanager
def _style(salt: str) -> Iterator[None]:
    import matplotlib as mpl

    settings: dict[Any, Any] = {  # matplotlib types the keys as one Literal of all names
        "svg.fonttype": "none",
        "svg.hashsalt": f"lmmrotate-{salt}",  # the same ids every time, different ones in each plot
        "font.family": "DejaVu Sans",  # what text is measured with; the page's font is narrower
        "font.size": 9,
        "text.parse_math": False,  # class names are text, dollar signs included
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches that belongs to nobody (pyplot keeps a list of its own)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _svg(figure: Figure, name: str) -> str:
    buffer = StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        bbox_inches="tight",
        pad_inches=0.05,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # inside HTML there is no place for the XML declaration
    text = text.replace(_INK, "currentColor").replace("font-family: 'DejaVu Sans'", "font-family: sans-serif")
    # matplotlib numbers its groups from 1 in every plot; ids must be unique within a page.
    return re.sub(r'id="([\w.]+_\d+)"', rf'id="{name}-\1"', text)
