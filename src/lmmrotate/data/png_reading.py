"""Reading plain PNG fast: 8-bit RGB, not interlaced, without fault.

Inflating with Intel's igzip and undoing the row filters band by band takes half of OpenCV's time, and less
than half of Pillow's. What is not plain, or not as the format wants it, is left to Pillow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from isal import igzip_lib, isal_zlib

from lmmrotate.data.png import EIGHT_BIT_RGB, SIGNATURE

Bytes = npt.NDArray[np.uint8]

_INFLATE_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # isal's stub is wrong
_SUB = 1
_BAND = 1 << 18  # bytes inflated at a time: they stay in the processor's cache


def decode_plain_png(path: Path) -> Bytes | None:
    """The pixels (H, W, 3), or None if the file is anything but a faultless plain PNG.

    Of the chunks besides the pixels nothing is used: transparency and orientation are the caller's business.
    """
    try:
        return _decode(path.read_bytes())
    except (OSError, EOFError, StopIteration, struct.error, _INFLATE_ERROR, _IrregularError):
        return None


class _IrregularError(Exception):
    """A file that is no faultless plain PNG."""


def _decode(content: bytes) -> Bytes:
    chunks = _chunks(memoryview(content))
    kind, header = next(chunks)
    width, height, *form = struct.unpack(">IIBBBBB", header)
    _insist(kind == b"IHDR" and tuple(form) == EIGHT_BIT_RGB and width > 0 and height > 0)
    packed = _pieces(part for kind, part in chunks if kind == b"IDAT")
    inflator = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB)
    stride = 1 + 3 * width
    pixels = np.empty((height, 3 * width), np.uint8)
    above = np.zeros(3 * width, np.uint8)
    step = max(1, _BAND // stride)
    for top in range(0, height, step):
        band = pixels[top : top + step]
        filtered = bytearray()
        while len(filtered) < len(band) * stride:
            piece = next(packed) if inflator.needs_input else b""
            filtered += inflator.decompress(piece, len(band) * stride - len(filtered))
        _insist(_undo_filters(np.frombuffer(filtered, np.uint8).reshape(-1, stride), above, band))
        above = band[-1]
    for piece in packed:  # no more than the checksum may follow
        _insist(inflator.decompress(piece, 1) == b"")
    _insist(inflator.eof)
    return pixels.reshape(height, width, 3)


def _chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of every chunk, checksums compared."""
    _insist(content[:8] == SIGNATURE)
    start, kind = 8, b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", content, start)
        end = start + 8 + size
        (checksum,) = struct.unpack_from(">I", content, end)
        _insist(isal_zlib.crc32(content[start + 4 : end]) == checksum)
        yield kind, content[start + 8 : end]
        start = end + 4


def _pieces(parts: Iterable[memoryview]) -> Iterator[bytes]:
    """The parts joined to fewer ones: OpenCV writes 8 KB each, and every call makes other threads wait."""
    some: list[memoryview] = []
    for part in parts:
        some.append(part)
        if sum(map(len, some)) >= _BAND:
            yield b"".join(some)
            some = []
    if any(some):
        yield b"".join(some)


def _insist(fact: bool) -> None:
    if not fact:
        raise _IrregularError


def _undo_filters(filtered: Bytes, above: Bytes, pixels: Bytes) -> bool:
    """As ``unfilter``. OpenCV filters every row with "Sub": for that, numba need not be loaded."""
    if (filtered[:, 0] == _SUB).all():
        _add_up(filtered[:, 1:], pixels)
        return True
    from lmmrotate.data.png_filters import unfilter

    return unfilter(filtered, above, pixels)


def _add_up(differences: Bytes, pixels: Bytes) -> None:
    """Each sample plus all before it in its row and channel, modulo 256; both (H, 3 W).

    Sums of 1, 2, 4, … neighbours: a dozen additions of whole rows, for which NumPy lets other threads go on,
    take a quarter of the time of its ``accumulate``, for which it does not.
    """
    length = differences.shape[1]
    sums, spare = differences, np.empty_like(differences)
    reach = 3  # samples; the same channel of the next pixel
    while reach < length:
        np.add(sums[:, reach:], sums[:, :-reach], out=spare[:, reach:])
        spare[:, :reach] = sums[:, :reach]
        sums, spare = spare, np.empty_like(spare) if sums is differences else sums
        reach *= 2
    pixels[:] = sums
