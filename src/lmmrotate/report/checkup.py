"""The doctor's account in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from lmmrotate.data.doctor.findings import Finding, by_kind
from lmmrotate.data.doctor.statistics import Statistics, range_text
from lmmrotate.report.text import printable

_PLACES = 3


def statistics_table(found: Statistics, title: str, max_tokens: int) -> Table:
    """What one manifest holds; of numbers least, median, 95th percentile and largest."""
    table = Table(title=Text(printable(title)), show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    sides, image_sides = found.sides_px, found.image_sides_px
    total = sum(found.objects.values())
    rows = [
        ("images", f"{found.images} ({int((found.per_image == 0).sum())} without objects)"),
        ("objects", f"{total} ({found.difficult} difficult)"),
        ("classes", ", ".join(f"{name} {count}" for name, count in found.objects.items())),
        ("image width", range_text(image_sides[:, 0], "px")),
        ("image height", range_text(image_sides[:, 1], "px")),
        ("objects an image", range_text(found.per_image)),
        ("long side", range_text(sides[:, 0], "px")),
        ("short side", range_text(sides[:, 1], "px")),
        ("angle of long side", range_text(np.degrees(found.angles_rad), "degrees")),
    ]
    if len(found.answer_tokens):
        cut = int((found.answer_tokens > max_tokens).sum())
        share = f"{cut} of {found.images} longer than {max_tokens}"
        rows.append(("answer tokens", f"{range_text(found.answer_tokens)}; {share}"))
    for name, value in rows:
        table.add_row(name, Text(printable(value, 4000)))
    table.caption = "least / median / 95th percentile / largest"
    return table


def findings_text(findings: Sequence[Finding]) -> Text:
    """Faults by kind, each with the first places, a place a line so that editors can jump there."""
    text = Text()
    for kind, same in by_kind(findings).items():
        style = "bold red" if same[0].severity == "error" else "bold yellow"
        text.append(f"{same[0].severity}: {kind} ({len(same)})\n", style)
        for finding in same[:_PLACES]:
            text.append(f"  {printable(finding.where)}: {printable(finding.text, 600)}\n")
        if len(same) > _PLACES:
            text.append(f"  and {len(same) - _PLACES} more\n")
    text.rstrip()
    return text
