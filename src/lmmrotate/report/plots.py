"""Plots of an evaluation as SVG text (see ``svg``): AP by class, and precision against recall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lmmrotate.evaluation.results import ClassResult, Evaluation
from lmmrotate.report.palette import class_colours, hex_code, on_any_page
from lmmrotate.report.svg import BAR, FAINT, INK, new_figure, plot_style, svg_text
from lmmrotate.report.text import fraction, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 20  # curves in colour; more cannot be told apart
_MOST_POINTS = 200  # of one curve
_STYLES = ("-", "--", ":", "-.")


def ap_bars_svg(evaluation: Evaluation) -> str:
    """AP (11-point) of every class that has objects, best first, with mAP as a line and AP_nc as a dot."""
    results = sorted(_scored(evaluation), key=lambda c: (-c.ap_11, c.label))
    with plot_style("ap"):
        figure, axes = new_figure(5.6, 1.1 + 0.27 * max(len(results), 1))
        places = np.arange(len(results))
        bars = axes.barh(places, [c.ap_11 for c in results], height=0.66, color=BAR, label="AP")
        (dots,) = axes.plot(
            [c.ap_nc for c in results], places, "D", ms=4, mec=INK, mfc="#ffffff", label="AP_nc"
        )
        for place, result in enumerate(results):  # a column of numbers, clear of the marks
            axes.text(1.02, place, fraction(result.ap_11), va="center", fontsize=8)
        axes.set_yticks(places, [printable(c.label, 40) for c in results])
        axes.set_ylim(len(results) - 0.4, -0.6)  # best on top
        axes.set_xlim(0, 1)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_xlabel(f"average precision at IoU {evaluation.iou_threshold:g}")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, lw=0.6)
        axes.set_axisbelow(True)
        if results:
            label = f"mAP {fraction(evaluation.map_11)}"
            mean = axes.axvline(evaluation.map_11, color=INK, lw=1, ls="--", label=label)
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
        return svg_text(figure, "ap")


def precision_recall_svg(evaluation: Evaluation) -> str:
    """Precision envelope against recall: a line for each class, with its AP in the legend.

    Of more than 20 classes the 20 with the most objects are drawn in colour and the others in grey.
    """
    results = _scored(evaluation)
    frequent = sorted(results, key=lambda c: -c.objects)[:_MOST_LINES]
    shown = {c.label for c in frequent}
    colours = class_colours([c.label for c in evaluation.classes])
    with plot_style("pr"):
        figure, axes = new_figure(5.2, 4.6)
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
        axes.grid(color=FAINT, lw=0.6)
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
        return svg_text(figure, "pr")


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
        axes.plot(recall, f1 * recall / (2 * recall - f1), color=FAINT, lw=0.8, zorder=0)
        axes.annotate(
            f"F1 {f1:g}", (1, f1 / (2 - f1)), (-3, 2), textcoords="offset points", fontsize=7, ha="right"
        )
