"""``lmmrotate report``: one HTML page that shows what a model got right and wrong."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, positive_int, show
from lmmrotate.cli.evaluate import add_scoring, score

log = logging.getLogger("lmmrotate")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "report",
        allow_abbrev=False,
        help="draw ground truth against predictions into one HTML page",
        description="Write one self-contained HTML page: numbers, curves, problems and pictures.",
    )
    add_scoring(parser)
    parser.add_argument(
        "--image_folder", type=Path, help="where the manifest's images are (default: beside it)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: %(default)s")
    parser.add_argument("--max_images", type=positive_int, default=24, help="pictures (default: %(default)s)")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.data.manifest import read_manifest
    from lmmrotate.evaluation.foreign import read_any
    from lmmrotate.report.html import write_report

    manifest = read_manifest(args.manifest, args.image_folder)
    missing = sum(not manifest.image_path(record).is_file() for record in manifest.records)
    if missing:
        log.warning(
            "%d of %d images are not under %s and cannot be shown; --image_folder names another folder",
            missing,
            len(manifest.records),
            manifest.image_folder,
        )
    predictions = read_any(args.predictions, manifest, kind=args.kind)
    evaluation = score(args, manifest, predictions)
    write_report(args.output, evaluation, manifest, predictions, max_images=args.max_images)
    show(f"{args.output}")
    return 0
