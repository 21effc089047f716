"""``lmmrotate calibrate``: scores that are probabilities."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lmmrotate.cli.common import add_running, add_verbosity, quiet_transformers, show, show_json

if TYPE_CHECKING:
    from lmmrotate.evaluation.results import Evaluation


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "calibrate",
        allow_abbrev=False,
        help="make a run's scores probabilities, by a validation manifest",
        description="Choose the formula for scores with the best mAP on a manifest that the model was not "
        "trained on, fit how likely boxes of each score are right, and store both in the run directory: "
        "predict uses them from then on.",
    )
    parser.add_argument("model", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--manifest", type=Path, required=True, help="validation manifest.jsonl")
    parser.add_argument("--image_folder", type=Path, help="where its images are (default: beside it)")
    parser.add_argument(
        "--method",
        choices=("isotonic", "platt"),
        default="isotonic",
        help="isotonic: any rising curve; platt: a logistic one, for fewer than about 200 boxes "
        "(default: %(default)s)",
    )
    parser.add_argument("--formula", help="use this one (default: that with the best mAP)")
    add_running(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.data.manifest import read_manifest
    from lmmrotate.inference.calibrating import cross_fitted, fit, judged_formulas, take_sample
    from lmmrotate.inference.calibration import FILE
    from lmmrotate.inference.predictor import Predictor

    manifest = read_manifest(args.manifest, args.image_folder)
    manifest.require_images()
    quiet_transformers()
    predictor = Predictor.from_run(args.model, device=args.device)
    sample = take_sample(predictor, manifest, batch_size=args.batch_size, progress=True)
    rows = judged_formulas(sample)
    formula = args.formula or next(iter(rows))
    calibration = fit(sample, formula, args.method)
    after = cross_fitted(sample, formula, args.method)
    calibration.write(args.model)
    if args.json:
        numbers = {name: _numbers(result) for name, result in rows.items()}
        show_json({"formula": formula, "method": args.method, "formulas": numbers, "after": _numbers(after)})
    else:
        _print_table(rows, formula, args.method, after)
        show(f"{args.model / FILE}: scores are {formula}, {args.method} calibration")
    return 0


def _print_table(rows: Mapping[str, Evaluation], formula: str, method: str, after: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=f"{formula} calibrated: each half of the images by the other half's curve")
    table.add_column("score")
    for heading in ("mAP", "mAP - mAP_nc", "mAP area", "calibration error"):
        table.add_column(heading, justify="right")
    for name, result in [*rows.items(), (f"{formula}, {method}", after)]:
        table.add_row(name, *(f"{value:.3f}" for value in _numbers(result).values()))
    Console().print(table)


def _numbers(result: Evaluation) -> dict[str, float]:
    return {
        "mAP": result.map_11,
        "gain": result.map_11 - result.map_nc,
        "mAP_area": result.map_area,
        "calibration_error": result.details.calibration.ece if result.details else float("nan"),
    }
