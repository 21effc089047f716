"""``lmmrotate quickstart``: the whole path in a few minutes on a laptop."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from lmmrotate.assets import TINY
from lmmrotate.cli.common import add_verbosity, positive_int, quiet_transformers, show
from lmmrotate.errors import LmmRotateError

if TYPE_CHECKING:
    from lmmrotate.data.manifest import Manifest
    from lmmrotate.evaluation.results import Evaluation
    from lmmrotate.inference.predictor import Predictor

TITLE = "lmmrotate quickstart"
NEW_CLASSES = ("tennis-court", "swimming-pool")
"""What the embedded model was never shown."""
GSD_M = (0.2, 0.4)
TILE_PX = 256
TRAIN_TILES = 300
HELD_OUT_TILES = 100
STEPS = 480

SCRATCH_CLASSES = ("plane", "ship", "storage-tank", "swimming-pool")
SCRATCH_GSD_M = (0.18, 0.3)
SCRATCH_TILE_PX = 128
SCRATCH_STEPS = (500, 400, 780)
"""Updates of the three stages."""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "quickstart",
        allow_abbrev=False,
        help="synthesise data, train, predict, evaluate and report in a few minutes",
        description="Teach the embedded model two classes that it has never seen, and show what it found "
        "before and after; or train a smaller one from nothing. A CPU suffices. Finished stages are passed "
        "over when the same command is given again.",
    )
    parser.add_argument("--folder", type=Path, default=Path("quickstart"), help="default: %(default)s")
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="train from random weights instead, in three stages, to detect four classes in easy tiles",
    )
    parser.add_argument("--max_steps", type=positive_int, default=STEPS, help="default: %(default)s")
    parser.add_argument("--no_open", action="store_true", help="do not open the report in a browser")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    begin = time.perf_counter()
    quiet_transformers()
    report = _from_scratch(args.folder) if args.from_scratch else _fine_tune(args.folder, args.max_steps)
    show(f"report: {report.resolve()}\n{time.perf_counter() - begin:.0f} s")
    if not args.no_open:
        _open(report)
    return 0


def _fine_tune(folder: Path, max_steps: int) -> Path:
    """Two new classes for the embedded model; returns the report."""
    from lmmrotate.inference.predictor import Predictor
    from lmmrotate.runs import RUN_FILE
    from lmmrotate.training.config import TrainConfig
    from lmmrotate.training.fit import train

    train_tiles, held_out = _synthesise(folder / "data", TRAIN_TILES, NEW_CLASSES, TILE_PX, GSD_M)
    before = _judge(_untaught(held_out), held_out, folder / "before", "before fine-tuning")
    if not (folder / "run" / RUN_FILE).exists():
        train(
            TrainConfig(
                data_path=(str(train_tiles),),
                output_dir=str(folder / "run"),
                model_name_or_path=TINY,
                max_steps=max_steps,
                learning_rate=1e-3,
                warmup_ratio=0.05,
                location_smoothing=3.0,
                cell_loss=True,
                logging_steps=20,
            )
        )
    after = _judge(Predictor.from_run(folder / "run"), held_out, folder / "after", "after fine-tuning")
    show(
        f"\n{' and '.join(NEW_CLASSES)} on {HELD_OUT_TILES} tiles that it was not trained on:\n"
        f"mF1 {before.mf1:.3f} before, {after.mf1:.3f} after {max_steps} updates on {TRAIN_TILES} tiles"
    )
    return folder / "after.html"


def _from_scratch(folder: Path) -> Path:
    """Random weights, three stages, easy tiles; returns the report."""
    from lmmrotate.data.jsonl import write_text_atomic
    from lmmrotate.inference.predictor import Predictor
    from lmmrotate.runs import RUN_FILE
    from lmmrotate.training.options import config_to_yaml
    from lmmrotate.training.pretrain_config import PretrainConfig

    run_folder = folder / "scratch"
    vision_steps, language_steps, joint_steps = SCRATCH_STEPS
    if not (run_folder / RUN_FILE).exists():
        config = PretrainConfig(
            output_dir=str(run_folder),
            classes=SCRATCH_CLASSES,
            gsd_m=SCRATCH_GSD_M,
            densities=("sparse",),
            density_shares=(1.0,),
            image_square_length=SCRATCH_TILE_PX,
            scene_views=4,
            response_format="rbox",  # five tokens a box: learned much sooner than four corners
            ema_decay=0.99,
            joint_smoothing=(4.0, 2.0),
            vision_steps=vision_steps,
            language_steps=language_steps,
            joint_steps=joint_steps,
        )
        write_text_atomic(folder / "scratch.yaml", [config_to_yaml(config)])
        _pretrain(folder / "scratch.yaml")
    _, held_out = _synthesise(folder / "scratch-data", 1, SCRATCH_CLASSES, SCRATCH_TILE_PX, SCRATCH_GSD_M)
    found = _judge(Predictor.from_run(run_folder), held_out, folder / "scratch", "trained from scratch")
    show(
        f"\nmAP {found.map_11:.3f}, mF1 {found.mf1:.3f} on {HELD_OUT_TILES} tiles that it was not trained on"
    )
    return folder / "scratch.html"


def _pretrain(config: Path) -> None:
    """``lmmrotate pretrain``, on two cores where there are two: a process each beats threads."""
    from lmmrotate.data.workers import core_count

    processes = min(2, core_count())
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *together, "-m", "lmmrotate", "pretrain", "--config", str(config)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=sys.stderr, check=False)
    if done.returncode:
        raise LmmRotateError(f"pretraining ended with status {done.returncode}; the lines above say why")


def _synthesise(
    folder: Path, train_tiles: int, classes: tuple[str, ...], side_px: int, gsd_m: tuple[float, float]
) -> tuple[Path, Manifest]:
    """The training manifest's path, and the held-out tiles."""
    from lmmrotate.data.synthetic.dataset import synthesise
    from lmmrotate.data.synthetic.scene import SceneSpec

    spec = SceneSpec(side_px, side_px, gsd_m, "sparse", classes)
    synthesise(folder, train_tiles, spec, seed=10, split="train", progress=True)
    held_out = synthesise(folder, HELD_OUT_TILES, spec, seed=11, split="val", progress=True)
    return folder / "train.jsonl", held_out


def _untaught(manifest: Manifest) -> Predictor:
    """The embedded model, asked for the manifest's classes."""
    from lmmrotate.assets import model_path
    from lmmrotate.codec.registry import make_codec
    from lmmrotate.inference.predictor import Predictor
    from lmmrotate.models.loading import load_family
    from lmmrotate.runs import read_run

    codec = make_codec("loc_tokens", manifest.classes)
    family = load_family(TINY, tokens=codec.special_tokens, words=codec.words)
    return Predictor(family, codec, read_run(model_path(TINY)))


def _judge(predictor: Predictor, manifest: Manifest, stem: Path, heading: str) -> Evaluation:
    from rich.console import Console

    from lmmrotate.cli.judging import judge
    from lmmrotate.report.tables import evaluation_table

    console = Console()
    console.rule(heading)
    found = judge(predictor, manifest, stem, f"{TITLE}: {heading}")
    console.print(evaluation_table(found))
    return found


def _open(report: Path) -> None:
    """Show the report to a person who sits at a desktop; elsewhere its path has been printed."""
    desktop = sys.platform in ("win32", "darwin") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if desktop and sys.stdout.isatty():
        webbrowser.open(report.resolve().as_uri())
