"""Results of other detectors, by the file formats they come in."""

from lmmrotate.evaluation.foreign.reading import KINDS, read_any, read_foreign

__all__ = ["KINDS", "read_any", "read_foreign"]
