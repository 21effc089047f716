"""Memorise real DOTA tiles: `make real`.

Converts and tiles two DOTA scenes of ../shared/real (or $LMMROTATE_REAL), shows what the embedded model makes
of them, which has only ever seen synthetic scenes, then fine-tunes it on ten of the tiles with 1 to 15
objects each, predicts, evaluates and draws; last it reports, without a target, what the same model does on
the dense rest. A check that the whole path works on real imagery, not a benchmark: ten memorised tiles say
nothing about accuracy on new ones.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lmmrotate.cli.common import quiet_transformers
from lmmrotate.cli.judging import judge
from lmmrotate.data.convert import convert
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.tiling import tile_manifest
from lmmrotate.inference.predictor import Predictor
from lmmrotate.report.tables import evaluation_table
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train

ROOT = Path(__file__).parents[1]
SCENES = ("P0706", "P1888")
TILE_PX = 256
MEMORISED_TILES = 10
TARGET_MF1 = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("real"), help="where everything is written")
    parser.add_argument("--max_steps", type=int, default=500)
    args = parser.parse_args()
    source = Path(os.environ.get("LMMROTATE_REAL", ROOT.parent / "shared" / "real")) / "dota"
    if not source.is_dir():
        print(f"skipped: no real images at {source}")
        return 0
    begin = time.perf_counter()
    if args.folder.exists():
        shutil.rmtree(args.folder)
    quiet_transformers()
    memorised, dense = prepare(source, args.folder)
    console = Console()
    console.rule("the embedded model, which never saw a real image")
    for manifest in (memorised, dense):
        stem = args.folder / f"embedded-{manifest.split}"
        console.print(evaluation_table(judge(Predictor.from_run(), manifest, stem, "Embedded model")))
    run = train(
        TrainConfig(
            data_path=(str(args.folder / "tiles" / "memorised.jsonl"),),
            output_dir=str(args.folder / "run"),
            image_square_length=TILE_PX,
            max_steps=args.max_steps,
            per_device_train_batch_size=5,
            learning_rate=1e-3,
            warmup_ratio=0.05,
        )
    ).run_folder
    predictor = Predictor.from_run(run)
    console.rule("ten memorised tiles")
    learnt = judge(predictor, memorised, args.folder / "memorised", "Real tiles, memorised")
    console.print(evaluation_table(learnt))
    console.rule("all other tiles that hold objects: never seen, far denser, no target")
    console.print(evaluation_table(judge(predictor, dense, args.folder / "dense", "Real tiles, never seen")))
    seconds = time.perf_counter() - begin
    reached = learnt.mf1 >= TARGET_MF1
    print(
        f"memorised tiles: mF1 {learnt.mf1:.3f} at IoU 0.5 (target {TARGET_MF1}: "
        f"{'reached' if reached else 'MISSED'}), {seconds:.0f} s in all; "
        f"pictures in {args.folder / 'memorised.html'} and {args.folder / 'dense.html'}"
    )
    return 0 if reached else 1


def prepare(source: Path, folder: Path) -> tuple[Manifest, Manifest]:
    """The tiles to memorise and the rest with objects, as manifests beside the tiles."""
    for name in SCENES:
        for kind, suffix in (("images", ".png"), ("labelTxt", ".txt")):
            target = folder / "dota" / kind / f"{name}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / kind / target.name, target)
    conversion = convert(
        folder / "dota" / "images",
        folder / "dota" / "labelTxt",
        folder / "dota" / "scenes.jsonl",
        dataset="dota_v1",
        split="train",
    )
    tiles = tile_manifest(conversion.manifest, folder / "tiles", size_px=TILE_PX, gap_px=56)
    fitting = [r for r in tiles.records if 1 <= len(r.labels) <= 15]
    spread = [round(i * (len(fitting) - 1) / (MEMORISED_TILES - 1)) for i in range(MEMORISED_TILES)]
    easy = [fitting[i] for i in spread]  # of both scenes, not ten neighbours
    names = {r.image for r in easy}
    rest = [r for r in tiles.records if r.labels and r.image not in names]
    memorised = replace(tiles, records=tuple(easy), split="memorised")
    dense = replace(tiles, records=tuple(rest), split="dense")
    for manifest in (memorised, dense):
        manifest.write(folder / "tiles" / f"{manifest.split}.jsonl")
        objects = sum(len(r.labels) for r in manifest.records)
        print(f"{manifest.split}: {len(manifest.records)} tiles, {objects} objects")
    return memorised, dense


if __name__ == "__main__":
    sys.exit(main())
