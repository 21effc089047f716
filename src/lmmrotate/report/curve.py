"""How the numbers change over the checkpoints of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.page import facts_list, page_end, page_start, page_text
from lmmrotate.report.summary import setting_parts
from lmmrotate.report.svg import FAINT, INK, new_figure, plot_style, svg_text
from lmmrotate.report.text import fraction

Point = tuple[int, Evaluation]
"""Updates of the training, and what the model could do then."""

_LINES = (("mAP", "#2f7fc1", "o"), ("mAP_nc", "#d1701a", "D"), ("mF1", "#3f8f4f", "s"))


def curve_svg(points: Sequence[Point]) -> str:
    """mAP, mAP_nc and mF1 over updates."""
    steps = [step for step, _ in points]
    with plot_style("curve"):
        figure, axes = new_figure(6.4, 3.4)
        for name, colour, marker in _LINES:
            values = [_numbers(evaluation)[name] for _, evaluation in points]
            axes.plot(
                steps, values, marker=marker, ms=4, color=colour, mec=INK, mew=0.5, label=name, clip_on=False
            )
        axes.set_ylim(0, 1)
        axes.set_xticks(steps if len(steps) <= 12 else steps[:: -(-len(steps) // 12)])
        axes.set_xlabel("updates")
        axes.grid(color=FAINT, lw=0.6)
        axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        return svg_text(figure, "curve")


def write_curve(path: Path, title: str, points: Sequence[Point]) -> None:
    """Write one self-contained page: the curve, and its numbers with the best of each in bold."""
    write_text_atomic(path, _page(title, sorted(points, key=lambda point: point[0])))


def _page(title: str, points: Sequence[Point]) -> Iterator[str]:
    yield page_start(title)
    yield f"<header>\n<h1>{page_text(title)}</h1>\n"
    yield from facts_list(
        [("Rules", page_text(", ".join(setting_parts(replace(points[0][1], seconds_per_image=0.0)))))]
    )
    yield '</header>\n<main>\n<section>\n<h2>Checkpoints</h2>\n<div class="panel">'
    yield curve_svg(points)
    yield '</div>\n</section>\n<section>\n<h2>Numbers</h2>\n<div class="panel"><table>\n<thead><tr>'
    yield '<th scope="col">updates</th>'
    yield from (f'<th scope="col">{name}</th>' for name, _, _ in _LINES)
    yield "</tr></thead>\n<tbody>\n"
    rows = [_numbers(evaluation) for _, evaluation in points]
    best = {name: max(row[name] for row in rows) for name, _, _ in _LINES}
    for (step, _), row in zip(points, rows, strict=True):
        cells = (
            f"<td><b>{fraction(value, 4)}</b></td>"
            if value == best[name]
            else f"<td>{fraction(value, 4)}</td>"
            for name, value in row.items()
        )
        yield f'<tr><th scope="row">{step:,}</th>{"".join(cells)}</tr>\n'
    yield "</tbody>\n</table></div>\n</section>\n"
    yield page_end()


def _numbers(evaluation: Evaluation) -> dict[str, float]:
    return {"mAP": evaluation.map_11, "mAP_nc": evaluation.map_nc, "mF1": evaluation.mf1}
