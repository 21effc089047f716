"""``lmmrotate submit``: archives for evaluation servers."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, show


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "submit",
        allow_abbrev=False,
        help="an archive for DOTA's or FAIR1M's evaluation server",
        description="Write detections of scenes (lmmrotate merge) as the zip that the server takes.",
    )
    parser.add_argument("predictions", type=Path, help="predictions.jsonl of scenes")
    parser.add_argument("--format", choices=("dota", "fair1m"), required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="zip to write")
    parser.add_argument(
        "--published_digits",
        action="store_true",
        help="scores with as few decimals as the published code writes (2, 4); boxes then tie",
    )
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.data.predictions import read_predictions
    from lmmrotate.evaluation.submission import PUBLISHED_DIGITS, write_submission

    digits = PUBLISHED_DIGITS[args.format] if args.published_digits else None
    names = write_submission(
        read_predictions(args.predictions), args.output, args.format, score_digits=digits
    )
    show(f"{args.output}: {len(names)} files")
    return 0
