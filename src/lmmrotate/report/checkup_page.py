"""The doctor's report as one HTML file (see ``page``): numbers, findings, histograms, contact sheet."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lmmrotate.data.doctor.checkup import Checkup, Examined
from lmmrotate.data.doctor.findings import Finding, by_kind
from lmmrotate.data.doctor.statistics import Statistics, range_text, statistics
from lmmrotate.data.images import read_image
from lmmrotate.data.jsonl import write_text_atomic
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import DataError
from lmmrotate.report.contact import thumbnail
from lmmrotate.report.gallery import data_uri
from lmmrotate.report.histograms import angles_svg, answer_tokens_svg, classes_svg, per_image_svg, sides_svg
from lmmrotate.report.page import card_list, facts_list, page_end, page_start, page_text
from lmmrotate.report.palette import class_colours, hex_code
from lmmrotate.report.text import count

_PICTURE_BYTES = 60_000
_MOST_PLACES = 50  # of one kind of finding
_MOST_SUSPICIOUS_OF_A_KIND = 3


def write_checkup_page(
    path: Path,
    checkup: Checkup,
    *,
    max_images: int = 24,
    max_tokens: int,
    date: datetime.date | None = None,
) -> None:
    """Write the report to ``path``, whole or not at all.

    Args:
        checkup: what the doctor found.
        max_images: pictures of each source: half of them suspicious, where there are as many, the others
            drawn at random (the same ones every time).
        max_tokens: the longest answer that a model can write.
        date: shown in the head; default: today.
    """
    write_text_atomic(path, _page(checkup, max_images, max_tokens, date))


def _page(checkup: Checkup, max_images: int, max_tokens: int, date: datetime.date | None) -> Iterator[str]:
    first = checkup.parts[0]
    title = f"Data check: {first.manifest.dataset or first.source.name}"
    yield page_start(title)
    yield f"<header>\n<h1>{page_text(title)}</h1>\n"
    yield from facts_list(
        [
            *(("Source", f"<code>{page_text(part.source.name, 120)}</code>") for part in checkup.parts),
            ("Format", page_text(first.source.format.name)),
            ("Date", (date or datetime.date.today()).isoformat()),
        ]
    )
    yield (
        '<nav aria-label="Sections"><a href="#findings">Findings</a>'
        '<a href="#numbers-0">Numbers</a><a href="#images-0">Images</a></nav>\n</header>\n<main>\n'
    )
    warnings = len(checkup.findings) - checkup.errors
    yield from card_list(
        [
            ("Images", f"{sum(part.report.images for part in checkup.parts):,}", "read"),
            ("Objects", f"{sum(part.report.object_count for part in checkup.parts):,}", "read"),
            ("Errors", f"{checkup.errors:,}", "spoil training or evaluation"),
            ("Warnings", f"{warnings:,}", "odd, but may be meant"),
        ]
    )
    yield from _findings_section(checkup.findings)
    for place, part in enumerate(checkup.parts):
        found = statistics(part.manifest, part.answer_tokens)
        yield from _numbers_section(part, found, place, max_tokens)
        yield from _images_section(part, place, max_images)
    yield page_end()


def _findings_section(findings: Sequence[Finding]) -> Iterator[str]:
    yield '<section id="findings">\n<h2>Findings</h2>\n'
    if not findings:
        yield '<p class="note">Nothing found.</p>\n'
    for kind, same in by_kind(findings).items():
        yield (
            f'<details class="finding panel {same[0].severity}"><summary><strong>{page_text(kind)}</strong> '
            f"{same[0].severity}, {count(len(same), 'time')}. {page_text(same[0].text)}</summary>\n<ul>\n"
        )
        for finding in same[:_MOST_PLACES]:
            yield f"<li><code>{page_text(finding.where)}</code> {page_text(finding.text, 400)}</li>\n"
        if len(same) > _MOST_PLACES:
            yield f"<li>and {len(same) - _MOST_PLACES:,} more</li>\n"
        yield "</ul></details>\n"
    yield "</section>\n"


def _numbers_section(part: Examined, found: Statistics, place: int, max_tokens: int) -> Iterator[str]:
    sides = found.image_sides_px
    rows = [
        ("Images", f"{found.images:,}, {int((found.per_image == 0).sum()):,} of them without objects"),
        ("Objects", f"{sum(found.objects.values()):,}, {found.difficult:,} of them difficult"),
        ("Image width", range_text(sides[:, 0], "px")),
        ("Image height", range_text(sides[:, 1], "px")),
        ("Objects in an image", range_text(found.per_image)),
        ("Long side", range_text(found.sides_px[:, 0], "px")),
        ("Short side", range_text(found.sides_px[:, 1], "px")),
        ("Angle of long side", range_text(np.degrees(found.angles_rad), "degrees")),
        ("Answer tokens", range_text(found.answer_tokens)),
    ]
    yield f'<section id="numbers-{place}">\n<h2>Numbers: {page_text(part.source.name)}</h2>\n'
    yield '<div class="panel"><table class="short">\n<tbody>\n'
    yield from (f'<tr><th scope="row">{name}</th><td class="text">{text}</td></tr>\n' for name, text in rows)
    yield "</tbody></table>\n"
    yield '<p class="note">Ranges: least / median / 95th percentile / largest.</p></div>\n'
    plots = [
        ("Classes", classes_svg(found, f"classes{place}")),
        ("Sizes", sides_svg(found, f"sides{place}")),
        ("Directions of long sides", angles_svg(found, f"angles{place}")),
        ("Density", per_image_svg(found, f"density{place}")),
        ("Length of answers", answer_tokens_svg(found, f"tokens{place}", max_tokens)),
    ]
    yield '<div class="plots">\n'
    yield from (f'<figure class="panel"><h3>{name}</h3>{svg}</figure>\n' for name, svg in plots)
    yield "</div>\n</section>\n"


def _images_section(part: Examined, place: int, max_images: int) -> Iterator[str]:
    records = {record.image: record for record in part.manifest.records}
    suspicious = _suspicious(part.findings, records)
    chosen = list(suspicious)[: max(max_images // 2, max_images - len(records))]
    rest = [name for name in records if name not in suspicious]
    number = min(len(rest), max_images - len(chosen))
    sample = sorted(np.random.default_rng(0).choice(len(rest), number, replace=False).tolist())
    yield f'<section id="images-{place}">\n<h2>Images: {page_text(part.source.name)}</h2>\n'
    if chosen:
        yield '<h3>Suspicious</h3>\n<p class="note">Objects in question in red, others in grey.</p>\n'
        yield from _sheet(part.manifest, [(records[n], suspicious[n]) for n in chosen])
    if sample:
        yield "<h3>Drawn at random, from images without findings</h3>\n"
        yield f'<p class="note">{_legend(part.manifest)}</p>\n'
        yield from _sheet(part.manifest, [(records[rest[i]], []) for i in sample])
    yield "</section>\n"


def _suspicious(findings: Iterable[Finding], images: Iterable[str]) -> dict[str, list[Finding]]:
    """Images with findings, a few of every kind first; kinds in the order of the findings' section."""
    known = set(images)
    kinds = by_kind(f for f in findings if f.image in known)
    first = [f.image for same in kinds.values() for f in same[:_MOST_SUSPICIOUS_OF_A_KIND]]
    every = [f.image for same in kinds.values() for f in same]
    ordered: dict[str, list[Finding]] = {name: [] for name in (*first, *every)}
    for same in kinds.values():
        for finding in same:
            ordered[finding.image].append(finding)
    return ordered


def _legend(manifest: Manifest) -> str:
    occurring = {label for record in manifest.records for label in record.labels}
    return " ".join(
        f'<span class="key" style="--swatch: {hex_code(colour)}">{page_text(label, 40)}</span>'
        for label, colour in class_colours(manifest.classes).items()
        if label in occurring
    )


def _sheet(manifest: Manifest, items: Iterable[tuple[ImageRecord, list[Finding]]]) -> Iterator[str]:
    colours = class_colours(manifest.classes)
    yield '<div class="sheet">\n'
    for record, findings in items:
        name = page_text(record.image, 120)
        kinds = ", ".join(dict.fromkeys(page_text(finding.kind) for finding in findings))
        caption = kinds or count(len(record.labels), "object")
        marked = sorted({finding.index for finding in findings if finding.index is not None})
        try:
            picture = thumbnail(read_image(manifest.image_path(record)), record, marked, colours)
        except DataError:
            image = '<div class="missing">cannot be read</div>'
        else:
            image = f'<img src="{data_uri(picture, _PICTURE_BYTES)}" loading="lazy" alt="{name}: {caption}">'
        yield f"<figure>{image}<figcaption>{name}<br><span>{caption}</span></figcaption></figure>\n"
    yield "</div>\n"
