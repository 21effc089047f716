"""``lmmrotate compare``: several results on the same data."""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmrotate.cli.common import add_verbosity, positive_int, show, show_json
from lmmrotate.cli.evaluate import add_kind, add_rules


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "compare",
        allow_abbrev=False,
        help="several results side by side, with significance",
        description="Evaluate several results on one manifest under the same rules: our predictions.jsonl, "
        "or other detectors' files (docs/evaluation.md). Differences are held against the first, on the same "
        "1,000 draws of images (paired bootstrap).",
    )
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULT", help="files or folders to compare")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.jsonl with the ground truth")
    parser.add_argument("--image_folder", type=Path, help="default: the manifest's folder")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what to call the results")
    add_kind(parser)
    add_rules(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page with pictures, too")
    parser.add_argument("--max_images", type=positive_int, default=12, help="in it (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from lmmrotate.data.manifest import read_manifest
    from lmmrotate.errors import ConfigError
    from lmmrotate.evaluation.compare import compare
    from lmmrotate.evaluation.foreign import read_any
    from lmmrotate.report.comparison import comparison_table, write_comparison

    manifest = read_manifest(args.manifest, args.image_folder)
    names = args.names or [str(path) for path in args.results]
    if len(names) != len(args.results):
        raise ConfigError(f"--names: got {len(names)} names for {len(args.results)} results")
    results = [
        (name, read_any(path, manifest, kind=args.kind))
        for name, path in zip(names, args.results, strict=True)
    ]
    entries = compare(
        manifest,
        results,
        iou_threshold=args.iou,
        score_threshold=args.score_threshold,
        protocol=args.protocol,
    )
    if args.report:
        write_comparison(args.report, entries, manifest, max_images=args.max_images)
    if args.json:
        show_json({"results": [entry.to_json() for entry in entries]})
    else:
        Console().print(comparison_table(entries))
        if args.report:
            show(f"{args.report}")
    return 0
