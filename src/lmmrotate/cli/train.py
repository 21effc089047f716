"""``lmmrotate train``: fine-tune a model on a manifest."""

from __future__ import annotations

import argparse
import os
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from lmmrotate.cli.common import add_verbosity, quiet_transformers, show, show_json


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "train",
        allow_abbrev=False,
        help="fine-tune a model on a manifest",
        description="Fine-tune a model and write a run directory. Options come from a YAML file, from flags, "
        "or both (flags win). An interrupted run goes on when the same command is given again.",
    )
    parser.add_argument("--config", type=Path, metavar="YAML", help="file of 'option: value' lines")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_verbosity(parser)
    _add_options(parser)
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """One flag an option of ``TrainConfig``; checked there, so that YAML and flags obey the same rules."""
    from lmmrotate.training.config import TrainConfig

    group = parser.add_argument_group("training options")
    for option in fields(TrainConfig):
        several = option.name in ("data_path", "image_folder")
        group.add_argument(
            f"--{option.name}",
            nargs="+" if several else None,
            default=argparse.SUPPRESS,
            metavar="PATH" if several else "VALUE",
            help=_help(option),
        )


def _help(option: Field[Any]) -> str:
    shown = "" if option.default in (None, (), "") else f" (default: {option.default})"
    return str(option.metadata["help"]) + shown


def run(args: argparse.Namespace) -> int:
    from lmmrotate.training.config import TrainConfig, read_config

    names = {option.name for option in fields(TrainConfig)}
    flags: dict[str, Any] = {name: value for name, value in vars(args).items() if name in names}
    config = read_config(args.config, flags)
    from lmmrotate.training.fit import train

    quiet_transformers()
    result = train(config)
    if int(os.environ.get("RANK", "0")) > 0:
        return 0  # under torchrun the first rank speaks for all
    if args.json:
        show_json(vars(result) | {"answers": vars(result.answers)})
    else:
        show(
            f"{result.run_folder}: {result.steps} steps on {result.answers.images} images in "
            f"{result.seconds:.0f} s, mean loss {result.loss:.4f}"
        )
    return 0
