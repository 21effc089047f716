"""``lmmrotate quickstart``: the whole path in a few minutes on a laptop."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lmmrotate.cli.common import add_verbosity, positive_int, quiet_transformers, show

if TYPE_CHECKING:
    from lmmrotate.data.manifest import Manifest

TITLE = "lmmrotate quickstart"
TILE_PX = 128
TRAIN_TILES = 48
HELD_OUT_TILES = 48
DEFAULT_STEPS = 500


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "quickstart",
        allow_abbrev=False,
        help="synthesise data, train, predict, evaluate and report in a few minutes",
        description="Run every stage on the embedded synthetic data, on a CPU if need be. "
        "Finished stages are passed over when the same command is given again.",
    )
    parser.add_argument("--folder", type=Path, default=Path("quickstart"), help="default: %(default)s")
    parser.add_argument("--max_steps", type=positive_int, default=DEFAULT_STEPS, help="default: %(default)s")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from lmmrotate.cli.judging import judge
    from lmmrotate.inference.predictor import Predictor
    from lmmrotate.report.tables import evaluation_table

    begin = time.perf_counter()
    quiet_transformers()
    folder: Path = args.folder
    console = Console()
    train_tiles, held_out = _synthesise(folder / "data")
    _train(folder, args.max_steps)
    predictor = Predictor.from_run(folder / "run")
    console.rule("tiles it was trained on")
    learnt = judge(predictor, train_tiles, folder / "train", f"{TITLE}: tiles it was trained on")
    console.print(evaluation_table(learnt))
    console.rule("held-out tiles")
    unseen = judge(predictor, held_out, folder / "held-out", f"{TITLE}: held-out tiles")
    console.print(evaluation_table(unseen))
    show(
        f"\nmF1 {learnt.mf1:.3f} on the {len(train_tiles.records)} tiles it was trained on, "
        f"{unseen.mf1:.3f} on {len(held_out.records)} it has never seen. A model with random weights learns "
        "the former by heart in minutes; detecting in new images takes a pretrained model or far longer "
        "training.\n"
        f"report of the held-out tiles:           {(folder / 'held-out.html').resolve()}\n"
        f"report of the tiles it was trained on:  {(folder / 'train.html').resolve()}\n"
        f"{time.perf_counter() - begin:.0f} s"
    )
    return 0


def _synthesise(folder: Path) -> tuple[Manifest, Manifest]:
    from lmmrotate.data.synthetic.dataset import synthesise
    from lmmrotate.data.synthetic.scene import SceneSpec

    spec = SceneSpec(width_px=TILE_PX, height_px=TILE_PX, density="sparse")
    return (
        synthesise(folder, TRAIN_TILES, spec, seed=0, split="train", progress=True),
        synthesise(folder, HELD_OUT_TILES, spec, seed=1, split="val", progress=True),
    )


def _train(folder: Path, max_steps: int) -> None:
    from lmmrotate.runs import RUN_FILE
    from lmmrotate.training.config import TrainConfig
    from lmmrotate.training.fit import train

    if (folder / "run" / RUN_FILE).exists():
        return
    train(
        TrainConfig(
            data_path=(str(folder / "data" / "train.jsonl"),),
            output_dir=str(folder / "run"),
            image_square_length=TILE_PX,
            max_steps=max_steps,
            learning_rate=1e-3,
            warmup_ratio=0.05,
            logging_steps=20,
        )
    )
