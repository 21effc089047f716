"""What a data set holds as SVG plots (see ``svg``): classes, sizes, angles, densities, answer lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmmrotate.data.doctor.statistics import Statistics
from lmmrotate.geometry.quads import Floats
from lmmrotate.report.svg import BAR, FAINT, INK, new_figure, plot_style, svg_text
from lmmrotate.report.text import count, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_WIDTH, _HEIGHT = 5.2, 2.6  # inches
_MOST_CLASSES = 60
_SECOND = "#d07a28"


def classes_svg(found: Statistics, name: str) -> str:
    """Objects of every class, most first; the axis is logarithmic where classes differ a lot."""
    counts = sorted(found.objects.items(), key=lambda item: (-item[1], item[0]))[:_MOST_CLASSES]
    numbers = [number for _, number in counts]
    with plot_style(name):
        figure, axes = new_figure(_WIDTH, 0.8 + 0.25 * max(len(counts), 1))
        places = np.arange(len(counts))
        axes.barh(places, numbers, height=0.66, color=BAR)
        if numbers and max(numbers) > 50 * max(min(numbers), 1):
            axes.set_xscale("symlog", linthresh=1)
            _plain_numbers(axes.xaxis)
        axes.set_xlim(left=0)
        for place, number in enumerate(numbers):
            axes.annotate(f"{number:,}", (number, place), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(places, [printable(label, 40) for label, _ in counts])
        axes.set_ylim(len(counts) - 0.4, -0.6)
        axes.margins(x=0.15)
        axes.tick_params(axis="y", length=0)
        _finish(axes, "objects", "")
        axes.grid(axis="x", color=FAINT, lw=0.6)
        axes.grid(visible=False, axis="y")
        return svg_text(figure, name)


def sides_svg(found: Statistics, name: str) -> str:
    """Long and short sides of all objects, pixels, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator

    with plot_style(name):
        figure, axes = new_figure(_WIDTH, _HEIGHT)
        sides = np.maximum(found.sides_px, 0.5)
        if len(sides):
            edges = np.geomspace(sides.min() * 0.98, sides.max() * 1.02, 41).tolist()
            for column, label, colour in ((1, "short side", _SECOND), (0, "long side", BAR)):
                values = sides[:, column]
                axes.hist(values, edges, histtype="stepfilled", alpha=0.55, color=colour, label=label)
            axes.set_xscale("log")
            _plain_numbers(axes.xaxis)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.legend(frameon=False, fontsize=8.5)
        _finish(axes, "pixels", "objects")
        return svg_text(figure, name)


def angles_svg(found: Statistics, name: str) -> str:
    """Directions of the long sides, degrees, le90."""
    with plot_style(name):
        figure, axes = new_figure(_WIDTH, _HEIGHT)
        axes.hist(np.degrees(found.angles_rad), np.linspace(-90, 90, 37).tolist(), color=BAR)
        axes.set_xlim(-90, 90)
        axes.set_xticks(np.arange(-90, 91, 30))
        _finish(axes, "degrees, clockwise from the x axis", "objects")
        return svg_text(figure, name)


def per_image_svg(found: Statistics, name: str) -> str:
    """How many objects the images hold."""
    return _counts_svg(found.per_image, name, "objects in an image")


def answer_tokens_svg(found: Statistics, name: str, most: int) -> str:
    """How many tokens the answers take, with the most that a model may write as a line."""
    return _counts_svg(found.answer_tokens, name, "tokens of an answer", most)


def _counts_svg(values: Floats, name: str, what: str, limit: int | None = None) -> str:
    with plot_style(name):
        figure, axes = new_figure(_WIDTH, _HEIGHT)
        if len(values):
            top = max(float(values.max()), 1.0)
            step = max(1, int(np.ceil(top / 40)))
            axes.hist(values, np.arange(-0.5, top + step, step).tolist(), color=BAR)
            if values.max() > 20 * max(np.median(values), 1):
                axes.set_yscale("log")
                _plain_numbers(axes.yaxis)
        if limit is not None:
            beyond = int((values > limit).sum())
            label = f"limit {limit:,}: {count(beyond, 'image')} beyond"
            axes.axvline(limit, color=INK, lw=1, ls="--", label=label)
            axes.legend(frameon=False, fontsize=8.5)
        _finish(axes, what, "images")
        return svg_text(figure, name)


def _finish(axes: Axes, x: str, y: str) -> None:
    from matplotlib.ticker import MaxNLocator

    if y and axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y", color=FAINT, lw=0.6)
    axes.set_axisbelow(True)


def _plain_numbers(axis: Axis) -> None:
    """Numbers instead of powers of ten on a logarithmic axis, and no small ticks."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())
