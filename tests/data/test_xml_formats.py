import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lmmrotate.data.formats import FORMATS
from lmmrotate.data.formats.objects import Found
from lmmrotate.data.formats.xml_tree import read_xml
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import DataError
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.rboxes import quads_to_rboxes, rboxes_to_quads

XML = ("dior", "fair1m", "hrsc", "rolabelimg")
CORNERS = ("dior", "fair1m")

DIOR = """<?xml version="1.0"?>
<annotation>
<object><type>robndbox</type><name>Expressway-Service-area</name><difficult>1</difficult>
<robndbox><x_left_top>10</x_left_top><y_left_top>11</y_left_top><x_right_top>30</x_right_top>
<y_right_top>12</y_right_top><x_right_bottom>29</x_right_bottom><y_right_bottom>25</y_right_bottom>
<x_left_bottom>9</x_left_bottom><y_left_bottom>24</y_left_bottom></robndbox></object>
</annotation>
"""
FAIR1M = """<annotation><objects>
<object><possibleresult><name>Dry Cargo Ship</name></possibleresult><points><point>10.5,11</point>
<point>30,12</point><point>29,25</point><point>9,24</point><point>10.5,11</point></points></object>
</objects></annotation>
"""
HRSC = """<HRSC_Image><HRSC_Objects>
<HRSC_Object><Class_ID>100000013</Class_ID><difficult>1</difficult><mbox_cx>30</mbox_cx><mbox_cy>20</mbox_cy>
<mbox_w>20</mbox_w><mbox_h>8</mbox_h><mbox_ang>0.5</mbox_ang></HRSC_Object>
</HRSC_Objects></HRSC_Image>
"""
ROLABELIMG = """<annotation>
<object><type>robndbox</type><name>ship</name><robndbox><cx>30</cx><cy>20</cy><w>20</w><h>8</h>
<angle>0.5</angle></robndbox></object>
<object><type>bndbox</type><name>plane</name><difficult>1</difficult>
<bndbox><xmin>10</xmin><ymin>11</ymin><xmax>30</xmax><ymax>21</ymax></bndbox></object>
</annotation>
"""
SAMPLES = {"dior": DIOR, "fair1m": FAIR1M, "hrsc": HRSC, "rolabelimg": ROLABELIMG}


def read(folder: Path, name: str, text: str | bytes, **options: object) -> tuple[ImageRecord, object]:
    Image.new("RGB", (60, 40)).save(folder / "P1.png")
    (folder / "P1.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    manifest, report = FORMATS[name].read(folder, folder, **options)  # type: ignore[arg-type]
    return manifest.records[0], report


def test_dior(tmp_path: Path) -> None:
    record, report = read(tmp_path, "dior", DIOR)
    assert record.quads.tolist() == [[[10, 11], [30, 12], [29, 25], [9, 24]]]
    assert (record.labels, record.difficult) == (("Expressway-Service-area",), (1,))
    assert report.places == ((f"{tmp_path}/P1.xml:3",),)  # type: ignore[attr-defined]


def test_fair1m(tmp_path: Path) -> None:
    record, _ = read(tmp_path, "fair1m", FAIR1M)
    assert record.quads.tolist() == [[[10.5, 11], [30, 12], [29, 25], [9, 24]]]
    assert (record.labels, record.difficult) == (("Dry Cargo Ship",), (0,))
    three = FAIR1M.replace("<point>9,24</point><point>10.5,11</point>", "")
    with pytest.raises(DataError, match=r"P1\.xml:2: expected four corners, .* found 3"):
        read(tmp_path, "fair1m", three)
    with pytest.raises(DataError, match=r"P1\.xml:2: <point> must be x,y in pixels, found '30;12'"):
        read(tmp_path, "fair1m", FAIR1M.replace("30,12", "30;12"))


@pytest.mark.parametrize("name", ["hrsc", "rolabelimg"])
def test_angles_turn_clockwise_on_screen(name: str, tmp_path: Path) -> None:
    record, _ = read(tmp_path, name, SAMPLES[name])
    assert record.labels[0] == "ship"
    cx, cy, w, h, angle = quads_to_rboxes(record.quads[:1])[0]
    assert (cx, cy, w, h, angle) == pytest.approx((30, 20, 20, 8, 0.5))
    right = record.quads[0][record.quads[0][:, 0].argmax()]
    assert right[1] > 20, "positive from x towards y: the right end is lower"


def test_upright_boxes_among_rotated_ones(tmp_path: Path) -> None:
    record, _ = read(tmp_path, "rolabelimg", ROLABELIMG)
    assert record.labels == ("ship", "plane")
    assert record.quads[1].tolist() == [[10, 11], [30, 11], [30, 21], [10, 21]]
    assert record.difficult == (0, 1)
    with pytest.raises(DataError, match=r"P1\.xml:4: xmax and ymax must be above xmin and ymin"):
        read(tmp_path, "rolabelimg", ROLABELIMG.replace("<xmax>30", "<xmax>5"))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "hrsc",
            "<mbox_ang>0.5",
            "<mbox_ang>45",
            "must be in radians, at most a full turn, found 45: degrees",
        ),
        ("rolabelimg", "<angle>0.5", "<angle>-30", "must be in radians"),
        ("hrsc", "<mbox_w>20</mbox_w>", "", "<HRSC_Object> has no <mbox_w>"),
        ("hrsc", "<mbox_w>20", "<mbox_w>-20", "width and height must be above 0, found -20 x 8"),
        ("hrsc", "<mbox_cx>30", "<mbox_cx>nan", "<mbox_cx> must be a finite number, found 'nan'"),
        ("dior", "<x_right_top>30", "<x_right_top>3O", "<robndbox/x_right_top> must be a finite number"),
        ("dior", "<difficult>1", "<difficult>x", "<difficult> must be a whole number, found 'x'"),
        ("dior", "<name>Expressway-Service-area</name>", "", "the object has no class name"),
    ],
)
def test_objects_that_cannot_be_read(name: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    text = SAMPLES[name].replace(old, new)
    assert text != SAMPLES[name]
    with pytest.raises(DataError, match=rf"P1\.xml:\d: .*{message}"):
        read(tmp_path, name, text)
    record, report = read(tmp_path, name, text, on_bad="skip")
    assert len(report.skipped) == 1  # type: ignore[attr-defined]
    assert len(record.labels) == len(SAMPLES[name].split("<difficult>")) - 2 + (name == "rolabelimg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DIOR[:200], r"P1\.xml:\d: not XML that can be read"),
        ("", "not XML that can be read"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "not XML that can be read"),
        ('<!DOCTYPE a [<!ENTITY x "ha">]>\n<a>&x;</a>', r"P1\.xml:1: document types .* are not read"),
        ('<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><a/>', "document types"),
        ("<a>" * 100_000, "elements lie more than 50 deep"),
    ],
)
def test_files_that_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, "dior", text)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    declared = encoding.removesuffix("-sig")
    text = DIOR.replace('version="1.0"', f'version="1.0" encoding="{declared}"').replace("Expressway", "Früh")
    record, _ = read(tmp_path, "dior", text.encode(encoding))
    assert record.labels == ("Früh-Service-area",)


def test_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a>\n\n<b>x<c/>\n</b><b/>\n</a>")
    root = read_xml(tmp_path / "a.xml")
    assert [(e.tag, e.line) for e in root.all("b")] == [("b", 3), ("b", 4)]
    assert root.text_of("b") == "x"


NAMES = st.sampled_from(["ship", "Dry Cargo Ship", "a & b", "x<y>"])
BOXES = st.tuples(
    st.floats(15, 45), st.floats(12, 28), st.floats(4, 20), st.floats(4, 20), st.floats(-1.57, 1.57), NAMES,
    st.integers(0, 2),
)  # fmt: skip


@pytest.mark.parametrize("name", XML)
@settings(max_examples=20)
@given(boxes=st.lists(BOXES, max_size=4))
def test_round_trips(
    name: str,
    boxes: list[tuple[float, float, float, float, float, str, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("xml")
    Image.new("RGB", (60, 40)).save(folder / "a b.png")
    quads = rboxes_to_quads(np.array([box[:5] for box in boxes]).reshape(-1, 5))
    labels = tuple("ship" if name == "hrsc" else box[5] for box in boxes)
    record = ImageRecord("a b.png", 60, 40, quads, labels, tuple(box[6] for box in boxes))
    classes = ("ship", "Dry Cargo Ship", "a & b", "x<y>")
    report = FORMATS[name].write(Manifest("toy", "all", classes, (record,), folder), folder / "out")
    found = FORMATS[name].read(folder, folder / "out", classes=classes)[0].records[0]
    assert found.labels == labels
    if name in CORNERS:
        np.testing.assert_allclose(found.quads, quads, atol=6e-4)
    elif len(quads):
        assert np.diag(iou_matrix(found.quads, quads)).min() > 0.998
    assert found.difficult == ((0,) * len(boxes) if name == "fair1m" else record.difficult)
    hard = sum(flag != 0 for flag in record.difficult)
    assert report.lost == ({"difficulty": hard} if name == "fair1m" and hard else {})


def test_what_is_lost_is_counted(tmp_path: Path) -> None:
    dented = np.array([[[0.0, 0], [20, 3], [20, 10], [0, 10]], [[0, 0], [20, 0], [20, 10], [0, 10]]])
    manifest = Manifest(
        "toy", "all", ("ship",), (ImageRecord("a.png", 60, 40, dented, ("ship",) * 2, (0, 0)),)
    )
    for name in ("hrsc", "rolabelimg"):
        assert FORMATS[name].write(manifest, tmp_path / name).lost == {
            "shape of quads that are no rectangles": 1
        }
    assert FORMATS["dior"].write(manifest, tmp_path / "dior").lost == {}


def test_refused_by_writers(tmp_path: Path) -> None:
    quad = np.array([[[0.0, 0], [20, 3], [20, 10], [0, 10]]])
    barge = ImageRecord("a.png", 60, 40, quad, ("barge",), (0,))
    with pytest.raises(DataError, match=r"a\.png: HRSC2016 files hold ships only, found 'barge'"):
        FORMATS["hrsc"].write(Manifest("toy", "all", ("barge",), (barge,)), tmp_path)
    twins = (ImageRecord("x/a.png", 60, 40), ImageRecord("y/a.tif", 60, 40))
    for name in ("dota", "yolo_obb", *XML):
        with pytest.raises(DataError, match=r"x/a\.png and y/a\.tif would share the label file a\."):
            FORMATS[name].write(Manifest("toy", "all", ("ship",), twins), tmp_path)


@pytest.mark.real
def test_real_dior(real: Callable[[str], Path]) -> None:
    manifest, report = FORMATS["dior"].read(real("dior"), real("dior"))
    assert manifest.records[0].wh == (800, 800)
    assert report.objects == {"golffield": 1}
    assert manifest.records[0].quads[0].tolist() == [[133, 237], [684, 237], [684, 672], [133, 672]]


@pytest.mark.real
def test_real_hrsc(real: Callable[[str], Path]) -> None:
    """The file has the upright box around the ship and its bow beside the rotated box: they must agree."""
    from lmmrotate.data.formats import hrsc

    (ship,) = read_xml(real("hrsc/100000006.xml")).all("HRSC_Object")
    name, corners, difficult = hrsc.read_object(ship)
    found = Found("", name, corners, difficult)
    quad = np.array(found.quad).reshape(4, 2)
    assert (found.name, found.difficult) == ("ship", 0)
    low, high = quad.min(axis=0), quad.max(axis=0)
    np.testing.assert_allclose([*low, *high], [119, 75, 587, 789], atol=45)
    bow, middle = np.array([143, 776]), quad.mean(axis=0)
    axis = np.array([math.cos(-1.122944), math.sin(-1.122944)])
    along = (bow - middle) @ axis
    assert abs(along) > 0.9 * 778 / 2, "the bow lies at an end of the long side"
    assert abs((bow - middle) @ np.array([-axis[1], axis[0]])) < 178 / 2
