"""Exceptions raised by lmmrotate, and the note left for what a model wrote but nobody could read.

* LmmRotateError
  - ConfigError      a config file or option is wrong (fix the config)
  - DataError        an image or annotation is wrong (fix the data)
  - CheckpointError  a run directory or model is missing or incomplete
  - TrainingError    a training cannot go on (numbers that are none, a full disk)
  - Stopped          it was told to stop, has saved, and can go on later
"""

from dataclasses import dataclass


class LmmRotateError(Exception):
    """Base class: the CLI prints it as one line and exits with status 2."""


class ConfigError(LmmRotateError):
    """A config file or command-line option is wrong."""


class DataError(LmmRotateError):
    """An image, annotation, manifest or predictions line is wrong."""


class CheckpointError(LmmRotateError):
    """A run directory or model is missing, incomplete or of a kind we do not know."""


class TrainingError(LmmRotateError):
    """A training cannot go on; the message says what is left of it."""


class Stopped(LmmRotateError):
    """A training was told to stop (SIGTERM) and has saved a checkpoint."""


def first_line(error: Exception) -> str:
    """What an error of a library says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@dataclass(frozen=True)
class Problem:
    """A piece of model output that was not turned into a box. Not an exception: it is counted.

    It lives here because both ``codec`` (which finds problems) and ``data.predictions`` (which
    stores them) need it, and neither imports the other.
    """

    kind: str
    """Short name: "unread_text", "unknown_label", "incomplete_box", …"""
    text: str
    """The offending piece, verbatim."""
