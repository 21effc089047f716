"""``lmmrotate tile``: cut scenes into overlapping tiles."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, fraction, positive_int, show


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "tile",
        allow_abbrev=False,
        help="cut scenes into overlapping tiles",
        description="Cut every image of a manifest into tiles: FOLDER/images and FOLDER/manifest.jsonl. "
        "An interrupted call goes on when the same command is given again.",
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--image_folder", type=Path, help="where the manifest's images are (default: beside it)"
    )
    parser.add_argument(
        "--size", type=positive_int, default=1024, metavar="PX", help="side (default: %(default)s)"
    )
    parser.add_argument("--gap", type=int, default=200, metavar="PX", help="overlap (default: %(default)s)")
    parser.add_argument(
        "--iof_thr",
        type=fraction,
        default=0.7,
        help="a tile takes objects of which at least this share lies inside (default: %(default)s)",
    )
    parser.add_argument("--workers", type=positive_int, help="processes (default: one a core)")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.data.manifest import read_manifest
    from lmmrotate.data.tiling import tile_manifest

    scenes = read_manifest(args.manifest, args.image_folder)
    tiles = tile_manifest(
        scenes,
        args.folder,
        size_px=args.size,
        gap_px=args.gap,
        iof_thr=args.iof_thr,
        workers=args.workers,
        progress=True,
    )
    objects = sum(len(record.labels) for record in tiles.records)
    show(
        f"{args.folder / 'manifest.jsonl'}: {len(scenes.records)} scenes, {len(tiles.records)} tiles, "
        f"{objects} objects"
    )
    return 0
