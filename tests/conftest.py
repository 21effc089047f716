"""Where the recorded reference values and the real images are, and how many golden tests really ran.

Tests ask for a file with the fixtures ``golden`` and ``real`` (a function from a name to a path); on a
machine without those folders the test is skipped with the reason, and the last line of the run says so.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FindFile = Callable[[str], Path]


def _folder(variable: str, name: str) -> Path:
    """The folder that the environment variable names, else ``shared/<name>`` beside the repository."""
    return Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / name)


def _finder(variable: str, name: str) -> FindFile:
    folder = _folder(variable, name)

    def find(relative: str) -> Path:
        path = folder / relative
        if not path.exists():
            pytest.skip(f"no {path} (set ${variable} to the folder that holds {relative})")
        return path

    return find


@pytest.fixture(scope="session")
def golden() -> FindFile:
    """``golden("d_geometry.npz")``: path of a recording of the published code, or skip the test."""
    return _finder("LMMROTATE_GOLDEN", "golden")


@pytest.fixture(scope="session")
def real() -> FindFile:
    """``real("dota")``: path of a real image, annotation file or folder, or skip the test."""
    return _finder("LMMROTATE_REAL", "real")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line on the golden tests, so that a run which skipped them all cannot pass for parity."""
    counts = {
        outcome: sum(
            "golden" in report.keywords
            for report in terminalreporter.stats.get(outcome, [])
            if isinstance(report, pytest.TestReport)
        )
        for outcome in ("passed", "failed", "error", "skipped")
    }
    if any(counts.values()):
        listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        folder = _folder("LMMROTATE_GOLDEN", "golden")
        terminalreporter.write_line(f"golden tests (recorded values in {folder}): {listed}")
