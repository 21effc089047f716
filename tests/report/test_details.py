"""What reports show of the details, and of several results side by side."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions
from lmmrotate.errors import ConfigError
from lmmrotate.evaluation.compare import Entry, compare
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.report.comparison import comparison_table, write_comparison
from lmmrotate.report.detail_plots import calibration_svg, confusion_svg, thresholds_svg
from lmmrotate.report.html import write_report
from lmmrotate.report.summary import detail_rows


def test_details_are_rows_and_plots(manifest: Manifest, predictions: Predictions, tmp_path: Path) -> None:
    evaluation = evaluate(manifest, predictions, resamples=20)
    rows = dict(detail_rows(evaluation))
    assert re.fullmatch(r"mAP [\d.]+ to [\d.]+, mAP_nc .*, mF1 .*, best mF1 .*", rows["95 % interval"])
    assert re.fullmatch(r"[\d.]+ at score >= \d\.\d\d", rows["best mF1"])
    details = evaluation.details
    assert details is not None
    assert rows["missed objects"] == str(details.mistakes.missed)
    for svg in (
        thresholds_svg(evaluation, details),
        calibration_svg(details),
        confusion_svg(evaluation, details),
    ):
        ET.fromstring(svg)
    write_report(tmp_path / "r.html", evaluation, manifest, predictions)
    page = (tmp_path / "r.html").read_text()
    for text in ("Beyond the headline", "Score thresholds", "Calibration of scores", "Confusion"):
        assert text in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_without_details_there_is_nothing_to_show(manifest: Manifest, predictions: Predictions) -> None:
    assert detail_rows(replace(evaluate(manifest, predictions), details=None)) == []


@pytest.fixture
def entries(manifest: Manifest, predictions: Predictions) -> list[Entry]:
    nothing = replace(
        predictions,
        images=tuple(
            replace(p, quads=np.empty((0, 4, 2)), labels=(), scores=(), seconds=0.0)
            for p in predictions.images
        ),
    )
    results = [("first", predictions), ("[b]same<i>", predictions), ("nothing", nothing)]
    return compare(manifest, results, resamples=50)


def printed(entries: list[Entry]) -> str:
    console = Console(width=110, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(comparison_table(entries))
    return capture.get()


def test_differences_are_those_to_the_first(entries: list[Entry]) -> None:
    first, same, nothing = entries
    assert first.differences == {}
    assert (same.differences["mAP"].mean, same.differences["mAP"].p) == (0.0, 1.0)
    assert nothing.differences["mF1"].mean < 0
    assert nothing.differences["mF1"].high <= 0
    assert nothing.boxes == 0
    assert np.isnan(nothing.images_per_second)
    content = nothing.to_json()
    assert content["name"] == "nothing"
    assert set(content["less_the_first"]) == {"mAP", "mAP_nc", "mF1", "best_mF1"}


def test_unsure_boxes_do_not_count_against_a_detector(manifest: Manifest, predictions: Predictions) -> None:
    """It writes boxes of any score for mAP's sake; results are held against each other at their best mF1."""
    unsure = replace(
        predictions,
        images=tuple(
            replace(
                p,
                quads=np.concatenate([p.quads, p.quads + 400]),
                labels=p.labels * 2,
                scores=(*p.scores, *[0.0] * len(p.labels)),
            )
            for p in predictions.images
        ),
    )
    before, after = compare(manifest, [("before", predictions), ("after", unsure)], resamples=50)
    assert after.differences["mF1"].high < 0
    assert after.differences["best_mF1"].mean == 0
    assert re.search(r"best mF1 less 1st +- +\+0\.0000", printed([before, after]))


def test_many_boxes_a_second_are_written_out(manifest: Manifest, predictions: Predictions) -> None:
    """Not as 1.29e+03."""
    quick = replace(
        predictions, images=tuple(replace(p, seconds=len(p.scores) / 1290) for p in predictions.images)
    )
    [entry] = compare(manifest, [("quick", quick)], resamples=1)
    assert entry.boxes_per_second == pytest.approx(1290)
    assert re.search(r"boxes/s +1,290", printed([entry]))


def test_the_table_and_the_page(entries: list[Entry], manifest: Manifest, tmp_path: Path) -> None:
    text = printed(entries)
    for part in ("first", "[b]same<i>", "mAP 50:95", "best mF1 less 1st", "95 % interval"):
        assert part in text
    write_comparison(tmp_path / "c.html", entries, manifest)
    page = (tmp_path / "c.html").read_text()
    assert "[b]same&lt;i&gt;" in page
    assert "<i>" not in page
    assert "Where they differ most" in page
    write_comparison(tmp_path / "c.html", entries[:2], manifest)
    assert "No images to show." in (tmp_path / "c.html").read_text(), "they agree on every image"


def test_pictures_are_without_what_a_detector_hardly_believes(
    manifest: Manifest, predictions: Predictions, tmp_path: Path
) -> None:
    unsure = tuple(
        replace(
            p,
            quads=np.concatenate([p.quads, np.tile(p.quads[:1] + 90, (30, 1, 1))]),
            labels=(*p.labels, *([manifest.classes[0]] * 30)),
            scores=(*([0.9] * len(p.labels)), *([0.1] * 30)),
        )
        for p in predictions.images
    )
    results = [("sure", predictions), ("unsure", replace(predictions, images=unsure))]
    write_comparison(tmp_path / "c.html", compare(manifest, results, resamples=20), manifest)
    page = (tmp_path / "c.html").read_text()
    assert "No images to show." in page, "above its best threshold it says the same"


def test_names_tell_results_apart(manifest: Manifest, predictions: Predictions) -> None:
    with pytest.raises(ConfigError, match="names of their own, got a, a"):
        compare(manifest, [("a", predictions), ("a", predictions)])
    with pytest.raises(ConfigError, match="got none"):
        compare(manifest, [])
