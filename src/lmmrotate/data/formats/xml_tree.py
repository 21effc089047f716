"""XML files of annotations: elements with their lines, and numbers that say what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape

from lmmrotate.data.formats.objects import FieldError
from lmmrotate.errors import DataError

_DEEPEST = 50  # elements in each other; annotation files have about five


@dataclass
class Element:
    """One element; ElementTree's know no line."""

    tag: str
    line: int
    """From 1."""
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def first(self, *path: str) -> Element | None:
        """The element reached by going to the first child of each name in turn."""
        found: Element | None = self
        for tag in path:
            found = next((child for child in found.children if child.tag == tag), None) if found else None
        return found

    def all(self, tag: str) -> Iterator[Element]:
        """Every element of this name, at any depth."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.all(tag)

    def text_of(self, *path: str) -> str:
        """Text of the element at ``path``; empty if there is none."""
        found = self.first(*path)
        return found.text.strip() if found else ""


def number_of(element: Element, *path: str) -> float:
    """The finite number at ``path``.

    Raises:
        FieldError: if it is missing or no number.
    """
    found = element.first(*path)
    name = "/".join(path)
    if found is None:
        raise FieldError(f"no {path[-1]}", f"<{element.tag}> has no <{name}>")
    try:
        value = float(found.text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FieldError("not a number", f"<{name}> must be a finite number, found {found.text.strip()!r}")
    return value


def flag_of(element: Element, tag: str) -> int:
    """The whole number in a child, 0 if it is missing or empty."""
    text = element.text_of(tag)
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise FieldError("unreadable difficulty", f"<{tag}> must be a whole number, found {text!r}") from None


def read_xml(path: Path) -> Element:
    """The root of a file, in any encoding that it declares.

    Raises:
        DataError: naming file and line, if it is missing, not XML, or declares a document type (an entity in
            there can stand for gigabytes, or for another file).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_xml(content, path)


def parse_xml(content: bytes, path: Path) -> Element:
    """The root of a file's content; ``path`` names it in errors, which are those of ``read_xml``."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    top = Element("", 0)
    stack = [top]

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > _DEEPEST:
            raise DataError(f"{path}:{parser.CurrentLineNumber}: elements lie more than {_DEEPEST} deep")
        element = Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def text(data: str) -> None:
        stack[-1].text += data

    def refuse(*_: object) -> NoReturn:
        raise DataError(f"{path}:{parser.CurrentLineNumber}: document types (<!DOCTYPE …>) are not read")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DataError(f"{path}:{parser.CurrentLineNumber}: not XML that can be read: {error}") from error
    return top.children[0]


def tag(name: str, content: str | float) -> str:
    """``<name>content</name>`` with its text escaped."""
    return f"<{name}>{escape(str(content))}</{name}>"
