"""``lmmrotate synth``: make a synthetic data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeVar

from lmmrotate.cli.common import add_verbosity, positive_int, show
from lmmrotate.errors import ConfigError

T = TypeVar("T")

DENSITIES = ("sparse", "mixed", "dense")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "synth",
        allow_abbrev=False,
        help="make a synthetic aerial data set",
        description="Render aerial-like scenes with exact oriented boxes: FOLDER/images and "
        "FOLDER/SPLIT.jsonl. The same options give the same pixels on any machine.",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=positive_int, default=1000, help="images (default: %(default)s)")
    parser.add_argument("--size", type=positive_int, nargs="+", default=[256], metavar="PX",
                        help="width and height, or one side of a square (default: 256)")  # fmt: skip
    parser.add_argument("--gsd", type=float, nargs="+", metavar="M",
                        help="ground sample distance in metres a pixel, or its range")  # fmt: skip
    parser.add_argument("--density", choices=DENSITIES, default="mixed", help="default: %(default)s")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="only these classes (default: all)")
    parser.add_argument("--split", default="train", help="name of the manifest (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=positive_int, help="processes (default: one a core)")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.data.synthetic.dataset import synthesise
    from lmmrotate.data.synthetic.scene import SceneSpec

    width, height = _pair("--size", args.size)
    options: dict[str, Any] = {"width_px": width, "height_px": height, "density": args.density}
    if args.gsd:
        options["gsd_m"] = _pair("--gsd", args.gsd)
    if args.classes:
        options["classes"] = tuple(args.classes)
    manifest = synthesise(
        args.folder,
        args.count,
        SceneSpec(**options),
        seed=args.seed,
        split=args.split,
        workers=args.workers,
        progress=True,
    )
    objects = sum(len(record.labels) for record in manifest.records)
    show(f"{args.folder / args.split}.jsonl: {len(manifest.records)} images, {objects} objects")
    return 0


def _pair(option: str, values: list[T]) -> tuple[T, T]:
    """One value twice, or two values."""
    if len(values) > 2:
        raise ConfigError(f"{option} takes one or two values, got {len(values)}")
    return values[0], values[-1]
