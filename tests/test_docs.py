"""Commands in README and docs are accepted by the command line, and links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from lmmrotate.cli.main import build_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    pytest.param(line, id=f"{page.name}: {line[:60]}")
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("lmmrotate ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_accepted(command: str) -> None:
    build_parser().parse_args(shlex.split(command, comments=True)[1:])


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 12


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_named_in_the_docs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {
        name for page in PAGES for name in re.findall(r"\bmake ([a-z]+)\b", page.read_text(encoding="utf-8"))
    }
    commands = {"quickstart", "test", "check", "bench", "docs", "real"}
    assert commands <= named
    for name in commands:
        assert re.search(rf"^{name}:", makefile, re.MULTILINE)
