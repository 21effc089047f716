from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.mixing import epoch_items
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.streaming import open_manifest
from lmmrotate.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    records = tuple(
        ImageRecord(
            f"{i}é.png",
            64,
            32,
            rng.uniform(0, 64, (i % 4, 4, 2)),
            ("ship",) * (i % 4),
            (0, 0, int(i % 4 == 3))[: i % 4],
        )
        for i in range(50)
    )
    Manifest("toy", "train", ("ship", "plane"), records).write(tmp_path / "m.jsonl")
    return tmp_path / "m.jsonl"


def test_records_are_those_of_the_whole_manifest(path: Path) -> None:
    whole, file = read_manifest(path), open_manifest(path)
    assert (file.dataset, file.split, file.classes, file.image_folder) == (
        "toy",
        "train",
        ("ship", "plane"),
        path.parent,
    )
    assert len(file) == 50
    for found, index in ((list(file), range(50)), ([file[i] for i in (49, 0, -1)], (49, 0, 49))):
        for record, i in zip(found, index, strict=True):
            assert record.image == whole.records[i].image
            np.testing.assert_array_equal(record.quads, whole.records[i].quads)


def test_fingerprint_is_that_of_the_whole_manifest(path: Path) -> None:
    whole, file = read_manifest(path), open_manifest(path)
    assert file.fingerprint() == whole.fingerprint()
    some = file.select(lambda record: "ship" not in record.labels)
    assert some.fingerprint() == replace(whole, records=whole.records[::4]).fingerprint()


def test_balanced_mixing_of_selections(path: Path) -> None:
    """Filter by what is in a record, then mix: all on the file."""
    file = open_manifest(path)
    parts = [file.select(lambda record: not record.labels), file.select(lambda record: 1 in record.difficult)]
    assert [len(part) for part in parts] == [13, 12]
    items = epoch_items([len(part) for part in parts], "balanced concat", 0, [1, 4])
    shown = [parts[part][index] for part, index in items.tolist()]
    assert sum(1 in record.difficult for record in shown) == 20
    assert all(bool(record.labels) == (1 in record.difficult) for record in shown)


def test_a_file_that_has_changed_is_not_read(path: Path) -> None:
    file = open_manifest(path)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"m\.jsonl: has changed since it was opened"):
        file[0]
    path.unlink()
    with pytest.raises(DataError, match=r"m\.jsonl: cannot be read: No such file"):
        list(file)


def test_selecting_and_sampling_keep_the_order(path: Path) -> None:
    file = open_manifest(path)
    crowded = file.select(lambda record: len(record.labels) == 3)
    assert [record.image for record in crowded] == [f"{i}é.png" for i in range(3, 50, 4)]
    some = crowded.sample(5, seed=1)
    names = [record.image for record in some]
    assert len(set(names)) == 5
    assert names == sorted(names, key=lambda name: int(name[:-5]))
    assert names == [record.image for record in crowded.sample(5, seed=1)]
    assert names != [record.image for record in crowded.sample(5, seed=2)]
    assert len(crowded.sample(1000, seed=1)) == len(crowded)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n", ""])
def test_line_ends_and_blank_lines(ending: str, path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\ufeff" + (ending or "\n").join(lines) + ending
    path.write_bytes(text.encode())
    file = open_manifest(path)
    assert [record.image for record in file] == [record.image for record in read_manifest(path).records]


def test_a_faulty_line_is_named_when_it_is_read(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[7] = lines[7].replace("ship", "barge")
    path.write_text("\n\n".join(lines), encoding="utf-8")
    file = open_manifest(path)
    assert file[5].image == "5é.png"
    with pytest.raises(DataError, match=r"m\.jsonl:15: unknown class 'barge'"):
        file[6]
    with pytest.raises(DataError, match=r"m\.jsonl:15: unknown class 'barge'"):
        file.select(lambda record: True)


def test_files_that_are_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_manifest(tmp_path / "none.jsonl")
    (tmp_path / "m.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"m\.jsonl:1: kind is None"):
        open_manifest(tmp_path / "m.jsonl")
