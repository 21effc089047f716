"""What can be put right without asking: a manifest with its plain faults corrected or left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmmrotate.data.doctor.boxes import ANTICLOCKWISE, CROSSING, DUPLICATE, OUTSIDE, usual_turn
from lmmrotate.data.doctor.checkup import Examined, content_findings
from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.doctor.names import MISSPELLED, UNKNOWN, suggestions
from lmmrotate.data.doctor.pictures import LEAKAGE, MISLABELLED, TWICE, UNREADABLE
from lmmrotate.data.doctor.units import SHARES, TWO_CORNERS, second_corners
from lmmrotate.data.formats.base import ConversionReport
from lmmrotate.data.manifest import Manifest
from lmmrotate.geometry.quads import Quads

_DROPPED_OBJECTS = (UNKNOWN, OUTSIDE, DUPLICATE)
_DROPPED_IMAGES = (UNREADABLE, TWICE, LEAKAGE)
_MENDED = (MISSPELLED, CROSSING, ANTICLOCKWISE, SHARES, TWO_CORNERS)
_ROUNDS = 5
"""Mending one fault may show another: corners that cross, given as shares of the image."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A manifest without the faults that can be mended, and what was done."""

    manifest: Manifest
    corrected: Mapping[str, int]
    """By kind of finding, how many were put right."""
    left_out: Mapping[str, int]
    """By kind of finding, how many led to an object, image or label file being left out."""
    remaining: tuple[Finding, ...]
    """What somebody has to decide."""


def correct(part: Examined, classes: Sequence[str] | None) -> Correction:
    """Mend what was found.

    Corrected are misspelled classes, corners in an order in which sides cross or that runs the other way
    than most, shares of the image in place of pixels, two corners read as corner and size, and endings of
    image files (by whoever copies them). Left out are objects that could not be read, of unknown classes,
    doubled or outside the image, and images that cannot be read or whose picture stands twice or in another
    split. Everything else remains as it is.

    Args:
        part: a source as it was examined.
        classes: the class list with which it was examined.
    """
    dropped = {finding.image for finding in part.others if finding.kind in _DROPPED_IMAGES}
    corrected: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    remaining: list[Finding] = []
    for finding in part.others:
        if finding.unread or finding.kind in _DROPPED_IMAGES:
            left_out[finding.kind] += 1
        elif finding.image not in dropped:
            if finding.kind == MISLABELLED:
                corrected[finding.kind] += 1
            else:
                remaining.append(finding)

    kept = [i for i, record in enumerate(part.manifest.records) if record.image not in dropped]
    manifest = replace(part.manifest, records=tuple(part.manifest.records[i] for i in kept))
    report = replace(part.report, places=tuple(part.report.places[i] for i in kept))
    findings = list(part.content)
    if dropped:
        findings = list(content_findings(manifest, report, part.source.format, classes))
    for _ in range(_ROUNDS):
        mendable = [f for f in findings if f.kind in _DROPPED_OBJECTS or f.kind in _MENDED]
        if not mendable:
            break
        corrected.update(f.kind for f in mendable if f.kind in _MENDED)
        left_out.update(f.kind for f in mendable if f.kind in _DROPPED_OBJECTS)
        manifest, report = _mended(manifest, report, mendable, classes)
        findings = list(content_findings(manifest, report, part.source.format, classes))
    return Correction(_of_list(manifest, part, classes), corrected, left_out, (*findings, *remaining))


def _mended(
    manifest: Manifest, report: ConversionReport, findings: Iterable[Finding], classes: Sequence[str] | None
) -> tuple[Manifest, ConversionReport]:
    """Objects put right or dropped; of those that stay, the places."""
    names, turn = suggestions(manifest, classes), usual_turn(manifest)
    by_image: dict[str, list[Finding]] = {}
    for finding in findings:
        by_image.setdefault(finding.image, []).append(finding)
    two_corners = any(finding.kind == TWO_CORNERS for finding in by_image.get("", ()))
    records, all_places = [], []
    for record, places in zip(manifest.records, report.places, strict=True):
        found = by_image.get(record.image, [])
        dropped = {f.index for f in found if f.kind in _DROPPED_OBJECTS}
        keep = [i for i in range(len(record.labels)) if i not in dropped]
        quads, labels = record.quads.copy(), list(record.labels)
        if two_corners:
            quads = _from_two_corners(quads)
        for finding in found:
            if finding.kind == SHARES:
                quads *= record.wh
            elif finding.kind == MISSPELLED and finding.index is not None:
                labels[finding.index] = names[labels[finding.index]] or labels[finding.index]
            elif finding.kind == CROSSING and finding.index is not None:
                quads[finding.index] = _around(quads[finding.index], turn)
            elif finding.kind == ANTICLOCKWISE and finding.index is not None:
                quads[finding.index, 1:] = quads[finding.index, :0:-1].copy()
        records.append(replace(record, quads=quads, labels=tuple(labels)).select(keep))
        all_places.append(tuple(places[i] for i in keep))
    return replace(manifest, records=tuple(records)), replace(report, places=tuple(all_places))


def _from_two_corners(quads: Quads) -> Quads:
    """Upright quads whose width and height were a second corner, as they were meant; others as they are."""
    upright, second = second_corners(quads)
    low = quads.min(axis=1, initial=np.inf)
    meant = np.stack(
        [low, np.stack([second[:, 0], low[:, 1]], 1), second, np.stack([low[:, 0], second[:, 1]], 1)], axis=1
    )
    return np.where(upright[:, None, None], meant, quads)


def _around(quad: Quads, turn: float) -> Quads:
    """The corners (4, 2) in their order around their middle, clockwise if ``turn`` is 1; the first stays."""
    x, y = (quad - quad.mean(axis=0)).T
    turned = np.remainder(turn * (np.arctan2(y, x) - np.arctan2(y[0], x[0])), 2 * np.pi)
    return np.asarray(quad[np.argsort(turned, kind="stable")])


def _of_list(manifest: Manifest, part: Examined, classes: Sequence[str] | None) -> Manifest:
    """The manifest with the class list given, or its own without what was another spelling."""
    spelled_otherwise = {} if classes else suggestions(part.manifest, None)
    return replace(
        manifest, classes=tuple(classes or (c for c in manifest.classes if c not in spelled_otherwise))
    )
