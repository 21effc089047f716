"""Images of any size, read window by window.

A TIFF of more than ``WINDOWED_FROM`` pixels is read with rasterio (extra ``geo``), so that a scene of
50,000 x 50,000 px never lies in memory; any other image is read whole. Both give the same 8-bit RGB pixels as
``read_image``: of several bands the first three, an alpha band composited on black, and samples of more than
8 bits stretched by the percentiles of the scene, which a large one gives by every n-th pixel.
``open_raster`` reads all of ``RASTERS`` with rasterio, whatever their samples. Pixels that they declare to be
no data are black, and take no part in the percentiles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.data.georeference import Georeference
from lmmrotate.data.images import MAX_PIXELS, image_size, quiet, read_pixels, stretch_limits, stretched
from lmmrotate.errors import ConfigError, DataError

log = logging.getLogger(__name__)

Window = Callable[[int, int, int, int], npt.NDArray[np.uint8]]
"""From x0, y0, x1, y1 inside the image to its pixels (y1 - y0, x1 - x0, 3), RGB."""

WINDOWED_FROM = 64_000_000
"""Pixels; smaller images are read whole, which is faster."""

_CACHE_MB = 256
_OVERVIEW_SIDE = 2000  # pixels; of which the percentiles of a large scene are taken


MAX_RASTER_PIXELS = 100_000_000_000
"""Of a scene that is read window by window; a file that states more is taken for a bomb."""

RASTERS = (".tif", ".tiff", ".vrt", ".jp2")
"""File name endings of what may have a place on Earth."""


@dataclass(frozen=True, eq=False)
class Raster:
    """An open image."""

    wh: tuple[int, int]
    read: Window


@contextmanager
def open_windows(path: Path) -> Iterator[Window]:
    """Open an image for reading windows of it; georeference and no-data values do not matter.

    Raises:
        DataError: as ``read_image``; also for a TIFF above ``MAX_PIXELS`` where rasterio is not installed,
            and for a window that cannot be read.
    """
    width, height = image_size(path)
    large = width * height > WINDOWED_FROM
    if path.suffix.lower() in (".tif", ".tiff") and large and _have_rasterio():
        with _raster(path) as raster:
            yield raster.read
        return
    if large and width * height > MAX_PIXELS and path.suffix.lower() in (".tif", ".tiff"):
        raise DataError(
            f"{path}: {width} x {height} px is too large to be read whole; "
            "pip install 'lmmrotate[geo]' to read it window by window"
        )
    pixels = read_pixels(path)
    yield lambda x0, y0, x1, y1: pixels[y0:y1, x0:x1]


@contextmanager
def open_raster(path: Path, bands: Sequence[int] = ()) -> Iterator[Raster]:
    """Open an image with its place on Earth, if it has one.

    Args:
        path: an image, or one of ``RASTERS``.
        bands: one, or three for red, green and blue, counted from 1; default: see above.

    Raises:
        ConfigError: for bands that the file does not have, or if choosing them needs rasterio.
        DataError: as ``open_windows``.
    """
    if bands and not _have_rasterio():
        raise ConfigError("choosing bands needs rasterio: pip install 'lmmrotate[geo]'")
    if _have_rasterio() and (bands or path.suffix.lower() in RASTERS):
        with _raster(path, bands, holes=True) as raster:
            yield raster
        return
    with open_windows(path) as window:
        yield Raster(image_size(path), window)


def raster_size(path: Path) -> tuple[int, int]:
    """``(width, height)`` in pixels, of an image or one of ``RASTERS``, by the file's header.

    Raises:
        DataError: as ``read_image``, for what the header tells: also for more than ``MAX_PIXELS``, or of one
            of ``RASTERS`` more than ``MAX_RASTER_PIXELS``.
    """
    is_raster = path.suffix.lower() in RASTERS and _have_rasterio()
    if is_raster:
        with _opened(path) as file:
            width, height = file.width, file.height
    else:
        width, height = image_size(path)
    limit = MAX_RASTER_PIXELS if is_raster else MAX_PIXELS
    if width * height > limit:
        raise DataError(f"{path}: {width} x {height} px, more than the limit of {limit:,} pixels")
    return width, height


def georeference_of(path: Path) -> Georeference | None:
    """Where the pixels of an image lie on Earth; None for one that does not say, and without rasterio. Ground
    control points and rational polynomials are not read, and a local system is no place on Earth.

    Raises:
        DataError: if the file cannot be read.
    """
    if path.suffix.lower() not in RASTERS or not _have_rasterio():
        return None
    with _opened(path) as file:
        if not file.crs:
            return None
        place = Georeference(file.crs.to_wkt(), tuple(file.transform)[:6])
    if not place.is_on_earth:
        log.warning("%s: its coordinate system is a local one; detections are written in pixels", path)
        return None
    return place


def padded(raster_wh: tuple[int, int], read: Window, box: Sequence[int]) -> npt.NDArray[np.uint8]:
    """The pixels (y1 - y0, x1 - x0, 3) of a window that may reach beyond the image; black there."""
    x0, y0, x1, y1 = box
    tile = read(x0, y0, min(x1, raster_wh[0]), min(y1, raster_wh[1]))
    if tile.shape[:2] == (y1 - y0, x1 - x0):
        return tile
    out = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    out[: tile.shape[0], : tile.shape[1]] = tile
    return out


def overview(path: Path, longest_px: int, bands: Sequence[int] = ()) -> npt.NDArray[np.uint8]:
    """The whole image (H, W, 3), reduced to at most ``longest_px`` a side, read in strips.

    Raises:
        ConfigError, DataError: as ``open_raster``.
    """
    width, height = raster_size(path)
    step = max(1, -(-max(width, height) // longest_px))
    with open_raster(path, bands) as raster:
        rows = max(1, 1024 // step) * step
        strips = [
            raster.read(0, y, width, min(y + rows, height))[::step, ::step] for y in range(0, height, rows)
        ]
        return np.concatenate(strips)


def _have_rasterio() -> bool:
    try:
        return find_spec("rasterio") is not None
    except ValueError:  # set to None in sys.modules
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import rasterio

    if not path.is_file():
        raise DataError(f"{path}: {'a folder, not an image' if path.is_dir() else 'no such file'}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty file (0 bytes), expected an image")
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
        with _named_errors(path), quiet():  # about a file without georeference
            file = rasterio.open(path)
        with file:
            yield file


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        raise DataError(f"{path}: truncated or damaged image: {error}") from error


@contextmanager
def _raster(path: Path, bands: Sequence[int] = (), *, holes: bool = False) -> Iterator[Raster]:
    """
    Args:
        holes: pixels without data are black.
    """
    from rasterio.enums import ColorInterp
    from rasterio.windows import Window as RasterWindow

    with _opened(path) as file:
        kinds = dict(enumerate(file.colorinterp, 1))
        colours = [band for band, kind in kinds.items() if kind != ColorInterp.alpha]
        alpha = [band for band, kind in kinds.items() if kind == ColorInterp.alpha][:1]
        if bands and (len(bands) not in (1, 3) or not set(bands) <= set(kinds)):
            raise ConfigError(
                f"bands {', '.join(map(str, bands))}: {path} has {file.count}; give one or three from 1 to "
                f"{file.count}"
            )
        shades = list(bands) or (colours[:3] if len(colours) >= 3 else colours[:1])
        if any(file.dtypes[band - 1].startswith("complex") for band in shades):
            raise DataError(f"{path}: has complex samples; write their magnitudes to a raster first")
        holes = holes and not alpha and file.nodata is not None
        with _named_errors(path):
            develop = _developer(file, shades, alpha, holes=holes)

        def read(x0: int, y0: int, x1: int, y1: int) -> npt.NDArray[np.uint8]:
            area = RasterWindow(x0, y0, x1 - x0, y1 - y0)
            with _named_errors(path):
                pixels = develop(file.read(shades + alpha, window=area))
                if holes:
                    pixels[file.dataset_mask(window=area) == 0] = 0
            return pixels

        yield Raster((file.width, file.height), read)


def _developer(
    file: Any, shades: list[int], alpha: list[int], *, holes: bool
) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]]:
    """From the samples of a window (shades and alpha, H, W) to its pixels (H, W, 3)."""
    from rasterio.enums import ColorInterp

    palette = None
    if file.colorinterp[shades[0] - 1] == ColorInterp.palette:
        table = file.colormap(shades[0])
        palette = np.asarray([table.get(i, (0, 0, 0, 255))[:3] for i in range(256)], dtype=np.uint8)
    limits = None
    if any(file.dtypes[band - 1] != "uint8" for band in shades):
        shrink = max(1, -(-max(file.width, file.height) // _OVERVIEW_SIDE))
        size = (-(-file.height // shrink), -(-file.width // shrink))
        samples = file.read(shades, out_shape=(len(shades), *size))
        if holes:
            samples = samples[:, file.dataset_mask(out_shape=size) > 0]
        limits = stretch_limits(samples)

    def develop(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        colour = samples[: len(shades)]
        if palette is not None:
            return np.asarray(palette[colour[0]])
        if limits is not None:
            colour = stretched(colour, *limits)
        picture = np.broadcast_to(colour, (3, *colour.shape[1:])).transpose(1, 2, 0)
        if alpha:
            share = samples[-1].astype(np.float32) / np.iinfo(file.dtypes[alpha[0] - 1]).max
            picture = np.rint(picture * share[..., None]).astype(np.uint8)
        return np.array(picture, dtype=np.uint8, order="C")

    return develop
