"""``lmmrotate train``: fine-tune a model on a manifest."""

from __future__ import annotations

import argparse

from lmmrotate.cli.common import add_verbosity, quiet_transformers, show, show_json
from lmmrotate.cli.options import add_option_flags, read_options


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "train",
        allow_abbrev=False,
        help="fine-tune a model on a manifest",
        description="Fine-tune a model and write a run directory. Options come from a YAML file, from flags, "
        "or both (flags win). An interrupted run goes on when the same command is given again.",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_verbosity(parser)
    from lmmrotate.training.config import TrainConfig

    add_option_flags(parser, TrainConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.training.config import TrainConfig

    config = read_options(args, TrainConfig)
    from lmmrotate.training.fit import train
    from lmmrotate.training.run_folder import is_first_process

    quiet_transformers()
    result = train(config)
    if not is_first_process():
        return 0  # under torchrun the first rank speaks for all
    if args.json:
        by_part = {
            size.part: {"total": size.total, "trainable": size.trainable} for size in result.parameters
        }
        show_json(vars(result) | {"answers": vars(result.answers), "parameters": by_part})
    else:
        scores = "".join(f", {name} {value:.3f}" for name, value in (result.validation or {}).items())
        sizes = ", ".join(f"{size.part} {size.trainable:,} of {size.total:,}" for size in result.parameters)
        show(
            f"{result.run_folder}: {result.steps} steps on {result.answers.images} images in "
            f"{result.seconds:.0f} s, mean loss {result.loss:.4f}{scores}\nparameters trained: {sizes}"
        )
    return 0
