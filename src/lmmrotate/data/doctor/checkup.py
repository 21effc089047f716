"""A whole examination: everything the doctor knows, over one data set or several splits of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lmmrotate.data.doctor.boxes import box_findings
from lmmrotate.data.doctor.files import annotation_findings
from lmmrotate.data.doctor.findings import Finding
from lmmrotate.data.doctor.names import name_findings
from lmmrotate.data.doctor.pictures import look_at_all, twins
from lmmrotate.data.doctor.units import unit_findings
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

    @property
    def name(self) -> str:
        return str(self.annotations or self.image_folder)


@dataclass(frozen=True, eq=False)
class Examined:
    """One source: what was read, and what is wrong with it."""

    source: Source
    manifest: Manifest
    report: ConversionReport
    content: tuple[Finding, ...]
    """What is wrong with the objects that could be read."""
    others: tuple[Finding, ...]
    """What is wrong with files and images, and objects that could not be read."""
    answer_tokens: tuple[int, ...]
    """For every image, the tokens that its answer takes; empty if they were not counted."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.content, *self.others)


@dataclass(frozen=True, eq=False)
class Checkup:
    """All sources, in the order given."""

    parts: tuple[Examined, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for part in self.parts for finding in part.findings)

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
    answer_tokens: Callable[[Manifest], Callable[[ImageRecord], int]] | None = None,
    max_tokens: int = 0,
    progress: bool = False,
) -> Checkup:
    """Read every source and look for faults.

    Args:
        sources: a data set, or its splits, between which no image may be shared. A picture that two of them
            share is reported for the earlier one, so give first what is trained on.
        classes: the class list; None accepts all names and looks for two spellings of one.
        left_out: names that are left out on purpose.
        dataset: its name, for the record.
        pixels: also decode every image, and compare the pictures of all sources.
        answer_tokens: gives, for a manifest, what counts the tokens of an image's answer; None leaves
            this out.
        max_tokens: the most that an answer may take.
        progress: show a bar on stderr while images are decoded.

    Raises:
        DataError: for what keeps a source from being read at all, such as a missing folder.
    """
    parts = []
    for source in sources:
        manifest, report = source.format.read(
            source.image_folder,
            source.annotations,
            left_out=left_out,
            on_bad="skip",
            dataset=dataset,
            split=source.split,
        )
        counter = answer_tokens(manifest) if answer_tokens and manifest.classes else None
        tokens = tuple(map(counter, manifest.records)) if counter else ()
        others = list(annotation_findings(report, source.annotations))
        if counter:
            others += _long_answers(manifest, tokens, max_tokens)
        content = content_findings(manifest, report, source.format, classes)
        parts.append(Examined(source, manifest, report, tuple(content), tuple(others), tokens))
    return Checkup(tuple(_with_pictures(parts, progress) if pixels else parts))


def content_findings(
    manifest: Manifest, report: ConversionReport, kind: Format, classes: Sequence[str] | None
) -> Iterator[Finding]:
    """What is wrong with the objects that could be read from files of this kind."""
    yield from name_findings(manifest, report, classes)
    yield from unit_findings(manifest, report, kind.has_sizes)
    yield from box_findings(manifest, report)


def _with_pictures(parts: Sequence[Examined], progress: bool) -> list[Examined]:
    manifests = [part.manifest for part in parts]
    pictures = look_at_all(manifests, progress=progress)
    shared = list(twins(manifests, pictures))
    return [
        replace(
            part,
            others=(
                *part.others,
                *(finding for picture in pictures[place] for finding in picture.findings),
                *(finding for owner, finding in shared if owner == place),
            ),
        )
        for place, part in enumerate(parts)
    ]


def _long_answers(manifest: Manifest, answer_tokens: Sequence[int], max_tokens: int) -> list[Finding]:
    """Images whose answers are longer than a model can write."""
    found = []
    for record, tokens in zip(manifest.records, answer_tokens, strict=True):
        if tokens > max_tokens:
            text = (
                f"its {len(record.labels)} objects take about {tokens} tokens, more than {max_tokens}: "
                "cut smaller tiles"
            )
            found.append(Finding("answer too long", "warning", record.image, text, record.image))
    return found
