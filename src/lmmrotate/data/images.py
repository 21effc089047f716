"""Reading images of any kind as 8-bit RGB.

What becomes of the kinds that are not plain RGB:

* grey, palette, CMYK and 1-bit images are converted; of an animation the first frame is taken;
* **transparency** is composited on black, the colour that tiles are padded with;
* **more than 8 bits a sample** (16-bit integers, 32-bit integers and floats) are stretched linearly, all
  channels alike, so that the 0.1st and 99.9th percentile of the samples become 0 and 255. Such products
  rarely use their full range (11 of 16 bits is usual), so that dividing by 257 would leave them black;
  the tails are narrow because objects are small and often the brightest thing in a scene. The stretch
  belongs to the array it is given: convert whole scenes, then cut them;
* a file's EXIF **orientation** is applied, so coordinates are those of the upright picture that viewers
  show. An image in memory is taken as it stands.
"""

from __future__ import annotations

import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from lmmrotate.data.png_reading import decode_plain_png
from lmmrotate.errors import DataError

MAX_PIXELS = 1_000_000_000
"""Larger images are refused unread: the largest DOTA scene has 0.8 gigapixels, a bomb any number."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "JPEG2000", "GIF", "PPM")
"""The only formats tried. Pillow knows more, some of which start other programs (EPS: Ghostscript)."""

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".gif", ".ppm", ".pgm")
"""Lower-case file name endings that count as images when a folder is listed."""

_PERCENTILES = (0.1, 99.9)
_SAMPLES = 4_000_000  # percentiles of larger images are taken from about this many evenly spaced samples

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation: what makes the picture upright

# What decoders raise on damaged files, besides Pillow's own errors (which are OSErrors).
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    cv2.error,
)
_GLOBALS_LOCK = threading.Lock()


def read_image(path: Path, *, still: bool = False) -> Image.Image:
    """Read an image file as 8-bit RGB, upright (see the module's notes on other kinds).

    Args:
        still: refuse animations, of which the first frame is taken otherwise.

    Raises:
        DataError: naming the file and what is wrong: missing, empty, not an image, truncated or damaged,
            above ``MAX_PIXELS``, or of a kind that cannot be converted.
    """
    with _opened(path) as image:
        # Pages of a TIFF are most often smaller copies of the first.
        if still and image.format != "TIFF" and getattr(image, "is_animated", False):
            frames = getattr(image, "n_frames", 0)
            raise DataError(f"{path}: an animation of {frames} frames; extract the one that is meant")
        orientation = _orientation(image)
        sixteen_bit_colour = _has_sixteen_bit_colour(image)
        pillow_minds = image.width * image.height > (Image.MAX_IMAGE_PIXELS or MAX_PIXELS)
        try:
            with _pillow_limit() if pillow_minds else nullcontext():
                image.load()
            rgb = _sixteen_bit_rgb(path) if sixteen_bit_colour else None
            rgb = rgb or _pillow_to_rgb(image)
        except _DAMAGED as error:
            raise DataError(f"{path}: truncated or damaged image: {error}") from error
    return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels (H, W, 3) of ``read_image``, for plain PNG in half the time.

    Raises:
        DataError: as ``read_image``.
    """
    with _opened(path) as image:
        plain = (
            image.format == "PNG"
            and image.mode == "RGB"
            and not image.has_transparency_data
            and not _has_sixteen_bit_colour(image)
            and not getattr(image, "is_animated", False)
            and _orientation(image) == 1
        )
    pixels = decode_plain_png(path) if plain else None
    return np.asarray(read_image(path)) if pixels is None else pixels


def image_size(path: Path) -> tuple[int, int]:
    """``(width, height)`` in pixels of the upright image, however large; only the file's header is read.

    Raises:
        DataError: as ``read_image``, for what the header tells but the number of pixels.
    """
    with _opened(path, limit=None) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def to_rgb(image: Image.Image | npt.NDArray[Any]) -> Image.Image:
    """An image in memory as 8-bit RGB, converted as ``read_image`` converts files, but never turned.

    Args:
        image: a Pillow image of any mode, or an array in RGB(A) order, channels last: (H, W), (H, W, 3) or
            (H, W, 4), uint8 or uint16.

    Raises:
        DataError: for another shape or type, or a Pillow image whose file is damaged.
    """
    if isinstance(image, Image.Image):
        try:
            return _pillow_to_rgb(image)
        except _DAMAGED as error:
            raise DataError(f"image {image.size}: damaged, or of mode {image.mode}: {error}") from error
    array = np.asarray(image)
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise DataError(
            f"an image array must have shape (H, W), (H, W, 3) or (H, W, 4), channels last; got {array.shape}"
        )
    if array.dtype not in (np.uint8, np.uint16):
        raise DataError(f"an image array must be uint8 or uint16, got {array.dtype}; scale it first")
    return _array_to_rgb(array)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The image files that files and folders stand for, each once.

    A file stands for itself, whatever its name; a folder for the files in it (not below it) that end in one
    of ``EXTENSIONS`` and are not hidden, by name.

    Raises:
        DataError: for a path that does not exist, or a folder without images.
    """
    found: dict[Path, None] = {}  # a set that keeps its order
    for path in paths:
        if path.is_file():
            found[path] = None
            continue
        if not path.is_dir():
            raise DataError(f"{path}: no such file or folder")
        inside = [p for p in sorted(path.iterdir()) if p.suffix.lower() in EXTENSIONS and p.name[0] != "."]
        if not inside:
            deeper = images_below(path)
            hint = f"; {len(deeper)} lie in folders below, such as {deeper[0]}" if deeper else ""
            raise DataError(f"{path}: no images in this folder; looked for {', '.join(EXTENSIONS)}{hint}")
        found.update(dict.fromkeys(inside))
    return list(found)


def images_below(folder: Path) -> list[str]:
    """The images in folders inside ``folder``, which ``find_images`` passes by; relative to it, sorted."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        if (inner := Path(where).relative_to(folder)) != Path():
            names = [n for n in files if Path(n).suffix.lower() in EXTENSIONS and n[0] != "."]
            found += [(inner / name).as_posix() for name in names]
    return sorted(found)


@contextmanager
def _opened(path: Path, limit: int | None = MAX_PIXELS) -> Iterator[Image.Image]:
    """The file opened by Pillow, its header read; every complaint becomes a DataError."""
    try:
        if not path.is_file():
            raise DataError(f"{path}: {'a folder, not an image' if path.is_dir() else 'no such file'}")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: empty file (0 bytes), expected an image")
        with _pillow_limit(limit):
            image = Image.open(path, formats=FORMATS)
            # Kept by the image. Not image.getexif(): for PNG that decodes the whole picture.
            Image.Image.getexif(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(
            f"{path}: more than {MAX_PIXELS:,} pixels, the limit for one image; cut it into parts first "
            "(lmmrotate tile reads TIFF window by window)"
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image that can be read; known kinds: {', '.join(FORMATS)}") from None
    except _DAMAGED as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error
    with image:
        yield image


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings: those about odd metadata are no business of the caller's.

    Python's warning filters are one for all threads: keep the body short, other threads wait for its end.
    """
    with _GLOBALS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _pillow_limit(most: int | None = MAX_PIXELS) -> Iterator[None]:
    with quiet():  # which also lets one thread at a time change Pillow's limit
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns these itself, and gives the size of the upright picture
        return 1
    return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))


def _pillow_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _array_to_rgb(np.asarray(image))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        rgb = Image.alpha_composite(black, picture).convert("RGB")
    else:
        rgb = image.convert("RGB")
    rgb.info.clear()  # an orientation kept there would turn the picture once more in another library
    return rgb


def _has_sixteen_bit_colour(image: Image.Image) -> bool:
    """Whether an image not yet loaded has colour samples of which Pillow would keep the upper 8 bits."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.mode not in ("RGB", "RGBA"):
        return False
    raw_mode = tiles[0].args if isinstance(tiles[0].args, str) else (*(tiles[0].args or ()), "")[0]
    return ";16" in str(raw_mode)


def _sixteen_bit_rgb(path: Path) -> Image.Image | None:
    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)  # BGR(A)
    if array is None or array.dtype != np.uint16 or array.ndim != 3 or array.shape[2] not in (3, 4):
        return None  # of a kind that OpenCV reads otherwise: Pillow's upper 8 bits will do
    return _array_to_rgb(array[..., [2, 1, 0, 3][: array.shape[2]]])


def _array_to_rgb(array: npt.NDArray[Any]) -> Image.Image:
    """(H, W), (H, W, 3) or (H, W, 4), of any number type."""
    if array.dtype != np.uint8:
        colour = _stretch(array[..., :3]) if array.ndim == 3 else _stretch(array)
        if array.ndim == 3 and array.shape[2] == 4:
            alpha = (array[..., 3:] >> 8).astype(np.uint8)
            colour = np.concatenate([colour, alpha], axis=2)
        array = colour
    return _pillow_to_rgb(Image.fromarray(np.ascontiguousarray(array)))


def _stretch(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Numbers of any type to 0…255 by percentiles; what is not finite becomes 0."""
    return stretched(samples, *stretch_limits(samples))


def stretch_limits(samples: npt.NDArray[Any]) -> tuple[float, float]:
    """The values that become 0 and 255 when samples of any number type and shape are stretched."""
    known = samples[np.isfinite(samples)]
    known = known[:: 1 + len(known) // _SAMPLES].astype(np.float64)
    low, high = np.percentile(known, _PERCENTILES) if len(known) else (0.0, 0.0)
    if low == high and len(known):  # a dark sea with a few ships
        low, high = known.min(), known.max()
    if low == high:  # nothing to stretch
        low, high = 0.0, float(np.iinfo(samples.dtype).max if samples.dtype.kind in "iu" else 1.0)
    return float(low), float(high)


def stretched(samples: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Samples as bytes, ``low`` as 0 and ``high`` as 255; what is not finite becomes 0."""

    def scale(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        scaled = (values.astype(np.float64) - low) * (255 / (high - low))
        finite = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
        return np.rint(np.clip(finite, 0, 255)).astype(np.uint8)

    if samples.dtype == np.uint16:  # by table: a scene in float64 would take four times its memory
        table: npt.NDArray[np.uint8] = scale(np.arange(65_536))
        return np.asarray(table[samples])
    return scale(samples)
