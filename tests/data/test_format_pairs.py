"""From any format to any other and back: what both can hold survives."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from lmmrotate.cli.formats import all_formats
from lmmrotate.data.catalog import SPECS
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.rboxes import rboxes_to_quads

FORMATS = all_formats()
WIDTH, HEIGHT = 1000, 800
BINS = ("lmmrotate_sft", "llava")
NO_DIFFICULTY = ("fair1m", "yolo_obb", *BINS)
BOXES = st.lists(
    st.tuples(
        st.floats(200, 800), st.floats(200, 600), st.floats(60, 200), st.floats(20, 50),
        st.floats(-1.5, 1.5), st.integers(0, 1),
    ),
    max_size=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images that every format can be about, georeferenced and far from each other."""
    folder = tmp_path_factory.mktemp("images")
    for i, name in enumerate(("a.tif", "b.tif")):
        profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 1, "dtype": "uint8",
                   "crs": "EPSG:32617", "transform": from_origin(500_000 + 5000 * i, 4_000_000, 0.5, 0.5),
                   "compress": "deflate"}  # fmt: skip
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(np.zeros((1, HEIGHT, WIDTH), np.uint8))
    return folder


def passed_through(name: str, manifest: Manifest, folder: Path) -> Manifest:
    layout = FORMATS[name].layout
    place = folder / (f"{name}.json" if layout == "file" else name)
    FORMATS[name].write(manifest, place)
    labels = place / "labels" if layout == "dataset" else place
    read, report = FORMATS[name].read(manifest.image_folder, labels, classes=manifest.classes)
    assert not report.skipped
    assert not report.orphans
    return read


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes=BOXES, others=BOXES)
def test_what_both_can_hold_survives(
    first: str,
    second: str,
    boxes: list[tuple[float, ...]],
    others: list[tuple[float, ...]],
    images: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    records = []
    for name, found in (("a.tif", boxes), ("b.tif", others)):
        quads = rboxes_to_quads(np.array([box[:5] for box in found]).reshape(-1, 5))
        flags = tuple(int(box[5]) for box in found)
        records.append(ImageRecord(name, WIDTH, HEIGHT, quads, ("ship",) * len(found), flags))
    manifest = Manifest("toy", "all", ("ship",), tuple(records), images)
    folder = tmp_path_factory.mktemp("pair")
    once = passed_through(first, manifest, folder)
    (folder / "second").mkdir()
    twice = passed_through(second, once, folder / "second")
    keeps_flags = not {first, second} & {*NO_DIFFICULTY}
    least = 0.85 if {first, second} & {*BINS} else 0.995
    for before, after in zip(records, twice.records, strict=True):
        assert after.image == before.image
        assert after.labels == before.labels
        if not len(before.quads):
            continue
        overlap = iou_matrix(after.quads, before.quads)
        assert overlap.max(axis=0).min() > least, "every object is there, wherever it stands in the file"
        if keeps_flags and overlap.max(axis=0).sum() > overlap.sum() - 0.1:  # no two on each other
            order = overlap.argmax(axis=1)
            assert after.difficult == tuple(before.difficult[i] for i in order)


def test_the_catalog_names_formats_that_exist() -> None:
    assert {spec.annotation_format for spec in SPECS.values()} <= set(FORMATS)
