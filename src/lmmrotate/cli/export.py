"""``lmmrotate export``: a checkpoint in another layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, quiet_transformers, show
from lmmrotate.errors import ConfigError


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "export",
        allow_abbrev=False,
        help="write a checkpoint in Transformers' layout or the original Florence-2 one",
        description="Load a run directory or a checkpoint (Transformers-native, original Florence-2 or "
        "published LMMRotate; a folder or a hub id) and write it in another layout. With a class list, a "
        "released checkpoint becomes a run directory, which 'lmmrotate predict' takes.",
    )
    parser.add_argument("source", metavar="CHECKPOINT", help="run directory, checkpoint folder or hub id")
    parser.add_argument("output", metavar="FOLDER", type=Path, help="a new folder")
    parser.add_argument(
        "--to",
        required=True,
        choices=("native", "original"),
        help="native: Transformers' classes; original: Microsoft's code and the published LMMRotate",
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--dataset_type", metavar="NAME", help="class list of a known data set, such as dota_v1"
    )
    given.add_argument("--classes", metavar="A,B,…", help="class list, in the order of the training")
    parser.add_argument(
        "--response_format", default="loc_tokens", help="how the model writes boxes (default: loc_tokens)"
    )
    parser.add_argument("--model_revision", metavar="REV", help="branch, tag or commit on the hub")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.data.catalog import dataset_spec

    classes: tuple[str, ...] = ()
    if args.dataset_type:
        classes = dataset_spec(args.dataset_type).classes
    elif args.classes is not None:
        classes = tuple(name.strip() for name in args.classes.split(","))
        if not all(classes):
            raise ConfigError(f"classes: expected names with commas between them, got {args.classes!r}")
    from lmmrotate.training.export import export_checkpoint

    quiet_transformers()
    folder = export_checkpoint(
        args.source,
        args.output,
        args.to,
        classes=classes,
        response_format=args.response_format,
        revision=args.model_revision,
    )
    show(f"{folder}: {args.to} layout")
    return 0
