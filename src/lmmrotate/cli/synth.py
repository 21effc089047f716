"""``lmmrotate synth``: make a synthetic data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, positive_int, show

DENSITIES = ("sparse", "mixed", "dense")


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "synth",
        help="make a synthetic aerial data set",
        description="Render aerial-like scenes with exact oriented boxes: FOLDER/images and FOLDER/SPLIT.jsonl. "
        "The same options give the same pixels on any machine.",
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
    raise NotImplementedError
