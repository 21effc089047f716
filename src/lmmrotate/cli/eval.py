"""``lmmrotate eval``: predict and evaluate in one go, with the options of the published command."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmrotate.assets import model_path
from lmmrotate.cli.common import add_verbosity, positive_int, quiet_transformers, show, show_json
from lmmrotate.cli.evaluate import add_rules
from lmmrotate.cli.predict import add_decoding, decoding_options, draw_predictions
from lmmrotate.errors import DataError
from lmmrotate.runs import RUN_FILE

if TYPE_CHECKING:
    from lmmrotate.cli.eval_data import EvalData
    from lmmrotate.evaluation.results import Evaluation
    from lmmrotate.inference.predictor import Predictor
    from lmmrotate.inference.shares import Share

log = logging.getLogger("lmmrotate")

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class _Model:
    """A run directory, or one of its checkpoints."""

    path: str
    name: str
    """Of its folder among the results."""
    run: str
    """Of the run that it belongs to."""
    step: int | None = None
    """Updates, of a checkpoint."""


@dataclass(frozen=True, eq=False)
class _Row:
    model: _Model
    split: str
    evaluation: Evaluation


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "eval",
        allow_abbrev=False,
        help="predict and evaluate in one go, one or many models",
        description="Predict splits with models and score them; one table over all. What was predicted "
        "before is used again if model, options and images are the same. A split without labels ends in an "
        "archive for the evaluation server.",
    )
    parser.add_argument(
        "--model_ckpt_path", nargs="+", required=True, metavar="RUN", help="run directories, or tiny"
    )
    parser.add_argument(
        "--eval_intermediate_checkpoints",
        nargs="?",
        const=True,
        default=False,
        type=_yes_or_no,
        help="also every checkpoint of the runs; a page shows the curve",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--manifest", nargs="+", type=Path, default=[], help="manifests, of any data set")
    data.add_argument("--image_folder", type=Path, help="where their images are (default: beside each)")
    data.add_argument("--dataset_type", metavar="NAME", help="or: a known data set, such as dota_v1")
    data.add_argument("--data_root", type=Path, help="the folder that holds it, a folder or manifest a split")
    data.add_argument("--split", nargs="+", default=["test"], help="its splits (default: test)")
    data.add_argument("--clip_num", type=positive_int, metavar="N", help="only N images of each split")
    data.add_argument("--shuffle_seed", type=int, default=0, help="by which they are drawn (default: 0)")
    parser.add_argument(
        "--result_path", type=Path, default=Path("results"), help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--vis", nargs="?", const=True, default=False, type=_yes_or_no, help="draw every image"
    )
    parser.add_argument(
        "--pass_evaluate", nargs="?", const=True, default=False, type=_yes_or_no, help="predict only"
    )
    parser.add_argument("--torch_dtype", default="float32", help="float32, bfloat16 or float16")
    parser.add_argument("--attn_implementation", default="sdpa", help="sdpa, eager or flash_attention_2")
    add_decoding(parser)
    add_rules(parser)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    add_verbosity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.cli.eval_data import eval_data
    from lmmrotate.inference.predictor import Predictor, own_device
    from lmmrotate.inference.shares import share_from_environment

    clip = (args.clip_num, args.shuffle_seed) if args.clip_num else None
    splits = eval_data(args.manifest, args.image_folder, args.dataset_type, args.data_root, args.split, clip)
    models = _models(args.model_ckpt_path, args.eval_intermediate_checkpoints)
    quiet_transformers()
    rows: list[_Row] = []
    unreadable = 0
    share = share_from_environment()
    for model in models:
        predictor = Predictor.from_run(
            model.path,
            device=args.device or own_device(share.local_rank),
            torch_dtype=args.torch_dtype,
            attn_implementation=args.attn_implementation,
        )
        for data in splits:
            row, missed = _one(args, predictor, share, model, data)
            rows += [row] if row else []
            unreadable += missed
    if rows:
        _conclude(args, rows)
    return 1 if unreadable else 0


def _one(
    args: argparse.Namespace, predictor: Predictor, share: Share, model: _Model, data: EvalData
) -> tuple[_Row | None, int]:
    """Predict and evaluate one split with one model; its row, and how many images could not be read."""
    from lmmrotate.data.predictions import read_predictions
    from lmmrotate.inference.batch import predict_to_file
    from lmmrotate.inference.sources import FileSource

    manifest = data.manifest
    output = args.result_path / model.name / f"{data.name}.jsonl"
    result = predict_to_file(
        predictor,
        [(record.image, FileSource(manifest.image_path(record))) for record in manifest.records],
        output,
        batch_size=args.batch_size,
        options=decoding_options(args),
        share=share,
    )
    missed = len(result.unreadable)
    if not args.json:
        reused = ", all taken over" if not result.predicted and result.resumed else ""
        show(f"{output}: {len(manifest.records) - missed} images{reused}, {missed} unreadable")
    if not result.finished:  # another process goes on with it
        return None, missed
    predictions = read_predictions(output)
    if args.vis:
        paths = {record.image: manifest.image_path(record) for record in manifest.records}
        draw_predictions(output, paths, output.with_suffix(""))
    if args.pass_evaluate:
        return None, missed
    if not data.labelled:
        _submit(args, data, output, predictions)
        return None, missed
    return _Row(model, data.name, _evaluate(args, data, output, predictions)), missed


def _evaluate(args: argparse.Namespace, data: EvalData, output: Path, predictions: Any) -> Evaluation:
    import json

    from lmmrotate.data.jsonl import write_text_atomic
    from lmmrotate.evaluation.evaluate import evaluate
    from lmmrotate.report.html import write_report

    evaluation = evaluate(
        data.manifest,
        predictions,
        iou_threshold=args.iou,
        score_threshold=args.score_threshold,
        protocol=args.protocol,
    )
    text = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False, default=str)
    write_text_atomic(output.with_suffix(".json"), [text + "\n"])
    write_report(output.with_suffix(".html"), evaluation, data.manifest, predictions)
    return evaluation


def _submit(args: argparse.Namespace, data: EvalData, output: Path, predictions: Any) -> None:
    """Of a split without labels: tiles are merged to scenes, and packed for the server."""
    from lmmrotate.evaluation.merging import merge_predictions, tiles_named_by
    from lmmrotate.evaluation.submission import write_submission

    tiles = data.manifest if any(record.scene for record in data.manifest.records) else None
    with suppress(DataError):  # names such as P0001__1024__824___0 say so, too
        tiles = tiles or tiles_named_by(predictions)
    if tiles is not None:
        predictions = merge_predictions(predictions, tiles)
        predictions.write(output.with_suffix(".scenes.jsonl"))
    if not data.server or args.clip_num:
        if not args.json:
            show(f"{data.name}: has no labels to evaluate by; {output} holds the predictions")
        return
    archive = output.with_suffix(".zip")
    write_submission(predictions, archive, data.server)
    if not args.json:
        show(f"{archive}: no labels here; for the {data.server} evaluation server")


def _conclude(args: argparse.Namespace, rows: Sequence[_Row]) -> None:
    """One table over all, and the curves."""
    import json

    from lmmrotate.data.jsonl import write_text_atomic
    from lmmrotate.report.curve import write_curve

    listed = [
        {"model": row.model.name, "step": row.model.step, "split": row.split} | _numbers(row.evaluation)
        for row in rows
    ]
    write_text_atomic(args.result_path / "results.json", [json.dumps(listed, indent=2) + "\n"])
    if args.json:
        show_json({"results": listed})
    else:
        _print_table(rows)
    for run_name, split in dict.fromkeys((row.model.run, row.split) for row in rows):
        points = [
            (row.model.step, row.evaluation)
            for row in rows
            if (row.model.run, row.split) == (run_name, split) and row.model.step is not None
        ]
        if len(points) > 1:
            path = args.result_path / f"{run_name}-{split}.html"
            write_curve(path, f"{run_name} on {split}", points)
            if not args.json:
                show(str(path))


def _print_table(rows: Sequence[_Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lmmrotate.report.text import fraction, printable

    table = Table(caption="the best of each split in bold")
    for heading in ("model", "split"):
        table.add_column(heading, overflow="fold")
    names = list(_numbers(rows[0].evaluation))
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        cells = []
        for name, value in _numbers(row.evaluation).items():
            of_split = [_numbers(r.evaluation)[name] for r in rows if r.split == row.split]
            best = value == max(of_split) and len(of_split) > 1
            cells.append(Text(fraction(value, 4), style="bold" if best else ""))
        table.add_row(Text(printable(row.model.name, 60)), Text(printable(row.split, 40)), *cells)
    Console().print(table)


def _numbers(evaluation: Evaluation) -> dict[str, float]:
    return {"mAP": evaluation.map_11, "mAP_nc": evaluation.map_nc, "mF1": evaluation.mf1}


def _models(paths: Sequence[str], with_checkpoints: bool) -> list[_Model]:
    """What is to be evaluated, each under a name of its own."""
    found: list[_Model] = []
    names: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        folder = model_path(path)
        stem = folder.resolve().name
        if checkpoint := _CHECKPOINT.fullmatch(stem):
            run = folder.resolve().parent.parent.name
            stem = f"{run}-{stem}"
            name = _own(names, stem, path)
            found.append(_Model(path, name, run, int(checkpoint[1])))
            continue
        name = _own(names, stem, path)
        if with_checkpoints:
            parts = [p.parent for p in folder.glob(f"checkpoints/checkpoint-*/{RUN_FILE}")]
            if not parts:
                log.warning("%s keeps no checkpoints: it is evaluated as it is (save_total_limit)", path)
            for part in sorted(parts, key=lambda p: int(p.name.removeprefix("checkpoint-"))):
                step = int(part.name.removeprefix("checkpoint-"))
                found.append(_Model(str(part), f"{name}-{part.name}", name, step))
        if not with_checkpoints or (folder / RUN_FILE).exists() or not found:
            found.append(_Model(path, name, name))
    return found


def _own(names: dict[str, str], name: str, path: str) -> str:
    """``name``, or with a number behind it if another path has it."""
    number, own = 2, name
    while names.setdefault(own, path) != path:
        own, number = f"{name}-{number}", number + 1
    return own


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}")
    return text.lower() == "true"
