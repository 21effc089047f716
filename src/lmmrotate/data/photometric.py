"""Changes of a picture that move nothing: light, colour, sharpness, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (H, W, 3), RGB


Floats = npt.NDArray[np.float32]  # (H, W, 3), 0 to 1

_GREY = np.asarray([[0.299], [0.587], [0.114]], dtype=np.float32)


def photometric(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A copy (H, W, 3) as another sensor, another day or another archive would have delivered it.

    Every change is drawn from ``rng``; about one picture in seven stays as it is.
    """
    if rng.random() < 0.15:
        return pixels.copy()
    image = _light(pixels.astype(np.float32) / np.float32(255), rng)
    if rng.random() < 0.1:
        image = np.repeat(image @ _GREY, 3, axis=2)
    if rng.random() < 0.25:
        image = _soften(image, rng)
    if rng.random() < 0.3:
        image += rng.normal(0, rng.uniform(0.005, 0.05), image.shape).astype(np.float32)
    changed: Pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    return _compress(changed, rng) if rng.random() < 0.3 else changed


def _light(image: Floats, rng: np.random.Generator) -> Floats:
    """Exposure, cast, contrast, gamma and saturation."""
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.9, 1.1, 3)
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * np.float32(rng.uniform(0.4, 1.4))
    middle = image.mean()
    image = (middle + (image - middle) * np.float32(rng.uniform(0.7, 1.3))) * gain.astype(np.float32)
    lit: Floats = np.clip(image, 0, 1) ** np.float32(rng.uniform(0.75, 1.3))
    return lit


def _soften(image: Floats, rng: np.random.Generator) -> Floats:
    """Out of focus, or enlarged from a coarser picture."""
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2)), dtype=np.float32)
    height, width = image.shape[:2]
    share = rng.uniform(0.55, 0.95)
    coarse = cv2.resize(image, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _compress(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    quality = int(rng.integers(40, 95))
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded: Pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return np.ascontiguousarray(decoded[..., ::-1])
