import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lmmrotate.data.formats.coco import read_file, write_file
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import ConfigError, DataError
from lmmrotate.geometry.overlap import iou_matrix
from lmmrotate.geometry.quads import as_quads
from lmmrotate.geometry.rboxes import quads_to_rboxes, rboxes_to_quads

CORNERS = [0, 0, 10, 0, 10, 5, 0, 5]
SHIP: dict[str, Any] = {"image_id": 1, "category_id": 7, "segmentation": [CORNERS]}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for name, size in {"P1.png": (20, 10), "P2.png": (9, 9), "below/P3.png": (30, 30)}.items():
        Image.new("L", size).save(folder / name)
    return folder


def coco(folder: Path, rows: Any, **changed: Any) -> Path:
    content = {
        "images": [
            {"id": 1, "file_name": "P1.png", "width": 20, "height": 10},
            {"id": "two", "file_name": "below/P3.png"},
        ],
        "annotations": rows,
        "categories": [{"id": 7, "name": "ship"}, {"id": 3, "name": "plane"}],
    }
    path = folder.parent / "coco.json"
    path.write_text(json.dumps(content | changed))
    return path


def test_images_and_classes_in_the_order_of_the_file(images: Path) -> None:
    rows = [{**SHIP, "image_id": "two"}, {**SHIP, "difficult": 2}, {**SHIP, "ignore": True}]
    manifest, report = read_file(images, coco(images, rows), dataset="d", split="s")
    assert [(r.image, r.wh, r.difficult) for r in manifest.records] == [
        ("P1.png", (20, 10), (2, 1)),
        ("below/P3.png", (30, 30), (0,)),
    ]
    assert (manifest.dataset, manifest.split, manifest.classes) == ("d", "s", ("ship", "plane"))
    assert (report.objects, report.difficult) == ({"ship": 3, "plane": 0}, 2)
    assert read_file(images, coco(images, rows), left_out=["plane"])[0].classes == ("ship",)
    skipping, report = read_file(images, coco(images, rows), classes=["plane"], on_bad="skip")
    assert (skipping.classes, report.skipped_reasons()) == (("plane",), {"unknown class 'ship'": 3})


@pytest.mark.parametrize(
    ("shape", "quad"),
    [
        ({"segmentation": [CORNERS], "bbox": [1, 1, 1, 1]}, CORNERS),
        ({"segmentation": [[*CORNERS, 0, 0]]}, CORNERS),  # closed
        ({"segmentation": [], "rbox": [5, 2.5, 10, 5, 0]}, [10, 5, 10, 0, 0, 0, 0, 5]),
        ({"segmentation": [[]], "bbox": [1, 2, 3, 4]}, [1, 2, 4, 2, 4, 6, 1, 6]),
        ({"rbox": [5, 2.5, 10, 5, 0], "bbox": [1, 2, 3, 4]}, [10, 5, 10, 0, 0, 0, 0, 5]),
        ({"segmentation": None, "bbox": [1, 2, 3, 4]}, [1, 2, 4, 2, 4, 6, 1, 6]),
    ],
)
def test_which_shape_is_taken(shape: dict[str, Any], quad: list[float], images: Path) -> None:
    path = coco(images, [{"image_id": 1, "category_id": 7, **shape}])
    assert read_file(images, path)[0].records[0].quads.reshape(8).tolist() == quad


@pytest.mark.parametrize(
    "polygons",
    [
        [[0, 0, 5, 0, 10, 0, 10, 5, 0, 5]],
        [[0, 0, 10, 0, 10, 1, 0, 1], [0, 4, 10, 4, 10, 5, 0, 5]],  # one object in two parts
    ],
)
def test_other_polygons_become_rectangles(polygons: list[list[float]], images: Path) -> None:
    path = coco(images, [{**SHIP, "segmentation": polygons}])
    found = read_file(images, path)[0].records[0].quads
    assert iou_matrix(found, as_quads([CORNERS]))[0, 0] == pytest.approx(1, abs=1e-5)


def test_triangles_become_rectangles(images: Path) -> None:
    path = coco(images, [{**SHIP, "segmentation": [[0, 0, 10, 0, 5, 3]]}])
    found = read_file(images, path)[0].records[0].quads
    np.testing.assert_allclose(found, [[[0, 0], [10, 0], [10, 3], [0, 3]]], atol=1e-5)


def test_an_outline_of_many_points(images: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    outline = np.stack([15 + 12 * np.cos(angles), 15 + 5 * np.sin(angles)], axis=1)
    path = coco(images, [{**SHIP, "image_id": "two", "segmentation": [outline.reshape(-1).tolist()]}])
    rbox = quads_to_rboxes(read_file(images, path)[0].records[1].quads)[0]
    assert np.allclose(rbox[:4], [15, 15, 24, 10], atol=1e-2)


BAD = [
    ({"segmentation": {"counts": "abc", "size": [10, 20]}}, "crowd or RLE", "run-length mask"),
    ({"iscrowd": 1}, "crowd or RLE", r"crowd \(iscrowd\)"),
    ({"segmentation": [[0, 0, 10, 0]]}, "unreadable segmentation", "three corners or more"),
    ({"segmentation": [[0, 0, 10, 0, 10, 5, 0]]}, "unreadable segmentation", "three corners or more"),
    ({"segmentation": CORNERS}, "unreadable segmentation", "must be polygons"),
    ({"segmentation": "mask.png"}, "unreadable segmentation", "must be polygons"),
    ({"segmentation": [[0, 0, 10, 0, 10, 5, 0, 1e10]]}, "unreadable segmentation", "plain numbers up to 1e9"),
    ({"segmentation": [[0, 0, 10, 0, 10, 5, 0, True]]}, "unreadable segmentation", "plain numbers up to 1e9"),
    ({"segmentation": None, "bbox": [1, 2, 3, 4, 0.5]}, "bbox of five numbers", "degrees or radians"),
    ({"segmentation": None, "bbox": CORNERS}, "no shape", "expected 'segmentation'"),
    ({"segmentation": None, "rbox": [1, 2, 3, 4]}, "no shape", "'rbox'"),
    ({"segmentation": None}, "no shape", r"found \['category_id', 'image_id', 'segmentation'\]"),
    ({"segmentation": None, "bbox": [1, 2, -3, 4]}, "zero area", "above 0, found -3 x 4"),
    ({"segmentation": [[1, 1, 1, 1, 1, 1, 1, 1]]}, "zero area", "'ship' has no area"),
    ({"segmentation": [[1, 1, 2, 2, 3, 3]]}, "zero area", "'ship' has no area"),
    ({"category_id": 1}, "unknown category", "unknown category_id 1; valid: 7, 3"),
    ({"category_id": None}, "unknown category", "unknown category_id None"),
    ({"category_id": [7]}, "unknown category", "unknown category_id"),
    ({"image_id": 2}, "no such image", "found image_id 2"),
    ({"image_id": {}}, "no such image", "found image_id {}"),
    ({"difficult": "1"}, "unreadable difficulty", "whole number, found '1'"),
    ({"difficult": 10**12}, "unreadable difficulty", "whole number"),
    ({"difficult": -1}, "negative difficulty", "0 or more, found -1"),
]


@pytest.mark.parametrize(("change", "reason", "message"), BAD)
def test_bad_annotations_are_named(change: dict[str, Any], reason: str, message: str, images: Path) -> None:
    path = coco(images, [SHIP, {**SHIP, **change}, SHIP])
    with pytest.raises(DataError, match=r"coco\.json: annotations\[1\]: .*" + message):
        read_file(images, path)
    manifest, report = read_file(images, path, on_bad="skip")
    assert manifest.records[0].labels == ("ship", "ship")
    assert [(entry.where, entry.reason) for entry in report.skipped] == [(f"{path}: annotations[1]", reason)]


def test_annotations_that_are_no_objects(images: Path) -> None:
    path = coco(images, [SHIP, 5, None])
    with pytest.raises(DataError, match=r"annotations\[1\]: expected an object"):
        read_file(images, path)
    assert read_file(images, path, on_bad="skip")[1].skipped_reasons() == {"no such image": 2}
    with pytest.raises(ConfigError, match="on_bad must be"):
        read_file(images, path, on_bad="ignore")  # type: ignore[arg-type]


def test_an_image_of_another_size(images: Path) -> None:
    path = coco(images, [SHIP], images=[{"id": 1, "file_name": "P1.png", "width": 200, "height": 100}])
    with pytest.raises(DataError, match=r"annotations\[0\]: .* P1.png of 200 x 100 pixels, the image has 20"):
        read_file(images, path)
    assert read_file(images, path, on_bad="skip")[1].skipped_reasons() == {"image of another size": 1}


@pytest.mark.parametrize("name", ["../P1.png", "/etc/passwd", "below/../../x.png", "C:\\x.png", "", "a\0b"])
def test_names_outside_the_image_folder_are_refused(name: str, images: Path) -> None:
    path = coco(images, [], images=[{"id": 1, "file_name": name}])
    with pytest.raises(DataError, match=r"coco\.json: images\[0\]: image path .* inside the image folder"):
        read_file(images, path, on_bad="skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 5}, "'images' must be list"),
        ({"annotations": None}, "'annotations' must be list"),
        ({"categories": [7]}, r"categories\[0\]: expected an object"),
        ({"categories": [{"id": 1, "name": ""}]}, r"categories\[0\]: 'name' is empty"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, r"categories\[1\]: id 1 stands"),
        ({"images": [{"file_name": "P1.png"}]}, r"images\[0\]: 'id' is missing"),
        ({"images": [{"id": 1, "file_name": 5}]}, r"images\[0\]: 'file_name' must be str"),
        (
            {"images": [{"id": 1, "file_name": "P1.png"}, {"id": 2, "file_name": "P1.png"}]},
            r"images\[1\]: image 'P1.png' or its id 2 stands there already",
        ),
        ({"images": [{"id": 1, "file_name": "none.png"}]}, "none of the 1 listed images is here"),
    ],
)
def test_bad_files(change: dict[str, Any], message: str, images: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_file(images, coco(images, [], **change), on_bad="skip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"coco\.json:1: not JSON"),
        ("[]", "expected an object {…}, found a list"),
        ('{"images": NaN}', "not JSON that can be read .NaN is not a JSON number"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_coco(text: str, message: str, images: Path) -> None:
    path = coco(images, [])
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_file(images, path)


def test_images_without_annotations(images: Path) -> None:
    manifest, report = read_file(images, None, classes=("ship",))
    assert [r.image for r in manifest.records] == ["P1.png", "P2.png"]
    assert (manifest.classes, report.object_count) == (("ship",), 0)


def test_listed_images_that_are_missing_are_counted(images: Path) -> None:
    (images / "P1.png").unlink()
    manifest, report = read_file(images, coco(images, [SHIP]))
    assert (len(manifest.records), report.orphans) == (1, ("P1.png",))


RBOXES = st.tuples(
    st.floats(-5, 30), st.floats(-5, 30), st.floats(1, 40), st.floats(1, 40), st.floats(-1.57, 1.57)
)
OBJECTS = st.lists(st.tuples(RBOXES, st.sampled_from(["ship", "Café 7"]), st.integers(0, 2)), max_size=4)


@settings(max_examples=30)
@given(first=OBJECTS, second=OBJECTS)
def test_round_trip(first: list[Any], second: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("round")
    records = []
    for name, objects in (("b/P2.png", first), ("P1.png", second)):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (24, 16)).save(folder / name)
        quads = rboxes_to_quads([box for box, _, _ in objects])
        labels = tuple(label for _, label, _ in objects)
        records.append(ImageRecord(name, 24, 16, quads, labels, tuple(flag for _, _, flag in objects)))
    manifest = Manifest("d", "s", ("ship", "unseen", "Café 7"), tuple(records), folder)
    report = write_file(manifest, folder / "out" / "coco.json")
    assert (report.images, report.objects, report.lost) == (2, len(first) + len(second), {})
    again, account = read_file(folder, report.path, dataset="d", split="s")
    assert again.fingerprint() == manifest.fingerprint()
    assert not account.skipped


KEYS = ("image_id", "category_id", "segmentation", "bbox", "rbox", "iscrowd", "difficult", "ignore")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=10,
)


@settings(max_examples=60)
@given(rows=st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES).map(lambda row: SHIP | row) | VALUES))
def test_any_annotation_is_read_or_counted(rows: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any") / "images"
    folder.mkdir()
    Image.new("L", (20, 10)).save(folder / "P1.png")
    _, report = read_file(folder, coco(folder, rows), on_bad="skip")
    assert report.object_count + len(report.skipped) == len(rows)


def test_written_form(tmp_path: Path) -> None:
    record = ImageRecord("P1.png", 20, 10, as_quads([CORNERS]), ("ship",), (1,))
    write_file(Manifest("toy", "train", ("plane", "ship"), (record,)), tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == {
        "info": {"description": "toy train"},
        "images": [{"id": 1, "file_name": "P1.png", "width": 20, "height": 10}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 2,
                "segmentation": [CORNERS],
                "bbox": [0, 0, 10, 5],
                "area": 50,
                "rbox": [5, 2.5, 10, 5, 0],
                "iscrowd": 0,
                "difficult": 1,
            }
        ],
        "categories": [{"id": 1, "name": "plane"}, {"id": 2, "name": "ship"}],
    }
