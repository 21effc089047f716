"""``lmmrotate tile``: cut scenes into overlapping tiles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lmmrotate.cli.common import add_verbosity, fraction, positive_int, show
from lmmrotate.errors import ConfigError

if TYPE_CHECKING:
    from lmmrotate.data.manifest import Manifest

OVERVIEW_PX = 2000
"""Longest side of an overview picture."""


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
        "--size", type=positive_int, nargs="+", default=[1024], metavar="PX", help="sides (default: 1024)"
    )
    parser.add_argument(
        "--gap", type=int, nargs="+", default=[200], metavar="PX", help="overlap, one a size (default: 200)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="R",
        help="cut windows of size / R as well; pixels are not resampled (default: 1)",
    )
    parser.add_argument(
        "--iof_thr",
        type=fraction,
        default=0.7,
        help="a tile takes objects of which at least this share lies inside (default: %(default)s)",
    )
    parser.add_argument(
        "--img_rate_thr",
        type=fraction,
        default=0.6,
        help="leave out windows of which the image fills no more than this share (default: %(default)s)",
    )
    parser.add_argument(
        "--padding",
        type=int,
        nargs="*",
        default=[0],
        metavar="VALUE",
        help="grey or red green blue of what lies beyond the scene; no value: cut tiles there (default: 0)",
    )
    parser.add_argument(
        "--protocol",
        choices=("default", "lmmrotate"),
        default="default",
        help="which objects count as cut by an edge: those that are, or the published tool's (see docs)",
    )
    parser.add_argument(
        "--overview", action="store_true", help="also draw every scene with its windows: FOLDER/overview"
    )
    parser.add_argument("--workers", type=positive_int, help="threads (default: one a core)")
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
        img_rate_thr=args.img_rate_thr,
        padding=_padding(args.padding),
        rates=args.rate,
        protocol=args.protocol,
        workers=args.workers,
        progress=True,
    )
    objects = sum(len(record.labels) for record in tiles.records)
    show(
        f"{args.folder / 'manifest.jsonl'}: {len(scenes.records)} scenes, {len(tiles.records)} tiles, "
        f"{objects} objects"
    )
    if args.overview:
        _overview(scenes, tiles, args.folder / "overview")
        show(f"{args.folder / 'overview'}: {len(scenes.records)} pictures")
    return 0


def _padding(values: list[int]) -> int | tuple[int, int, int] | None:
    if len(values) not in (0, 1, 3):
        raise ConfigError(f"--padding takes no value, one or three, got {len(values)}")
    if not values:
        return None
    return values[0] if len(values) == 1 else (values[0], values[1], values[2])


def _overview(scenes: Manifest, tiles: Manifest, folder: Path) -> None:
    from PIL import Image

    from lmmrotate.data.jsonl import replacing
    from lmmrotate.data.rasters import overview
    from lmmrotate.data.tiling import window_of
    from lmmrotate.report.grid import draw_grid

    for record in scenes.records:
        stem = Path(record.image).stem
        windows = [window_of(tile) for tile in tiles.records if tile.scene and tile.scene.name == stem]
        picture = Image.fromarray(overview(scenes.image_path(record), OVERVIEW_PX))
        drawn = draw_grid(picture, picture.width / record.width, windows, record.quads)
        with replacing(folder / f"{stem}.jpg") as file:
            drawn.save(file, format="JPEG", quality=88)
