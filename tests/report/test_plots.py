import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.plots import ap_bars_svg, precision_recall_svg

from .conftest import HOSTILE, class_result, evaluation_of

SVG = "{http://www.w3.org/2000/svg}"
BOTH = pytest.mark.parametrize("plot", [ap_bars_svg, precision_recall_svg])


def words(svg: str) -> str:
    return " ".join(element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text"))


@BOTH
def test_well_formed_with_the_numbers_and_the_same_every_time(plot, evaluation: Evaluation) -> None:
    svg = plot(evaluation)
    assert {"plane", "ship"} <= set(words(svg).replace(",", "").split())
    assert "0.910" in words(svg)
    assert "harbor" not in words(svg)  # it has no object, so no AP
    assert plot(evaluation) == svg
    assert mpl.rcParams["svg.hashsalt"] is None  # global settings are left as they were


@BOTH
@pytest.mark.parametrize("label", [HOSTILE, "$\\frac$", "\x00\x1b[1m&\ud800", "飛行機"])
def test_hostile_names(plot, label: str) -> None:
    ET.fromstring(plot(evaluation_of((class_result(label), class_result("$\\notmath")))))


@BOTH
def test_no_classes(plot) -> None:
    assert "no class has objects" in words(plot(evaluation_of((), map_11=np.nan)))


@BOTH
def test_a_class_without_detections(plot) -> None:
    nothing = replace(
        class_result("ship", ap=0.0), curve_recall=np.empty(0), curve_precision=np.empty(0), ap_nc=0.0
    )
    assert "ship" in words(plot(evaluation_of((nothing,))))


def test_a_hundred_classes_stay_readable() -> None:
    many = evaluation_of(tuple(class_result(f"class-{i}", objects=i + 1, ap=i / 100) for i in range(100)))
    text = words(precision_recall_svg(many))
    assert text.count("class-") == 20
    assert "class-99" in text  # the most frequent ones
    assert "80 other classes" in text
    assert words(ap_bars_svg(many)).count("class-") == 100


def test_long_curves_are_thinned() -> None:
    many = replace(
        class_result("ship"),
        curve_recall=np.linspace(0, 1, 50_000),
        curve_precision=np.linspace(1, 0.5, 50_000),
    )
    assert len(precision_recall_svg(evaluation_of((many,)))) < 60_000


def test_ids_differ_between_the_plots(evaluation: Evaluation) -> None:
    first, second = (
        {e.get("id") for e in ET.fromstring(plot(evaluation)).iter()} - {None}
        for plot in (ap_bars_svg, precision_recall_svg)
    )
    assert not first & second
