"""A whole examination: everything the doctor knows, over one data set or several splits of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmmrotate.data.doctor.boxes import box_findings, unit_findings
from lmmrotate.data.doctor.files import annotation_findings, image_findings, leakage_findings
from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.doctor.names import name_findings
from lmmrotate.data.formats.base import ConversionReport, Format
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord


@dataclass(frozen=True)
class Source:
    """Where a data set, or a split of it, lies."""

    image_folder: Path
    annotations: Path | None
    format: Format
    split: str = ""


@dataclass(frozen=True, eq=False)
class Checkup:
    """What was read, and what is wrong with it."""

    manifests: tuple[Manifest, ...]
    reports: tuple[ConversionReport, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)


def examine(
    sources: Sequence[Source],
    *,
    classes: Sequence[str] | None = None,
    left_out: Sequence[str] = (),
    dataset: str = "",
    pixels: bool = True,
    answer_tokens: Callable[[ImageRecord], int] | None = None,
    max_tokens: int = 0,
) -> Checkup:
    """Read every source and look for faults.

    Args:
        sources: a data set, or its splits, between which no image may be shared.
        classes: the class list; None accepts all names and looks for two spellings of one.
        left_out: names that are left out on purpose.
        dataset: its name, for the record.
        pixels: also decode every image, and compare the pictures of all sources.
        answer_tokens: tokens that an image's answer takes; None leaves this out.
        max_tokens: the most that an answer may take.

    Raises:
        DataError: for what keeps a source from being read at all, such as a missing folder.
    """
    manifests, reports = [], []
    findings: list[Finding] = []
    for source in sources:
        manifest, report = source.format.read(
            source.image_folder,
            source.annotations,
            left_out=left_out,
            on_bad="skip",
            dataset=dataset,
            split=source.split,
        )
        manifests.append(manifest)
        reports.append(report)
        findings += annotation_findings(report, source.annotations)
        findings += name_findings(manifest, report, classes)
        findings += unit_findings(manifest, report)
        findings += box_findings(manifest, report)
        if pixels:
            findings += image_findings(manifest)
        if answer_tokens:
            findings += _long_answers(manifest, answer_tokens, max_tokens)
    if pixels:
        findings += leakage_findings(manifests)
    return Checkup(tuple(manifests), tuple(reports), tuple(findings))


def _long_answers(
    manifest: Manifest, answer_tokens: Callable[[ImageRecord], int], max_tokens: int
) -> list[Finding]:
    """Images whose answers are longer than a model can write."""
    found = []
    for record in manifest.records:
        tokens = answer_tokens(record)
        if tokens > max_tokens:
            text = (
                f"its {len(record.labels)} objects take about {tokens} tokens, more than {max_tokens}: "
                "cut smaller tiles"
            )
            found.append(Finding("answer too long", "warning", record.image, text, record.image))
    return found
