"""Plots as SVG text that fits any page.

The background is transparent, and axes and text take the page's text colour (``currentColor``), so a plot
fits a light page and a dark one. Text stays text: it can be searched, and read aloud. The same numbers give
the same bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""
FAINT = "#80808055"
BAR = "#2f7fc1"


@contextmanager
def plot_style(name: str) -> Iterator[None]:
    """Settings under which one plot is drawn and written; ``name`` keeps its ids apart from others'."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {  # matplotlib types the keys as one Literal of all names
        "svg.fonttype": "none",
        "svg.hashsalt": f"lmmrotate-{name}",  # the same ids every time, different ones in each plot
        "font.family": "DejaVu Sans",  # what text is measured with; the page's font is narrower
        "font.size": 9,
        "text.parse_math": False,  # class names are text, dollar signs included
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches that belongs to nobody (pyplot keeps a list of its own)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def svg_text(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element; ``name`` as for ``plot_style``."""
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
    text = text.replace(INK, "currentColor").replace("font-family: 'DejaVu Sans'", "font-family: sans-serif")
    # matplotlib numbers its groups from 1 in every plot; ids must be unique within a page.
    return re.sub(r'id="([\w.]+_\d+)"', rf'id="{name}-\1"', text)
