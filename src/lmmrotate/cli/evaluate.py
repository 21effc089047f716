"""``lmmrotate evaluate``: score predictions against a manifest."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, fraction, show_json


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """Options that ``evaluate`` and ``report`` share."""
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.jsonl with the ground truth")
    parser.add_argument("--predictions", type=Path, required=True, help="predictions.jsonl to score")
    parser.add_argument("--iou", type=fraction, default=0.5, help="IoU of a match (default: %(default)s)")
    parser.add_argument(
        "--score_threshold",
        type=fraction,
        default=0.0,
        help="detections below it do not count in precision, recall and F1 (default: %(default)s)",
    )
    parser.add_argument(
        "--protocol",
        choices=("corrected", "lmmrotate"),
        default="corrected",
        help="corrected: one-to-one matches, F1 from TP/FP/FN; lmmrotate: the published code's numbers",
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
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from lmmrotate.data.manifest import read_manifest
    from lmmrotate.data.predictions import read_predictions
    from lmmrotate.evaluation.evaluate import evaluate
    from lmmrotate.report.tables import evaluation_table

    evaluation = evaluate(
        read_manifest(args.manifest),
        read_predictions(args.predictions),
        iou_threshold=args.iou,
        score_threshold=args.score_threshold,
        protocol=args.protocol,
    )
    if args.json:
        show_json(evaluation.to_json())
    else:
        Console().print(evaluation_table(evaluation))
    return 0
