"""``lmmrotate convert``: annotations from one format to another."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, show


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "convert",
        allow_abbrev=False,
        help="annotations from any format to any other, most often to a manifest",
        description="Read images and their annotations and write them in another format. A data set of "
        "your own needs no code: class names are collected unless given. What was read, what was left out "
        "and why is counted.",
    )
    parser.add_argument("--image_folder", type=Path, help="default: the manifest's folder")
    parser.add_argument(
        "--annotations", type=Path, help="folder of label files, or the file (default: images only)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="manifest.jsonl, or what --to asks for"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FORMAT",
        help="format of what is read (default: the known data set's, manifest, or dota); an unknown name "
        "lists all",
    )
    parser.add_argument(
        "--to", default="manifest", metavar="FORMAT", help="format to write (default: %(default)s)"
    )
    parser.add_argument(
        "--dataset",
        default="",
        help="a known data set, which gives the class list, or any name (default: the manifest's, or custom)",
    )
    parser.add_argument(
        "--split", default="", help="name of the split, for the record (default: the manifest's, or all)"
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="class list (default: the data set's, or collected)"
    )
    parser.add_argument(
        "--only",
        type=Path,
        metavar="FILE",
        help="a text file that names the images to read, one a line, with or without ending, such as "
        "ImageSets/Main/trainval.txt (default: all)",
    )
    parser.add_argument(
        "--on_bad",
        choices=("error", "skip"),
        default="error",
        help="an annotation that cannot be used: stop, or leave it out and count (default: %(default)s)",
    )
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.cli.formats import all_formats, source_format
    from lmmrotate.data.convert import convert
    from lmmrotate.data.formats.objects import read_text
    from lmmrotate.errors import ConfigError

    only = args.only and [line.strip() for line in read_text(args.only).splitlines() if line.strip()]
    if only == []:
        raise ConfigError(f"--only: {args.only} names no image")
    source, image_folder = source_format(args.source, args.dataset, args.image_folder, args.annotations)
    conversion = convert(
        image_folder,
        args.annotations,
        args.output,
        dataset=args.dataset,
        split=args.split,
        annotation_format=source.name,
        to=args.to,
        classes=args.classes,
        only=only,
        on_bad=args.on_bad,
        formats=all_formats(),
    )
    show(conversion.summary())
    return 0
