from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.formats.table import read_file, write_file
from lmmrotate.errors import DataError

HEAD = "image_path,xmin,ymin,xmax,ymax,label\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    return tmp_path


def table(folder: Path, text: str) -> Path:
    path = folder / "boxes.csv"
    path.write_text(text)
    return path


def test_upright_boxes_and_images_without_objects(images: Path) -> None:
    path = table(images, HEAD + 'a.png,10,5,30,15,"tree, tall"\nb.png,,,,,\na.png,1,2,3,4,bush\n')
    manifest, report = read_file(images, path)
    first, second = manifest.records
    assert (first.labels, second.labels) == (("tree, tall", "bush"), ())
    assert first.quads[0].tolist() == [[10, 5], [30, 5], [30, 15], [10, 15]]
    assert report.places[0] == (f"{path}:2", f"{path}:4")


def test_corners_win_and_survive(images: Path, tmp_path: Path) -> None:
    columns = "filename,class,difficult,xmin,ymin,xmax,ymax,x1,y1,x2,y2,x3,y3,x4,y4,who\n"
    path = table(images, columns + "a.png,ship,1,0,0,1,1,10,5,30,10,28,20,8,15,me\n")
    manifest, _ = read_file(images, path)
    assert manifest.records[0].difficult == (1,)
    write_file(manifest, tmp_path / "again.csv")
    again, _ = read_file(images, tmp_path / "again.csv")
    np.testing.assert_array_equal(again.records[0].quads, [[[10, 5], [30, 10], [28, 20], [8, 15]]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,10,5,30,15,", r"boxes\.csv:2: the object has no class name"),
        ("a.png,10,5,x,15,tree", r"boxes\.csv:2: xmax must be a finite number, found 'x'"),
        ("a.png,10,5,30", r"boxes\.csv:2: ymax must be a finite number, found ''"),
        (
            "a.png,30,5,10,15,tree",
            r"boxes\.csv:2: xmax and ymax must be above xmin and ymin, found 30 5 10 15",
        ),
        ("../a.png,30,5,10,15,tree", r"boxes\.csv:2: image path '../a\.png' must name a file inside"),
    ],
)
def test_what_is_wrong_is_named(row: str, message: str, images: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_file(images, table(images, f"{HEAD}{row}\n"))


def test_an_open_quotation_mark_does_not_swallow_the_rest(images: Path) -> None:
    path = table(images, HEAD + 'a.png,1,1,5,5,"car\na.png,10,10,20,20,car\na.png,11,10,20,20,"bus"\n')
    with pytest.raises(DataError, match=r"boxes\.csv:"):
        read_file(images, path)


@pytest.mark.parametrize("head", ["", "image_path,label\n", "xmin,ymin,xmax,ymax,label\n"])
def test_missing_columns(head: str, images: Path) -> None:
    with pytest.raises(DataError, match=r"boxes\.csv:1: expected .*column"):
        read_file(images, table(images, head))


@pytest.mark.real
def test_a_real_table_beside_its_geotiff(real: Callable[[str], Path]) -> None:
    path = real("geo/OSBS_029.csv")
    manifest, report = read_file(path.parent, path)
    assert (report.images, report.object_count, manifest.classes) == (1, 61, ("Tree",))
    assert manifest.records[0].wh == (400, 400)
