"""Images of any size, read window by window.

A TIFF of more than ``WINDOWED_FROM`` pixels is read with rasterio (extra ``geo``), so that a scene of
50,000 x 50,000 px never lies in memory; any other image is read whole. Both give the same 8-bit RGB pixels
as ``read_image``: of several bands the first three, an alpha band composited on black, and samples of more
than 8 bits stretched by the percentiles of the scene, which a large one gives by every n-th pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrotate.data.images import MAX_PIXELS, image_size, quiet, read_pixels, stretch_limits, stretched
from lmmrotate.errors import DataError

Window = Callable[[int, int, int, int], npt.NDArray[np.uint8]]
"""From x0, y0, x1, y1 inside the image to its pixels (y1 - y0, x1 - x0, 3), RGB."""

WINDOWED_FROM = 64_000_000
"""Pixels; smaller images are read whole, which is faster."""

_CACHE_MB = 256
_OVERVIEW_SIDE = 2000  # pixels; of which the percentiles of a large scene are taken


@contextmanager
def open_windows(path: Path) -> Iterator[Window]:
    """Open an image for reading windows of it.

    Raises:
        DataError: as ``read_image``; also for a TIFF above ``MAX_PIXELS`` where rasterio is not installed,
            and for a window that cannot be read.
    """
    width, height = image_size(path)
    if path.suffix.lower() in (".tif", ".tiff") and width * height > WINDOWED_FROM:
        try:
            import rasterio  # noqa: F401, the extra is there
        except ImportError:
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {width} x {height} px is too large to be read whole; "
                    "pip install 'lmmrotate[geo]' to read it window by window"
                ) from None
        else:
            with _raster(path) as window:
                yield window
            return
    pixels = read_pixels(path)
    yield lambda x0, y0, x1, y1: pixels[y0:y1, x0:x1]


def overview(path: Path, longest_px: int) -> npt.NDArray[np.uint8]:
    """The whole image (H, W, 3), reduced to at most ``longest_px`` a side, read in strips."""
    width, height = image_size(path)
    step = max(1, -(-max(width, height) // longest_px))
    with open_windows(path) as window:
        rows = max(1, 1024 // step) * step
        strips = [window(0, y, width, min(y + rows, height))[::step, ::step] for y in range(0, height, rows)]
        return np.concatenate(strips)


@contextmanager
def _raster(path: Path) -> Iterator[Window]:
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.errors import RasterioError
    from rasterio.windows import Window as RasterWindow

    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
        try:
            with quiet():  # about a file without georeference
                file = rasterio.open(path)
            with file:
                colours = [i for i, kind in enumerate(file.colorinterp, 1) if kind != ColorInterp.alpha]
                alpha = [i for i, kind in enumerate(file.colorinterp, 1) if kind == ColorInterp.alpha]
                bands = (colours[:3] if len(colours) >= 3 else colours[:1]) + alpha[:1]
                develop = _developer(file, bands, has_alpha=bool(alpha))

                def window(x0: int, y0: int, x1: int, y1: int) -> npt.NDArray[np.uint8]:
                    area = RasterWindow(x0, y0, x1 - x0, y1 - y0)
                    return develop(file.read(bands, window=area))

                yield window
        except RasterioError as error:
            raise DataError(f"{path}: truncated or damaged image: {error}") from error


def _developer(
    file: Any, bands: list[int], *, has_alpha: bool
) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]]:
    """From the samples of a window (bands, H, W) to its pixels (H, W, 3)."""
    from rasterio.enums import ColorInterp

    shades = bands[:-1] if has_alpha else bands
    palette = None
    if file.colorinterp[shades[0] - 1] == ColorInterp.palette:
        table = file.colormap(shades[0])
        palette = np.asarray([table.get(i, (0, 0, 0, 255))[:3] for i in range(256)], dtype=np.uint8)
    limits = None
    if any(file.dtypes[band - 1] != "uint8" for band in shades):
        shrink = max(1, -(-max(file.width, file.height) // _OVERVIEW_SIDE))
        size = (len(shades), -(-file.height // shrink), -(-file.width // shrink))
        limits = stretch_limits(file.read(shades, out_shape=size))

    def develop(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        colour = samples[: len(shades)]
        if palette is not None:
            return np.asarray(palette[colour[0]])
        if limits is not None:
            colour = stretched(colour, *limits)
        picture = np.broadcast_to(colour, (3, *colour.shape[1:])).transpose(1, 2, 0)
        if has_alpha:
            share = samples[-1].astype(np.float32) / np.iinfo(file.dtypes[bands[-1] - 1]).max
            picture = np.rint(picture * share[..., None]).astype(np.uint8)
        return np.ascontiguousarray(picture, dtype=np.uint8)

    return develop
