"""``lmmrotate baseline``: ordinary rotated detectors, trained and used by the same commands."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lmmrotate.cli.common import (
    add_running,
    add_verbosity,
    fraction,
    positive_int,
    quiet_transformers,
    show,
    show_json,
)
from lmmrotate.cli.options import add_option_flags, read_options
from lmmrotate.cli.predict import add_images, predict_with

if TYPE_CHECKING:
    from lmmrotate.inference.batch import Engine
    from lmmrotate.inference.predictor import Finder
    from lmmrotate.inference.shares import Share


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "baseline",
        allow_abbrev=False,
        help="train and use Rotated RetinaNet and Rotated FCOS",
        description="Ordinary detectors to compare with: the same manifests in, the same predictions.jsonl "
        "out, for evaluate, report and compare.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_train(actions)
    _add_predict(actions)


def _add_train(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "train",
        allow_abbrev=False,
        help="train a detector on a manifest",
        description="Train a detector and write a run directory. Options come from a YAML file, from flags, "
        "or both (flags win); recipes/baselines has the published ones. An interrupted run goes on when the "
        "same command is given again.",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_verbosity(parser)
    from lmmrotate.baselines.config import BaselineConfig

    add_option_flags(parser, BaselineConfig)
    parser.set_defaults(run=_train)


def _add_predict(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "predict",
        allow_abbrev=False,
        help="find objects in images with a trained detector",
        description="Write predictions.jsonl for images or for a manifest, as lmmrotate predict does; large "
        "images are cut into tiles and merged. Exit status 1: some images could not be read.",
    )
    parser.add_argument(
        "--model", metavar="RUN", required=True, help="run directory, or one of its checkpoints"
    )
    add_running(parser)
    parser.add_argument(
        "--score_threshold", type=fraction, default=0.05,
        help="classes are looked at from this probability on (default: %(default)s, as published)",
    )  # fmt: skip
    parser.add_argument(
        "--nms_iou", type=fraction, default=0.1, help="of boxes of which one goes (default: %(default)s)"
    )
    parser.add_argument(
        "--max_boxes", type=positive_int, default=2000, help="of an image (default: %(default)s)"
    )
    add_images(parser)
    parser.set_defaults(run=_predict)


def _train(args: argparse.Namespace) -> int:
    from lmmrotate.baselines.config import BaselineConfig

    config = read_options(args, BaselineConfig)
    from lmmrotate.baselines.fit import train_baseline
    from lmmrotate.training.run_folder import is_first_process

    quiet_transformers()
    result = train_baseline(config)
    if not is_first_process():
        return 0  # under torchrun the first rank speaks for all
    if args.json:
        show_json(vars(result))
    else:
        scores = "".join(f", {name} {value:.3f}" for name, value in (result.validation or {}).items())
        show(
            f"{result.run_folder}: {result.steps} steps on {result.images} images in {result.seconds:.0f} s "
            f"({result.skipped_images} without objects left out), mean loss {result.loss:.4f}{scores}\n"
            f"parameters trained: {result.trainable:,} of {result.parameters:,}"
        )
    return 0


def _predict(args: argparse.Namespace) -> int:
    return predict_with(args, _load)


def _load(args: argparse.Namespace, share: Share) -> tuple[Finder, Any, Engine | None]:
    from lmmrotate.baselines.finding import FindingOptions
    from lmmrotate.baselines.predictor import BaselinePredictor
    from lmmrotate.inference.predictor import own_device

    options = FindingOptions(
        score_threshold=args.score_threshold, nms_iou=args.nms_iou, max_boxes=args.max_boxes
    )
    device = args.device or own_device(share.local_rank)
    return BaselinePredictor.from_run(args.model, device=device), options, None
