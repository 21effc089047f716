"""Plots of an evaluation's details as SVG text (see ``svg``): thresholds, calibration, confusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmmrotate.evaluation.details import Details
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.palette import class_colours, hex_code, on_any_page
from lmmrotate.report.svg import BAR, FAINT, INK, new_figure, plot_style, svg_text
from lmmrotate.report.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

_MOST_LINES = 20  # more cannot be told apart
_MOST_CLASSES = 40  # in a confusion matrix


def thresholds_svg(evaluation: Evaluation, details: Details) -> str:
    """mF1, mAP_nc and the F1 of each class against the score threshold."""
    sweep = details.sweep
    colours = class_colours([c.label for c in evaluation.classes])
    order = sorted(range(len(evaluation.classes)), key=lambda k: -evaluation.classes[k].objects)
    with plot_style("thresholds"):
        figure, axes = new_figure(5.2, 3.8)
        for k in order[:_MOST_LINES]:
            if evaluation.classes[k].objects:
                colour = hex_code(on_any_page(colours[evaluation.classes[k].label]))
                axes.plot(sweep.thresholds, sweep.f1[:, k], color=colour, lw=0.9, alpha=0.7)
        axes.plot(sweep.thresholds, sweep.map_nc, "--", color=INK, lw=1.4, label="mAP_nc")
        axes.plot(sweep.thresholds, sweep.mf1, color=INK, lw=2, label="mF1, and F1 of classes in colour")
        for value, threshold in (sweep.best_mf1(), sweep.best_map_nc()):
            axes.plot([threshold], [value], "o", ms=5, mec=INK, mfc="#ffffff")
        _square(axes, "detections of this score or more", "F1, mAP_nc")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8.5)
        return svg_text(figure, "thresholds")


def calibration_svg(details: Details) -> str:
    """How many detections of a score are right, and how many there are."""
    calibration = details.calibration
    bins = len(calibration.counts)
    with plot_style("calibration"):
        figure, axes = new_figure(4.2, 3.8)
        places = (np.arange(bins) + 0.5) / bins
        share = calibration.counts / max(1, calibration.counts.sum())
        axes.bar(places, share, width=0.9 / bins, color=BAR, alpha=0.35, label="share of detections")
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1)
        some = calibration.counts > 0
        axes.plot(
            calibration.score[some], calibration.right[some], "o-", color=INK, ms=4, lw=1.4, label="right"
        )
        _square(axes, "score", "share that is right")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8.5)
        return svg_text(figure, "calibration")


def confusion_svg(evaluation: Evaluation, details: Details) -> str:
    """Shares of each class's objects by what they were taken for; of many classes the most frequent ones."""
    objects = [c.objects for c in evaluation.classes]
    detections = [c.detections for c in evaluation.classes]
    frequent = sorted(range(len(objects)), key=lambda k: -(objects[k] + detections[k]))[:_MOST_CLASSES]
    shown = [*sorted(frequent), len(objects)]
    names = [*(printable(evaluation.classes[k].label, 24) for k in shown[:-1]), "background"]
    counts = details.mistakes.confusion[np.ix_(shown, shown)]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    shares[-1] = 0  # what is found in the background is no share of it
    side = 1.6 + 0.3 * len(shown)
    with plot_style("confusion"):
        figure, axes = new_figure(side + 0.6, side)
        for i in range(len(shown)):
            for j in range(len(shown)):
                if counts[i, j]:
                    alpha = 0.08 + 0.8 * float(shares[i, j])
                    colour = "#2f7fc1" if i == j else "#d9822b"
                    axes.add_patch(_cell(i, j, colour, alpha))
                    axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=7)
        places = np.arange(len(shown))
        axes.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
        axes.set_xlim(-0.5, len(shown) - 0.5)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("detected as")
        axes.set_ylabel("object")
        axes.tick_params(length=0)
        return svg_text(figure, "confusion")


def _cell(row: int, column: int, colour: str, alpha: float) -> Rectangle:
    from matplotlib import patches

    return patches.Rectangle((column - 0.5, row - 0.5), 1, 1, color=colour, alpha=alpha, lw=0)


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=FAINT, lw=0.6)
    axes.set_axisbelow(True)
