"""``lmmrotate evaluate``: score predictions against a manifest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lmmrotate.cli.common import add_verbosity, fraction, show_json

if TYPE_CHECKING:
    from lmmrotate.data.manifest import Manifest
    from lmmrotate.data.predictions import Predictions
    from lmmrotate.evaluation.results import Evaluation


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """Options that ``evaluate`` and ``report`` share."""
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.jsonl with the ground truth")
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        help="predictions.jsonl to score, or another detector's results (docs/evaluation.md)",
    )
    add_kind(parser)
    add_rules(parser)
    parser.add_argument(
        "--ious",
        type=fraction,
        nargs="+",
        default=[],
        metavar="IOU",
        help="further ones for mAP (beside COCO's)",
    )
    parser.add_argument(
        "--ci", action="store_true", help="95 %% intervals, from 1,000 draws of the images (bootstrap)"
    )


def add_kind(parser: argparse.ArgumentParser) -> None:
    """What other detectors' results are."""
    parser.add_argument(
        "--kind",
        metavar="KIND",
        help="of such results (default: what they look like); an unknown name lists all",
    )


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Options for the rules of scoring."""
    parser.add_argument("--iou", type=fraction, default=0.5, help="IoU of a match (default: %(default)s)")
    parser.add_argument(
        "--score_threshold",
        type=fraction,
        default=0.0,
        help="detections below it do not count in precision, recall and F1 (default: %(default)s)",
    )
    parser.add_argument(
        "--protocol",
        choices=("corrected", "lmmrotate", "dota"),
        default="corrected",
        help="corrected: one-to-one matches, F1 from TP/FP/FN; lmmrotate: the published code's numbers; "
        "dota: DOTA_devkit's (docs/evaluation.md)",
    )


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "evaluate",
        allow_abbrev=False,
        help="score predictions: mAP, mAP_nc, mF1",
        description="Score predictions against a manifest. Needs no model and no torch.",
    )
    add_scoring(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table of classes as CSV, too")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def score(args: argparse.Namespace, manifest: Manifest, predictions: Predictions) -> Evaluation:
    """Evaluate under the options of ``add_scoring``."""
    from lmmrotate.evaluation.bootstrap import RESAMPLES
    from lmmrotate.evaluation.evaluate import evaluate

    return evaluate(
        manifest,
        predictions,
        iou_threshold=args.iou,
        score_threshold=args.score_threshold,
        protocol=args.protocol,
        ious=args.ious,
        resamples=RESAMPLES if args.ci else 0,
    )


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from lmmrotate.data.jsonl import write_text_atomic
    from lmmrotate.data.manifest import read_manifest
    from lmmrotate.evaluation.foreign import read_any
    from lmmrotate.report.tables import evaluation_table

    manifest = read_manifest(args.manifest)
    evaluation = score(args, manifest, read_any(args.predictions, manifest, kind=args.kind))
    if args.csv:
        write_text_atomic(args.csv, [evaluation.to_csv()])
    if args.json:
        show_json(evaluation.to_json())
    else:
        Console().print(evaluation_table(evaluation))
    return 0
