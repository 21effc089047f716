import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from lmmrotate.data.images import read_image, read_pixels
from lmmrotate.data.png import SIGNATURE, encode_png, is_whole_png
from lmmrotate.data.png_reading import decode_plain_png
from lmmrotate.errors import DataError

SIDES = st.one_of(st.integers(1, 9), st.sampled_from([63, 64, 257, 700]))
PICTURES = st.builds(
    lambda height, width, kind, seed: picture(height, width, kind, seed),
    SIDES, SIDES, st.sampled_from(["noise", "smooth", "flat"]), st.integers(0, 99),
)  # fmt: skip


def picture(height: int, width: int, kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "smooth":
        return rng.integers(-2, 3, (height, width, 3)).cumsum(0).cumsum(1).astype(np.uint8)
    return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)


def encoded(pixels: np.ndarray) -> bytes:
    return b"".join(encode_png(pixels))


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(size: tuple[int, int], *parts: bytes, form: tuple[int, ...] = (8, 2, 0, 0, 0)) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, *form))
    return SIGNATURE + header + b"".join(parts) + chunk(b"IEND", b"")


def filtered(pixels: np.ndarray, kinds: list[int]) -> bytes:
    """The rows as the format filters them, each by the kind at its index (PNG specification, 9.2)."""
    rows = pixels.reshape(len(pixels), -1).astype(int)
    left = np.pad(rows, ((0, 0), (3, 0)))[:, :-3]
    up = np.pad(rows, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(rows, ((1, 0), (3, 0)))[:-1, :-3]
    near = [abs(left + up - corner - other) for other in (left, up, corner)]
    paeth = np.where(
        (near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], up, corner)
    )
    guesses = (0 * rows, left, up, (left + up) // 2, paeth)
    lines = [bytes([k]) + (rows[y] - guesses[k][y]).astype(np.uint8).tobytes() for y, k in enumerate(kinds)]
    return b"".join(lines)


# Writing


@given(pixels=PICTURES)
def test_everyone_reads_what_is_written(pixels: np.ndarray) -> None:
    content = encoded(pixels)
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), pixels)
    opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert opencv is not None
    np.testing.assert_array_equal(opencv[..., ::-1], pixels)


def test_a_window_of_a_scene_is_written_as_its_copy_is() -> None:
    scene = picture(90, 110, "noise", 0)
    window = scene[7:80, 20:101]
    assert encoded(window) == encoded(window.copy())


def test_large_noise() -> None:
    """More than 8 MB compressed, which OpenCV refuses in one chunk; and rows longer than a band."""
    for shape in ((1800, 1800), (3, 100_000)):
        pixels = picture(*shape, "noise", 0)
        opencv = cv2.imdecode(np.frombuffer(encoded(pixels), np.uint8), cv2.IMREAD_COLOR)
        assert opencv is not None
        np.testing.assert_array_equal(opencv[..., ::-1], pixels)


def test_files_are_about_as_large_as_those_of_opencv() -> None:
    for kind in ("noise", "smooth"):
        pixels = picture(700, 700, kind, 1)
        assert len(encoded(pixels)) < 1.05 * len(cv2.imencode(".png", pixels[..., ::-1])[1])
    flat = picture(700, 700, "flat", 1)
    assert len(encoded(flat)) < 0.01 * flat.nbytes


# Reading


@given(pixels=PICTURES, data=st.data())
def test_every_filter_is_undone(
    pixels: np.ndarray, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    height, width = pixels.shape[:2]
    start = data.draw(st.integers(0, 4))
    step = data.draw(st.integers(0, 4))
    packed = zlib.compress(filtered(pixels, [(start + step * y + y // 5) % 5 for y in range(height)]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=4)))
    parts = [packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)], strict=True)]
    path = tmp_path_factory.getbasetemp() / "filters.png"
    path.write_bytes(png((width, height), *(chunk(b"IDAT", part) for part in parts)))
    found = decode_plain_png(path)
    assert found is not None
    np.testing.assert_array_equal(found, pixels)
    np.testing.assert_array_equal(np.asarray(read_image(path)), pixels)


@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"compress_level": 9}, {"optimize": True}])
def test_files_of_pillow(options: dict[str, Any], tmp_path: Path) -> None:
    pixels = picture(300, 400, "smooth", 2)
    Image.fromarray(pixels).save(tmp_path / "a.png", **options)
    found = decode_plain_png(tmp_path / "a.png")
    assert found is not None
    np.testing.assert_array_equal(found, pixels)


PIXELS = picture(40, 50, "smooth", 3)
ROWS = filtered(PIXELS, [4] * 40)
PACKED = zlib.compress(ROWS)
IRREGULAR = {
    "cut off": png((50, 40), chunk(b"IDAT", PACKED))[:-40],
    "no end": png((50, 40), chunk(b"IDAT", PACKED))[:-12],
    "no pixels": png((50, 40)),
    "half the stream": png((50, 40), chunk(b"IDAT", PACKED[: len(PACKED) // 2])),
    "too few rows": png((50, 40), chunk(b"IDAT", zlib.compress(ROWS[: 30 * 151]))),
    "too many rows": png((50, 40), chunk(b"IDAT", zlib.compress(ROWS * 2))),
    "no checksum": png((50, 40), chunk(b"IDAT", PACKED[:-4])),
    "wrong checksum": png((50, 40), chunk(b"IDAT", PACKED[:-4] + b"abcd")),
    "wrong checksum of a chunk": png((50, 40), chunk(b"IDAT", PACKED)[:-1] + b"\xff"),
    "unknown filter": png((50, 40), chunk(b"IDAT", zlib.compress(b"\5" + ROWS[1:]))),
    "no width": png((0, 40), chunk(b"IDAT", PACKED)),
    "16 bits": png((50, 20), chunk(b"IDAT", PACKED), form=(16, 2, 0, 0, 0)),
    "grey": png((150, 40), chunk(b"IDAT", PACKED), form=(8, 0, 0, 0, 0)),
    "interlaced": png((50, 40), chunk(b"IDAT", PACKED), form=(8, 2, 0, 0, 1)),
    "not a PNG": b"BM" + PACKED,
    "empty": b"",
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_what_is_not_plain_is_left_to_pillow(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(IRREGULAR[name])
    assert decode_plain_png(path) is None
    assert_read_as_pillow_reads(path)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(encoded(PIXELS))
    content[place % len(content)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.png"
    path.write_bytes(content)
    assert decode_plain_png(path) is None
    assert_read_as_pillow_reads(path)


def assert_read_as_pillow_reads(path: Path) -> None:
    wanted, found = outcome(read_image, path), outcome(read_pixels, path)
    if isinstance(wanted, str) or isinstance(found, str):
        assert found == wanted
    else:
        np.testing.assert_array_equal(found, wanted)


def outcome(read: Callable[[Path], Any], path: Path) -> np.ndarray | str:
    try:
        return np.asarray(read(path))
    except DataError as error:
        return str(error)


def test_other_kinds_are_read_as_ever(tmp_path: Path) -> None:
    rgb = Image.fromarray(PIXELS)
    turned = Image.Exif()
    turned[0x0112] = 6
    two = {"save_all": True, "append_images": [rgb.rotate(180)]}
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 100)
    files: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.png": (rgb, {"pnginfo": text, "dpi": (300, 300)}),
        "alpha.png": (Image.merge("RGBA", (*rgb.split(), rgb.getchannel(0))), {}),
        "transparent.png": (rgb, {"transparency": tuple(int(v) for v in PIXELS[5, 5])}),
        "turned.png": (rgb, {"exif": turned}),
        "grey.png": (rgb.convert("L"), {}),
        "palette.png": (rgb.quantize(16), {}),
        "two.png": (rgb, two),
        "two_and_a_first.png": (rgb, {**two, "default_image": True}),
        "a.jpg": (rgb, {}),
        "a.bmp": (rgb, {}),
    }
    for name, (image, options) in files.items():
        image.save(tmp_path / name, **options)
        assert_read_as_pillow_reads(tmp_path / name)
    cv2.imwrite(str(tmp_path / "deep.png"), PIXELS.astype(np.uint16) * 100)
    assert_read_as_pillow_reads(tmp_path / "deep.png")
    assert read_pixels(tmp_path / "turned.png").shape == (50, 40, 3)


def test_a_file_that_was_cut_off_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "tile.png"
    assert not is_whole_png(path)
    content = encoded(PIXELS)
    for size in (0, 5, len(content) - 1):
        path.write_bytes(content[:size])
        assert not is_whole_png(path)
    path.write_bytes(content)
    assert is_whole_png(path)
