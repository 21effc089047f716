"""Faults that only some formats can have: the package writes a clean data set, the test spoils it."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.doctor.checkup import Source, examine
from lmmrotate.data.doctor.fixing import write_fixed
from lmmrotate.data.formats import FORMATS
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError
from lmmrotate.geometry.rboxes import rboxes_to_quads

SIDE_PX = 128
IMAGES = 6


def clean(root: Path, name: str) -> Source:
    """Six images with four ships each."""
    rng = np.random.default_rng(0)
    records = []
    (root / "images").mkdir(parents=True)
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"P{i}.png")
        boxes = [
            (
                *(np.array(centre) + rng.uniform(-4, 4, 2)),
                *rng.uniform((16, 8), (24, 12)),
                rng.uniform(0.3, 1.2),
            )
            for centre in ((32, 32), (96, 32), (32, 96), (96, 96))
        ]
        quads = rboxes_to_quads(boxes)[:, ::-1]  # clockwise, as DOTA has them
        records.append(ImageRecord(f"P{i}.png", SIDE_PX, SIDE_PX, quads, ("ship",) * 4, (0,) * 4))
    manifest = Manifest("test", "train", ("ship",), tuple(records), root / "images")
    kind = FORMATS[name]
    place = root / ("annotations.json" if kind.layout == "file" else "labels")
    kind.write(manifest, root if kind.layout == "dataset" else place)
    return Source(root / "images", place, kind)


def text(
    pattern: str, replacement: str | Callable[[re.Match[str]], str], times: int = 0
) -> Callable[[Path], None]:
    """Change the annotations of P3, or the one file of all."""

    def spoil(place: Path) -> None:
        path = place if place.is_file() else next(place.glob("P3.*"))
        content, count = re.subn(pattern, replacement, path.read_text(), count=times)
        assert count, f"{pattern} is not in {path}"
        path.write_text(content)

    return spoil


def all_files(pattern: str, replacement: Callable[[re.Match[str]], str]) -> Callable[[Path], None]:
    def spoil(place: Path) -> None:
        for path in place.iterdir():
            path.write_text(re.sub(pattern, replacement, path.read_text()))

    return spoil


def row(kind: str, index: int, **values: Any) -> Callable[[Path], None]:
    """Change entries of a COCO file."""

    def spoil(place: Path) -> None:
        content = json.loads(place.read_text())
        content[kind][index].update(values)
        place.write_text(json.dumps(content))

    return spoil


def degrees(match: re.Match[str]) -> str:
    return f"{match[1]}{math.degrees(float(match[2])):.3f}"


def radians(match: re.Match[str]) -> str:
    return f"{match[1]}{math.radians(float(match[2])):.6f}"


FAULTS: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    "degrees in HRSC": ("hrsc", text(r"(<mbox_ang>)([-\d.]+)", degrees, 1), "angle in degrees", "P3.xml:3"),
    "degrees in roLabelImg": (
        "rolabelimg",
        text(r"(<angle>)([-\d.]+)", degrees, 1),
        "angle in degrees",
        "P3.xml:",
    ),
    "radians twice": (
        "rolabelimg",
        all_files(r"(<angle>)([-\d.]+)", radians),
        "angle converted twice",
        "P0.xml:",
    ),
    "degrees in COCO": (
        "coco",
        row("annotations", 5, segmentation=None, rbox=[50, 50, 20, 10, 45]),
        "angle in degrees",
        "annotations[5]",
    ),
    "size in XML": ("dior", text("<width>128<", "<width>800<"), "image of another size", "P3.xml:"),
    "size in HRSC": ("hrsc", text("Width>128<", "Width>800<"), "image of another size", "P3.xml:"),
    "size in COCO": ("coco", row("images", 3, width=800), "image of another size", "annotations[12]"),
    "size in a manifest": (
        "manifest",
        text(r'("P3.png", "width": )128', r"\g<1>800"),
        "image of another size",
        "P3.png",
    ),
    "no such image in COCO": (
        "coco",
        row("annotations", 7, image_id=99),
        "no such image",
        "annotations[7]",
    ),
    "no such category": ("coco", row("annotations", 7, category_id=9), "unknown category", "annotations[7]"),
    "angle without unit": (
        "coco",
        row("annotations", 7, segmentation=None, rbox=None, bbox=[50, 50, 20, 10, 45]),
        "bbox of five numbers",
        "annotations[7]",
    ),
    "pixels in YOLO": (
        "yolo_obb",
        text(r"^0 .*", "0 40 40 60 40 60 50 40 50", 1),
        "pixels instead of shares of the image",
        "P3.txt:1",
    ),
    "index in YOLO": ("yolo_obb", text(r"^0 ", "7 ", 1), "class index out of range", "P3.txt:1"),
    "detect labels in YOLO": ("yolo_obb", text(r"^0 .*", "0 0.5 0.5 0.1 0.1", 1), "upright box", "P3.txt:1"),
    "broken XML": ("fair1m", text("</annotation>", ""), "unreadable label file", "P3.xml:"),
    "a corner missing": (
        "fair1m",
        text(r"<point>[^<]*</point>", "", 2),
        "not four corners",
        "P3.xml:",
    ),
    "no number": ("dior", text(r"<x_left_top>[^<]*<", "<x_left_top>here<", 1), "not a number", "P3.xml:"),
    "a field missing": ("hrsc", text(r"<mbox_w>[^<]*</mbox_w>", "", 1), "no mbox_w", "P3.xml:3"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_and_its_place_are_named(name: str, tmp_path: Path) -> None:
    kind, spoil, fault, where = FAULTS[name]
    source = clean(tmp_path, kind)
    assert source.annotations is not None
    spoil(source.annotations)
    findings = examine([source]).findings
    assert {finding.kind for finding in findings} == {fault}, findings
    assert where in findings[0].where


@pytest.mark.parametrize(
    "kind", ["manifest", "dota", "dior", "fair1m", "hrsc", "rolabelimg", "coco", "yolo_obb"]
)
def test_silent_on_clean_data_of_every_format_and_on_its_copy(kind: str, tmp_path: Path) -> None:
    checkup = examine([clean(tmp_path / "data", kind)])
    assert checkup.findings == ()
    fixed = write_fixed(checkup.parts[0], tmp_path / "fixed")
    copy = examine([Source(fixed.image_folder, fixed.annotations, FORMATS[kind])])
    assert copy.findings == ()
    assert copy.parts[0].report.object_count == 4 * IMAGES


def test_a_set_in_degrees_is_not_fixed_by_leaving_its_objects_out(tmp_path: Path) -> None:
    source = clean(tmp_path / "data", "rolabelimg")
    assert source.annotations is not None
    all_files(r"(<angle>)([-\d.]+)", degrees)(source.annotations)
    part = examine([source]).parts[0]
    with pytest.raises(ConfigError, match=r"24 of 24 objects would be left out \(angle in degrees\)"):
        write_fixed(part, tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()
