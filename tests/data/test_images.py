"""Every kind of image a data set may hold, and every kind of damage."""

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lmmrotate.data import images
from lmmrotate.data.images import find_images, image_size, read_image, to_rgb
from lmmrotate.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
RAMP_16 = np.linspace(100, 2100, 35).reshape(5, 7).astype(np.uint16)  # an 11-bit sensor


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


# Kinds


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp", "jp2", "gif", "jpg"])
def test_formats(suffix: str, tmp_path: Path) -> None:
    flat = Image.new("RGB", (7, 5), (200, 100, 50))
    path = saved(flat, tmp_path / f"a.{suffix}")
    assert f".{suffix}" in images.EXTENSIONS
    assert image_size(path) == (7, 5)
    assert np.abs(pixels(read_image(path)).astype(int) - (200, 100, 50)).max() <= 4


def test_colour_is_unchanged(tmp_path: Path) -> None:
    path = saved(Image.fromarray(COLOUR), tmp_path / "a.png")
    assert (pixels(read_image(path)) == COLOUR).all()


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_grey_palette_and_one_bit(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(GREY).convert(mode)
    path = saved(image, tmp_path / "a.png")
    assert (pixels(read_image(path)) == np.asarray(image.convert("RGB"))).all()


def test_cmyk(tmp_path: Path) -> None:
    path = saved(Image.new("CMYK", (4, 3), (255, 0, 0, 0)), tmp_path / "a.tif")
    assert pixels(read_image(path))[0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize(("alpha", "expected"), [(255, 200), (0, 0), (51, 40)])
def test_transparency_is_composited_on_black(alpha: int, expected: int, tmp_path: Path) -> None:
    path = saved(Image.new("RGBA", (4, 3), (200, 200, 200, alpha)), tmp_path / "a.png")
    assert pixels(read_image(path))[0, 0].tolist() == [expected] * 3
    path = saved(Image.new("LA", (4, 3), (200, alpha)), tmp_path / "b.png")
    assert pixels(read_image(path))[0, 0].tolist() == [expected] * 3


def test_transparent_palette_and_key_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    path = saved(image, tmp_path / "a.png", transparency=0)
    assert pixels(read_image(path)).tolist() == [[[0, 0, 0], [40, 50, 60]]]
    path = saved(Image.new("RGB", (2, 1), (9, 9, 9)), tmp_path / "b.png", transparency=(9, 9, 9))
    assert pixels(read_image(path)).max() == 0


@pytest.mark.parametrize("size", [(1, 1), (30_000, 2), (2, 30_000)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    path = saved(Image.new("RGB", size, (1, 2, 3)), tmp_path / "a.png")
    assert image_size(path) == size
    assert read_image(path).size == size


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(read_image(path))[0, 0].tolist() == [255, 0, 0]


# More than 8 bits


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_uses_the_whole_range(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), RAMP_16)
    found = pixels(read_image(path))[..., 0]
    assert found.min() == 0
    assert found.max() == 255
    assert (np.diff(found.reshape(-1).astype(int)) >= 0).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_colour_is_stretched_too_and_keeps_its_colours(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.stack([RAMP_16 // 4, RAMP_16 // 2, RAMP_16], axis=-1))  # BGR
    found = pixels(read_image(path)).astype(int)
    assert found.max() == 255
    assert (found[..., 0] >= found[..., 1]).all()
    assert (found[..., 1] >= found[..., 2]).all()
    assert found[-1, -1, 1] == pytest.approx(127, abs=2)


def test_sixteen_bit_transparency(tmp_path: Path) -> None:
    array = np.full((4, 4, 4), 1000, np.uint16)
    array[:2] = 2000
    array[:, :2, 3], array[:, 2:, 3] = 65535, 0
    cv2.imwrite(str(tmp_path / "a.png"), array)
    found = pixels(read_image(tmp_path / "a.png"))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[:, 2:].max() == 0


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_floats_and_long_integers(kind: type, tmp_path: Path) -> None:
    path = saved(Image.fromarray(RAMP_16.astype(kind) - 1000), tmp_path / "a.tif")
    found = pixels(read_image(path))
    assert (found.min(), found.max()) == (0, 255)


def test_what_is_not_finite_becomes_black(tmp_path: Path) -> None:
    array = np.array([[np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0]], np.float32)
    found = pixels(read_image(saved(Image.fromarray(array), tmp_path / "a.tif")))[0, :, 0]
    assert found.tolist() == pytest.approx([0, 0, 0, 255, 0, 128], abs=1)
    array[:] = np.nan
    assert pixels(read_image(saved(Image.fromarray(array), tmp_path / "b.tif"))).max() == 0


def test_a_few_bright_objects_on_a_flat_sea_are_seen() -> None:
    sea = np.full((200, 200), 300, np.uint16)
    sea[100, 100] = 4000
    found = pixels(to_rgb(sea))
    assert found[100, 100, 0] == 255
    assert found[0, 0, 0] == 0


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (257 * 7, 7)])
def test_a_flat_sixteen_bit_image_keeps_its_place(value: int, expected: int) -> None:
    assert pixels(to_rgb(np.full((1, 1), value, np.uint16))).tolist() == [[[expected] * 3]]


def test_percentiles_of_large_images_come_from_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pixels(to_rgb(RAMP_16))
    monkeypatch.setattr(images, "_SAMPLES", 5)
    assert np.abs(pixels(to_rgb(RAMP_16)).astype(int) - whole).max() < 60


# Orientation


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The pixels that a camera held that way stores, so that undoing the turn gives ``image``."""
    undo = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    method = undo.get(orientation) or images._TURNS.get(orientation)
    return image if method is None else image.transpose(method)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_exif_orientation_is_applied(suffix: str, orientation: int, tmp_path: Path) -> None:
    blocks = Image.fromarray(COLOUR).resize((7 * 16, 5 * 16), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(turned(blocks, orientation), tmp_path / f"a.{suffix}", exif=exif, quality=100)
    image = read_image(path)
    assert image_size(path) == image.size == blocks.size
    difference = np.abs(pixels(image).astype(int) - np.asarray(blocks))
    assert np.median(difference) < 12
    assert image.getexif().get(0x0112) is None  # nobody turns it once more
    assert to_rgb(image).size == blocks.size


def test_sixteen_bit_colour_is_turned_as_well(tmp_path: Path) -> None:
    array = np.zeros((2, 3, 3), np.uint16)
    array[0, 0] = 60_000
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = exif.tobytes().removeprefix(b"Exif\0\0")
    _, encoded = cv2.imencode(".png", array)
    data = encoded.tobytes()
    end_of_header = 8 + 25
    exif_chunk = (
        struct.pack(">I", len(chunk)) + b"eXIf" + chunk + struct.pack(">I", zlib.crc32(b"eXIf" + chunk))
    )
    path = tmp_path / "a.png"
    path.write_bytes(data[:end_of_header] + exif_chunk + data[end_of_header:])
    assert image_size(path) == (2, 3)
    assert pixels(read_image(path))[..., 0].tolist() == [[0, 255], [0, 0], [0, 0]]


def test_an_image_in_memory_is_not_turned() -> None:
    image = Image.new("RGB", (7, 5))
    image.getexif()[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=image.getexif())
    assert to_rgb(Image.open(buffer)).size == (7, 5)


# Arrays


def test_arrays() -> None:
    assert (pixels(to_rgb(GREY)) == GREY[..., None]).all()
    assert (pixels(to_rgb(COLOUR)) == COLOUR).all()
    assert (pixels(to_rgb(COLOUR[:, ::-1])) == COLOUR[:, ::-1]).all()
    opaque = np.dstack([COLOUR, np.full((5, 7), 255, np.uint8)])
    assert (pixels(to_rgb(opaque)) == COLOUR).all()
    assert (pixels(to_rgb(Image.fromarray(GREY))) == GREY[..., None]).all()


@pytest.mark.parametrize("shape", [(0, 0), (5,), (5, 7, 2), (5, 7, 1), (3, 5, 7), (1, 5, 7, 3), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"must have shape \(H, W\), .* channels last; got \("):
        to_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.bool_])
def test_other_types_are_refused(kind: type) -> None:
    with pytest.raises(DataError, match="must be uint8 or uint16, got"):
        to_rgb(np.zeros((5, 7), kind))


def test_a_damaged_image_in_memory(tmp_path: Path) -> None:
    path = saved(Image.fromarray(COLOUR).resize((200, 200)), tmp_path / "a.png")
    with Image.open(io.BytesIO(path.read_bytes()[:2000])) as image, pytest.raises(DataError, match="damaged"):
        to_rgb(image)


# Finding


def test_files_and_folders(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "._a.png", "deeper/c.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    folder = tmp_path / "in"
    assert find_images([folder / "b.JPG", folder]) == [folder / "b.JPG", folder / "a.png"]
    assert find_images([folder / "notes.txt"]) == [folder / "notes.txt"]
    assert find_images([]) == []
    with pytest.raises(DataError, match="none: no such file or folder"):
        find_images([folder, folder / "none"])
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no images in this folder; looked for \.png"):
        find_images([folder / "empty"])


# Damage


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("a text, whatever its name says")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    for name, message in {
        "none.png": "no such file",
        "": "a folder, not an image",
        "empty.png": r"empty file \(0 bytes\)",
        "text.png": "not an image that can be read; known kinds: PNG, JPEG",
        "page.eps": "not an image that can be read",  # Pillow would start Ghostscript
        "nul\0.png": "cannot be read|no such file",
    }.items():
        for function in (read_image, image_size):
            with pytest.raises(DataError, match=message) as info:
                function(tmp_path / name)
            assert str(tmp_path / name) in str(info.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_truncated_files(suffix: str, tmp_path: Path) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    path = saved(noise, tmp_path / f"a.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"a\.{suffix}: "):
        read_image(path)


def test_a_flipped_bit_in_a_png(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)), tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: truncated or damaged image"):
        read_image(path)


def bomb(width: int, height: int) -> bytes:
    """A tiny PNG file that says it is huge."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + b"\0\0\0\0IDAT"


@pytest.mark.parametrize("size", [(40_000, 25_001), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bombs_are_refused_unread(size: tuple[int, int], tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(bomb(*size))
    with pytest.raises(DataError, match=r"a\.png: more than 1,000,000,000 pixels"):
        read_image(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == size
    assert limit == Image.MAX_IMAGE_PIXELS


def test_large_scenes_are_not_bombs(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bomb(40_000, 25_000))
    assert image_size(tmp_path / "a.png") == (40_000, 25_000)


def test_pillow_may_not_refuse_a_large_tiff_while_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(Image.fromarray(COLOUR), tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # the image has 35: above twice the limit
    assert (pixels(read_image(path)) == COLOUR).all()
    assert Image.MAX_IMAGE_PIXELS == 10


def test_reading_in_threads(tmp_path: Path) -> None:
    path = saved(Image.fromarray(COLOUR), tmp_path / "a.png")
    limit = Image.MAX_IMAGE_PIXELS
    results: list[tuple[int, int]] = []
    threads = [
        threading.Thread(target=lambda: results.extend(read_image(path).size for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(7, 5)] * 160
    assert limit == Image.MAX_IMAGE_PIXELS


def samples() -> list[bytes]:
    found = []
    for mode in ("RGB", "P", "LA", "I;16"):
        for kind in ("PNG", "TIFF", "JPEG", "GIF", "WEBP", "BMP", "JPEG2000"):
            buffer = io.BytesIO()
            with suppress(OSError, ValueError):
                image = Image.fromarray(RAMP_16) if mode == "I;16" else Image.fromarray(COLOUR).convert(mode)
                image.save(buffer, kind, **({"exif": bytes(40)} if kind == "JPEG" else {}))
                found.append(buffer.getvalue())
    return found


@pytest.mark.filterwarnings("ignore")
@given(
    data=st.sampled_from(samples()),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_any_damage_is_a_data_error_or_an_image(
    data: bytes, cut: float, changes: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(data[: int(len(data) * cut) or 1] if cut < 0.5 else data)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    path = tmp_path_factory.mktemp("damage") / "a.img"
    path.write_bytes(damaged)
    with suppress(DataError):
        size = image_size(path)
        if size[0] * size[1] < 10**6:
            assert read_image(path).size == size


# Real files


@pytest.mark.real
def test_real_images(real: Callable[[str], Path]) -> None:
    sizes = {
        "dota/images/P0706.png": (1111, 1182),
        "tiles/P0004__1__0___0.png": (285, 294),  # RGBA
        "tiles/mmrotate_demo.jpg": (1024, 1024),
        "tiles/dota_demo.jpg": (1616, 1565),
        "dior/00001.jpg": (800, 800),  # progressive, with EXIF
        "geo/OSBS_029.tif": (400, 400),
    }
    for name, size in sizes.items():
        assert image_size(real(name)) == size
        image = read_image(real(name))
        assert (image.size, image.mode) == (size, "RGB")
        assert np.asarray(image).std() > 5, os.fspath(name)
