"""``lmmrotate merge``: from detections in tiles to detections in scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, fraction, show


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "merge",
        allow_abbrev=False,
        help="detections in tiles become detections in scenes",
        description="Move what was found in tiles to their scenes; objects that several tiles show are kept "
        "once.",
    )
    parser.add_argument("predictions", type=Path, help="predictions.jsonl of tiles")
    parser.add_argument("--tiles", type=Path, required=True, help="the tiles' manifest.jsonl")
    parser.add_argument(
        "--scenes", type=Path, help="the manifest that was tiled: names and sizes of the scenes' images"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="predictions.jsonl of scenes to write"
    )
    parser.add_argument(
        "--merge",
        choices=("nms", "edge", "cluster"),
        default="nms",
        help="nms: the surest box suppresses others; edge: of equal scores the box farther from its tile's "
        "edge does; cluster: boxes of different tiles are joined (default: %(default)s)",
    )
    parser.add_argument(
        "--iou", type=fraction, default=0.1, help="from which on two boxes are one (default: %(default)s)"
    )
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.data.manifest import read_manifest
    from lmmrotate.data.predictions import read_predictions
    from lmmrotate.evaluation.merging import merge_predictions

    predictions = read_predictions(args.predictions)
    merged = merge_predictions(
        predictions,
        read_manifest(args.tiles),
        rule=args.merge,
        iou_threshold=args.iou,
        scenes=read_manifest(args.scenes) if args.scenes else None,
    )
    merged.write(args.output)
    before, after = (sum(len(p.labels) for p in some.images) for some in (predictions, merged))
    show(
        f"{args.output}: {len(merged.images)} scenes of {len(predictions.images)} tiles, {after:,} of "
        f"{before:,} boxes"
    )
    return 0
