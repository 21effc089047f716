import base64
import datetime
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, PredictionsHeader
from lmmrotate.data.records import ImageRecord, Prediction
from lmmrotate.evaluation.results import Evaluation
from lmmrotate.report.gallery import Scored, choose_images, data_uri
from lmmrotate.report.html import write_report
from lmmrotate.report.matches import match_image

from .conftest import HOSTILE, class_result, evaluation_of, quads, square

DATE = datetime.date(2025, 1, 31)
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects tags and text, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def report(path: Path, *args: object, **options: object) -> tuple[str, Page]:
    write_report(path, *args, date=DATE, **options)  # type: ignore[arg-type]
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_what_it_shows(
    tmp_path: Path, evaluation: Evaluation, manifest: Manifest, predictions: Predictions
) -> None:
    text, page = report(tmp_path / "out" / "report.html", evaluation, manifest, predictions)
    for word in ("0.6123", "0.6234", "0.5345", "0.7456", "0.910", "0.314", "corrected", "model-1234", "tiny"):
        assert word in page.text
    for word in ("loc_tokens", "2025-01-31", "num_beams=1", "incomplete_box", "token limit", "dock"):
        assert word in page.text
    assert len(page.all("img")) == 3
    for attrs in page.all("img"):
        assert attrs["alt"]
        data = base64.b64decode(str(attrs["src"]).removeprefix("data:image/jpeg;base64,"))
        assert str(Image.open(io.BytesIO(data)).width) == attrs["width"]
    assert "b.png: 1 object, 2 boxes: 0 correct, 1 false, 1 missed, 1 on difficult objects" in text
    assert all(attrs.get("scope") in {"row", "col"} for attrs in page.all("th"))
    assert "c.png" in page.text.split("could not be read")[1]
    assert "d.png" in page.text.split("Images without a prediction")[1]


def test_self_contained_and_nothing_runs(
    tmp_path: Path, evaluation: Evaluation, manifest: Manifest, predictions: Predictions
) -> None:
    text, page = report(tmp_path / "report.html", evaluation, manifest, predictions)
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert str(attrs.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not re.search(r"url\((?!#)|@import", text)
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))


def test_text_from_files_is_escaped(tmp_path: Path, manifest: Manifest, predictions: Predictions) -> None:
    bad = HOSTILE + '"><img src=x onerror=alert(1)>\x00\ud800'
    name = '<i>&".png'
    Image.new("RGB", (40, 40)).save(tmp_path / name)
    record = ImageRecord(name, 40, 40, quads(square(5, 5)), (bad,), (0,))
    prediction = replace(
        predictions.images[1],
        image=name,
        width=40,
        height=40,
        quads=quads(square(5, 5), square(9, 9)),
        labels=(bad, bad),
    )
    text, page = report(
        tmp_path / "report.html",
        evaluation_of((class_result(bad),), protocol=bad, problems={bad: 1}),
        Manifest(bad, bad, (bad,), (record, replace(record, image=bad)), tmp_path),
        Predictions(PredictionsHeader((bad,), bad, bad, {bad: bad}), (prediction,)),
        title=bad,
    )
    assert "script" not in {tag for tag, _ in page.tags}
    assert [attrs["src"] for attrs in page.all("img") if "data:" not in str(attrs["src"])] == []
    assert "onerror=alert" in page.text  # shown, as text
    assert "<script" not in text
    assert "\x00" not in text


def test_same_input_same_bytes(
    tmp_path: Path, evaluation: Evaluation, manifest: Manifest, predictions: Predictions
) -> None:
    first, _ = report(tmp_path / "1.html", evaluation, manifest, predictions)
    second, _ = report(tmp_path / "2.html", evaluation, manifest, predictions)
    assert first == second


def test_empty_data_set(tmp_path: Path) -> None:
    nan = np.nan
    empty = evaluation_of(
        (),
        images=0,
        missing_images=0,
        truncated=0,
        problems={},
        map_11=nan,
        map_area=nan,
        map_nc=nan,
        mf1=nan,
    )
    _, page = report(
        tmp_path / "report.html",
        empty,
        Manifest("empty", "val", ("ship",), ()),
        Predictions(PredictionsHeader(("ship",)), ()),
    )
    assert "No images to show" in page.text
    assert "None: every answer was read whole" in page.text


def test_a_hundred_classes(tmp_path: Path, manifest: Manifest, predictions: Predictions) -> None:
    many = evaluation_of(tuple(class_result(f"class-{i:03}") for i in range(100)))
    _, page = report(tmp_path / "report.html", many, manifest, predictions, max_images=0)
    assert "class-099" in page.text
    assert page.all("img") == []


def scored(name: str, right: int, missed: int) -> Scored:
    boxes = quads(*(square(30 * i, 0) for i in range(right + missed)))
    labels = ("ship",) * len(boxes)
    record = ImageRecord(name, 999, 99, boxes, labels, (0,) * len(boxes))
    prediction = Prediction(name, 999, 99, "", boxes[:right], labels[:right], (0.9,) * right)
    return Scored(record, prediction, match_image(record, prediction))


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 24])
def test_choice_of_images(number: int) -> None:
    items = [scored(f"{r}-{m}", r, m) for r in range(4) for m in range(4)]  # one of them is empty
    groups = choose_images(items, number)
    names = [s.record.image for group in groups.values() for s in group]
    assert len(names) == len(set(names)) == min(number, len(items))
    if number >= 2:
        assert groups["worst"][0].record.image == "0-3"
        assert groups["best"][0].record.image == "3-0"
    if number == 24:
        assert groups["typical"][-1].record.image == "0-0"


def test_pictures_keep_to_their_budget() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    large, small = (data_uri(Image.fromarray(noise), most) for most in (10**7, 1))
    assert len(small) < len(large)
