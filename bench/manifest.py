"""How long a manifest of a million images takes, and how much memory.

Run ``python bench/manifest.py [--images 1000000] [--objects 20]``: the manifest is opened, filtered by class
(images with a ship) and by difficulty (images without a difficult object), sampled (1,000 images), the sample
is read, and an epoch of what was filtered is mixed (balanced concat, 3 to 1). Memory is the largest so far.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sized
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lmmrotate.data.manifest import Manifest
from lmmrotate.data.mixing import epoch_items
from lmmrotate.data.records import ImageRecord
from lmmrotate.data.streaming import open_manifest

CLASSES = ("plane", "ship", "small-vehicle", "harbor")
Images = TypeVar("Images", bound=Sized)

KINDS = 200
"""Different lists of objects; drawing a million would take longer than what is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--objects", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.jsonl"
        write(path, options.images, options.objects)
        table = Table(
            title=f"{options.images:,} images, {options.objects} objects each, "
            f"{path.stat().st_size / 1e9:.1f} GB"
        )
        for heading in ("step", "images", "s", "largest memory"):
            table.add_column(heading, justify="left" if heading == "step" else "right")
        clock = Clock(table)
        file = clock.took("open", open_manifest(path))
        ships = clock.took("filter by class", file.select(lambda record: "ship" in record.labels))
        easy = clock.took("filter by difficulty", file.select(lambda record: not any(record.difficult)))
        sample = clock.took("sample", ships.sample(1000, seed=0))
        clock.took("read the sample", list(sample))
        sizes = [len(ships), len(easy)]
        items = clock.took("mix an epoch", epoch_items(sizes, "balanced concat", 0, weights=[3, 1]))
        shown = ((ships, easy)[which][index] for which, index in items[:1000].tolist())
        clock.took("read 1,000 of it", list(shown))
    Console().print(table)


class Clock:
    """Adds a row a step: the time since the last one."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._last = time.perf_counter()

    def took(self, step: str, images: Images) -> Images:
        now = time.perf_counter()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._table.add_row(step, f"{len(images):,}", f"{now - self._last:.1f}", f"{memory:.0f} MiB")
        self._last = now
        return images


def write(path: Path, images: int, objects: int) -> None:
    """Write the manifest; its lines differ in the image's name and repeat ``KINDS`` lists of objects."""
    rng = np.random.default_rng(0)
    records = tuple(
        ImageRecord(
            f"{kind}@.png",
            1024,
            1024,
            rng.uniform(0, 1024, (objects, 4, 2)),
            tuple(CLASSES[i] for i in rng.integers(0, rng.integers(1, len(CLASSES) + 1), objects)),
            tuple((rng.random(objects) < kind / KINDS / objects).astype(int).tolist()),
        )
        for kind in range(KINDS)
    )
    Manifest("bench", "all", CLASSES, records).write(path)
    header, *lines = path.read_text().splitlines(keepends=True)
    with path.open("w") as file:
        file.write(header)
        for index in track(range(images), "writing"):
            file.write(lines[index % KINDS].replace("@", str(index), 1))


if __name__ == "__main__":
    main()
