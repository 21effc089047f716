import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.tables import evaluation_table

from .conftest import class_result, evaluation_of


def shown(evaluation: Evaluation, width: int) -> str:
    console = Console(width=width, file=None, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(evaluation_table(evaluation))
    return capture.get()


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_and_width(evaluation: Evaluation, width: int) -> None:
    text = shown(evaluation, width)
    for number in ("0.6123", "0.6234", "0.5345", "0.7456", "0.910", "0.314", "0.667", "0.727"):
        assert number in text
    for word in ("corrected", "IoU 0.5", "4 images", "plane", "ship", "incomplete_box", "token limit"):
        assert word in text
    assert all(len(line) <= width for line in text.splitlines())
    assert "\x1b" not in text


def test_dota_names_stay_on_one_line_at_80_columns() -> None:
    results = tuple(class_result(label) for label in ("ground-track-field", "soccer-ball-field"))
    lines = shown(evaluation_of(results), 80).splitlines()
    assert any(line.startswith("ground-track-field ") and "0.667" in line for line in lines)


def test_class_names_are_text() -> None:
    text = shown(evaluation_of((class_result("[red]x[/red]\x1b[31m"),)), 120)
    assert "[red]x[/red]" in text
    assert "\x1b" not in text


def test_nothing_to_show() -> None:
    nan = np.nan
    empty = evaluation_of(
        (),
        map_11=nan,
        map_area=nan,
        map_nc=nan,
        mf1=nan,
        problems={},
        truncated=0,
        missing_images=0,
        images=0,
    )
    text = shown(empty, 80)
    assert "mAP -" in text
    assert "trouble" not in text


def test_tables_do_not_load_matplotlib() -> None:
    code = (
        "import sys, lmmrotate.report.tables; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
