"""``lmmrotate check``: what is wrong with a data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lmmrotate.cli.common import add_verbosity, positive_int, show, show_json

if TYPE_CHECKING:
    from lmmrotate.data.doctor.checkup import Source
    from lmmrotate.data.manifest import Manifest
    from lmmrotate.data.records import ImageRecord


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "check",
        allow_abbrev=False,
        help="find what is wrong with a data set, by file and line",
        description="Read images and annotations in any format, count what is there and report faults: "
        "class names, quads, units, missing or damaged images, pictures that training and test data share. "
        "The exit status is 1 if there is an error among the findings, with --strict also for warnings.",
    )
    parser.add_argument("--image_folder", type=Path, help="default: the manifest's folder")
    parser.add_argument("--annotations", type=Path, help="folder of label files, or the file")
    parser.add_argument(
        "--from", dest="source", metavar="FORMAT", help="default: the known data set's, manifest, or dota"
    )
    parser.add_argument(
        "--against",
        type=Path,
        nargs="+",
        default=[],
        metavar="MANIFEST",
        help="splits to share no image with",
    )
    parser.add_argument(
        "--against_image_folder",
        type=Path,
        metavar="FOLDER",
        help="of theirs (default: the manifest's folder)",
    )
    parser.add_argument("--dataset", default="", help="a known data set gives the class list")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="class list (default: the data set's)")
    parser.add_argument(
        "--language_model_max_length",
        type=positive_int,
        default=1024,
        metavar="TOKENS",
        help="the longest answer that the model can write (default: %(default)s)",
    )
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="FOLDER",
        help="write a corrected copy of images and annotations to a new folder (the --against splits only "
        "say which images to leave out); the original stays as it is",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write an HTML page: findings, histograms, contact sheet"
    )
    parser.add_argument("--no_pixels", action="store_true", help="do not decode the images: faster")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings, too")
    parser.add_argument("--json", action="store_true", help="print findings as JSON")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from lmmrotate.data.catalog import dataset_spec, is_known
    from lmmrotate.data.doctor.checkup import examine
    from lmmrotate.data.doctor.fixing import write_fixed
    from lmmrotate.data.doctor.statistics import statistics
    from lmmrotate.report.checkup import findings_text, statistics_table
    from lmmrotate.report.checkup_page import write_checkup_page

    spec = dataset_spec(args.dataset) if is_known(args.dataset) else None
    classes = args.classes or (spec.classes if spec else None)
    left_out = spec.left_out if spec and not args.classes else ()
    sources = _sources(args)
    limit = args.language_model_max_length
    checkup = examine(
        sources,
        classes=classes,
        left_out=left_out,
        dataset=args.dataset,
        pixels=not args.no_pixels,
        answer_tokens=_answer_tokens,
        max_tokens=limit,
        progress=True,
    )
    fixed = None
    if args.fix:
        fixed = write_fixed(checkup.parts[0], args.fix, classes=classes, progress=True)
    if args.report:
        write_checkup_page(args.report, checkup, max_tokens=limit)
    if args.json:
        findings = [asdict(finding) for finding in checkup.findings]
        show_json({"errors": checkup.errors, "findings": findings})
    else:
        console = Console()
        for part in checkup.parts:
            found = statistics(part.manifest, part.answer_tokens)
            console.print(statistics_table(found, part.source.name, limit))
        if checkup.findings:
            console.print(findings_text(checkup.findings), soft_wrap=True)
        else:
            show("nothing found")
        if fixed:
            show(fixed.summary())
        if args.report:
            show(f"{args.report}")
    return int(checkup.errors > 0 or (args.strict and bool(checkup.findings)))


def _sources(args: argparse.Namespace) -> list[Source]:
    from lmmrotate.cli.formats import source_format
    from lmmrotate.data.doctor.checkup import Source
    from lmmrotate.data.formats import annotation_format

    chosen, folder = source_format(args.source, args.dataset, args.image_folder, args.annotations)
    manifest = annotation_format("manifest")
    others = [Source(args.against_image_folder or path.parent, path, manifest) for path in args.against]
    return [Source(folder, args.annotations, chosen), *others]


def _answer_tokens(manifest: Manifest) -> Callable[[ImageRecord], int]:
    """About how many tokens an image's published answer takes: one for every four letters of names.

    Names are numbered for it: those of a faulty data set may be none that a model can speak.
    """
    from lmmrotate.codec.loc_tokens import LocTokenCodec

    spoken = {name: f"name {i:06}" for i, name in enumerate(manifest.classes)}
    codec = LocTokenCodec(tuple(spoken.values()))

    def count(record: ImageRecord) -> int:
        answer = codec.encode(record.quads, [spoken[label] for label in record.labels], record.wh)
        for name, said in spoken.items():
            answer = answer.replace(said, "x" * len(name))
        marks = answer.count("<")
        letters = len(answer) - sum(len(mark.split(">")[0]) + 2 for mark in answer.split("<")[1:])
        return 2 + marks + -(-letters // 4)

    return count
