"""What the HTML reports share: one file, no script, no request to anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from importlib import resources

import lmmrotate
from lmmrotate.report.text import printable

# The browser itself then refuses scripts and requests, should a text ever slip through unescaped.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page_start(title: str) -> str:
    """Everything up to and with ``<body>``."""
    style = resources.files("lmmrotate.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="lmmrotate {lmmrotate.__version__}">\n'
        f"<title>{page_text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )


def page_end() -> str:
    """Everything from ``</main>`` on."""
    return f"</main>\n<footer>Made by lmmrotate {lmmrotate.__version__}</footer>\n</body>\n</html>\n"


def page_text(value: str, limit: int = 200) -> str:
    """Text from a file for HTML: printable, shortened and escaped, quotes included."""
    return html.escape(printable(value, limit))


def facts_list(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names and values (HTML) for the head of a page; empty values are left out."""
    yield '<dl class="facts">\n'
    for name, value in facts:
        if value:
            yield f"<div><dt>{name}</dt><dd>{value}</dd></div>\n"
    yield "</dl>\n"


def card_list(cards: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Name, large value and explanation of each card."""
    yield '<ul class="cards" aria-label="Results">\n'
    for name, value, what in cards:
        yield (
            f'<li><span class="name">{name}</span><span class="value">{value}</span>'
            f'<span class="what">{what}</span></li>\n'
        )
    yield "</ul>\n"
