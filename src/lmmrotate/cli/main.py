"""``lmmrotate VERB``: one module a verb; heavy imports wait until the verb runs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lmmrotate import __version__
from lmmrotate.cli import (
    baseline,
    calibrate,
    check,
    compare,
    convert,
    eval,
    evaluate,
    export,
    merge,
    predict,
    pretrain,
    quickstart,
    report,
    submit,
    synth,
    tile,
    train,
)
from lmmrotate.cli.common import set_up_logging
from lmmrotate.errors import LmmRotateError, Stopped

VERBS = (
    *(quickstart, synth, check, convert, tile, train, pretrain, predict, baseline),
    *(eval, calibrate, merge, evaluate, report, compare, submit, export),
)

RESUMING = ("quickstart", "synth", "tile", "train", "pretrain", "predict", "eval", "baseline")
"""Verbs that go on where they were interrupted."""

TERMINATED = 143
"""Exit status of a process that SIGTERM has ended, by the shell's rule (128 + 15)."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmmrotate",
        description="Fine-tune vision-language models to detect oriented objects in aerial images.",
        epilog="'lmmrotate VERB --help' explains a verb. Results go to stdout, logs and progress to stderr.",
    )
    parser.add_argument("--version", action="version", version=f"lmmrotate {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for module in VERBS:
        module.add_parser(verbs)
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; exits with status 2 and a usage line where it is wrong.

    argparse gives up on positional arguments that follow an option (``predict RUN -o FILE IMAGE``): for
    the one verb that takes a list of them, they are picked up here.
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and getattr(args, "images", None) is not None and not any(r.startswith("-") for r in rest):
        args.images = [*args.images, *map(Path, rest)]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status (2 for a user's error, 130 for Ctrl-C, 143 for SIGTERM)."""
    args = parse(argv)
    set_up_logging(getattr(args, "verbose", False))
    try:
        return int(args.run(args))
    except Stopped as error:
        logging.getLogger("lmmrotate").error("lmmrotate %s: %s; the same command goes on", args.verb, error)
        return TERMINATED
    except LmmRotateError as error:
        logging.getLogger("lmmrotate").error("lmmrotate %s: %s", args.verb, error)
        return 2
    except KeyboardInterrupt:
        hint = "; the same command goes on from here" if args.verb in RESUMING else ""
        logging.getLogger("lmmrotate").error("interrupted%s", hint)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left, as `| head` does
        return 0


if __name__ == "__main__":
    sys.exit(main())
