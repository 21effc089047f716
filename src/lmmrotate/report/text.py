"""Text from files, made safe to show."""

from __future__ import annotations


def printable(text: str, limit: int = 200) -> str:
    """``text`` on one line, at most ``limit`` characters, with an ellipsis where it was cut.

    Class names, paths and answers come from files and models. Control characters in them could steer a
    terminal (ESC), are not allowed in XML (NUL), or reverse the reading order (bidirectional marks):
    each becomes U+FFFD. White space becomes a single space.
    """
    # Nobody reads a megabyte: cut first, with room for what joining the white space takes away.
    words = " ".join(text[: 4 * limit].split())
    shown = "".join(c if c.isprintable() else "\ufffd" for c in words)
    cut = len(shown) > limit or len(text) > 4 * limit
    return shown[: limit - 1] + "…" if cut else shown


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 box``, ``2 boxes``, ``12,000 images``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def fraction(value: float, digits: int = 3) -> str:
    """A fraction for a table; a dash for NaN, which means "not defined"."""
    return "-" if value != value else f"{value:.{digits}f}"
