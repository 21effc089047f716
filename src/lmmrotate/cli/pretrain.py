"""``lmmrotate pretrain``: a small model from random weights on synthetic scenes."""

from __future__ import annotations

import argparse

from lmmrotate.cli.common import add_verbosity, quiet_transformers, show, show_json
from lmmrotate.cli.options import add_option_flags, read_options


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "pretrain",
        allow_abbrev=False,
        help="train a small model from random weights on synthetic scenes",
        description="Pretrain a tiny Florence-2 in three stages (vision, language, both) on scenes that are "
        "drawn while it learns, and write a run directory. An interrupted run goes on when the same command "
        "is given again. Under torchrun every process takes its share.",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_verbosity(parser)
    from lmmrotate.training.pretrain_config import PretrainConfig

    add_option_flags(parser, PretrainConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lmmrotate.training.pretrain_config import PretrainConfig

    config = read_options(args, PretrainConfig)
    from lmmrotate.training.pretrain import pretrain
    from lmmrotate.training.run_folder import is_first_process

    quiet_transformers()
    result = pretrain(config)
    if not is_first_process():
        return 0  # under torchrun the first rank speaks for all
    if args.json:
        show_json(vars(result))
    else:
        show(
            f"{result.run_folder}: {result.parameters / 1e6:.2f} M parameters, {result.images:,} scenes, "
            f"{result.seconds:.0f} s"
        )
    return 0
