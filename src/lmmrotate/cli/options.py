"""Flags made from an options dataclass, which checks the values: YAML and flags obey the same rules."""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from lmmrotate.training.options import Options


def add_option_flags(parser: argparse.ArgumentParser, kind: type[DataclassInstance]) -> None:
    """``--config``, and one flag a field of ``kind``."""
    parser.add_argument("--config", type=Path, metavar="YAML", help="file of 'option: value' lines")
    group = parser.add_argument_group("options")
    types = get_type_hints(kind)
    for option in fields(kind):
        group.add_argument(
            f"--{option.name}",
            nargs="+" if get_origin(types[option.name]) is tuple else None,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=_help(option),
        )


def read_options(args: argparse.Namespace, kind: type[Options]) -> Options:
    """What ``--config`` says, with the flags laid over it. Raises as ``read_config`` does."""
    from lmmrotate.training.options import read_config

    names = {option.name for option in fields(kind)}
    return read_config(kind, args.config, {name: v for name, v in vars(args).items() if name in names})


def _help(option: Field[Any]) -> str:
    default = option.default
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    shown = "" if default in (None, "") else f" (default: {default})"
    return str(option.metadata["help"]).replace("%", "%%") + shown
