import datetime
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate.data.doctor.checkup import Checkup, Source, examine
from lmmrotate.data.formats import annotation_format
from lmmrotate.geometry.rboxes import rboxes_to_quads
from lmmrotate.report.checkup_page import write_checkup_page


@pytest.fixture
def checkup(tmp_path: Path) -> Checkup:
    """Three good images, a damaged one, and one with a class called like a tag and a crossing quad."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for i in range(5):
        pixels = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"P{i}.png")
        quads = rboxes_to_quads([(30, 30, 20, 10, 0.5), (90, 60, 30, 12, -0.3)])
        lines = [" ".join(f"{v:.1f}" for v in quad.reshape(8)) + " ship 0" for quad in quads]
        (tmp_path / "labels" / f"P{i}.txt").write_text("\n".join(lines))
    (tmp_path / "images" / "P1.png").write_bytes((tmp_path / "images" / "P1.png").read_bytes()[:5000])
    (tmp_path / "labels" / "P2.txt").write_text(
        "10 10 30 20 30 10 10 20 ship 0\n40 40 60 40 60 50 40 50 <script>alert(1)</script> 0\n"
    )
    source = Source(tmp_path / "images", tmp_path / "labels", annotation_format("dota"), "train")
    return examine(
        [source],
        dataset="harbours & <ports>",
        answer_tokens=lambda manifest: lambda record: 11 * len(record.labels),
        max_tokens=30,
    )


def page(checkup: Checkup, path: Path, **options: int) -> str:
    write_checkup_page(
        path,
        checkup,
        max_tokens=20,
        date=datetime.date(2025, 1, 31),
        **options,
    )
    return path.read_text(encoding="utf-8")


def test_what_it_shows(checkup: Checkup, tmp_path: Path) -> None:
    text = page(checkup, tmp_path / "out" / "check.html")
    assert "harbours &amp; &lt;ports&gt;" in text
    assert "2025-01-31" in text
    assert "P2.txt:1" in text
    assert "unreadable image" in text
    assert "limit 20: 5 images beyond" in text
    assert text.count("<svg") == 5
    assert text.count('<img src="data:image/jpeg;base64,') == 4
    assert "cannot be read" in text
    suspicious, at_random = text.split("Drawn at random")
    assert re.findall(r"<figcaption>(P\d)", suspicious) == ["P2", "P1"]
    assert re.findall(r"<figcaption>(P\d)", at_random) == ["P0", "P3", "P4"]


def test_nothing_runs_and_nothing_is_requested(checkup: Checkup, tmp_path: Path) -> None:
    text = page(checkup, tmp_path / "check.html")
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_number_of_pictures_and_the_same_bytes_again(checkup: Checkup, tmp_path: Path) -> None:
    few = page(checkup, tmp_path / "few.html", max_images=2)
    assert few.count("<figcaption>") == 2
    assert page(checkup, tmp_path / "again.html", max_images=2) == few


def test_without_findings(tmp_path: Path) -> None:
    Image.effect_noise((20, 20), 50).convert("RGB").save(tmp_path / "only.png")
    (tmp_path / "only.txt").write_text("2 2 9 2 9 6 2 6 ship 0")
    text = page(examine([Source(tmp_path, tmp_path, annotation_format("dota"))]), tmp_path / "check.html")
    assert "Nothing found." in text
    assert "Suspicious" not in text
