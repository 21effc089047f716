"""What the vision head will say about an image, imitated from its annotations, mistakes included.

The language model learns to read from these before a vision tower exists.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lmmrotate.models.cells import CORNERS, NUMBERS, CellTargets

_CERTAIN = 5.0  # logits between the right answer and the rest
_SPREAD = 1.0
_CLOSE = 0.08  # cells; corners nearer to each other than this in y are mixed up as to which is topmost


def simulate_cells(
    targets: CellTargets, classes: int, grid: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """(grid², 1 + classes + NUMBERS): logits of no object and of each class, then the box's numbers."""
    cells = rng.normal(0, _SPREAD, (grid * grid, 1 + classes + NUMBERS)).astype(np.float32)
    cells[:, : 1 + classes] -= 1
    cells[:, 0] += _CERTAIN
    cells[:, 1 + classes :] *= 0.4
    trouble = rng.random() ** 2
    for cell, kind, numbers in zip(targets.cells, targets.classes, targets.numbers, strict=True):
        for place, shift, certainty in _seen_from(int(cell), grid, rng):
            said = _mixed_corners(numbers, rng)
            said[:CORNERS] -= np.tile(shift, 4)
            half = min(float(np.ptp(numbers[:CORNERS:2])), float(np.ptp(numbers[1:CORNERS:2]))) / 2
            noise = rng.normal(0, trouble * (0.03 + 0.08 * half), NUMBERS)
            cells[place, 1 + classes :] = said + noise
            cells[place, 0] -= certainty * _CERTAIN
            cells[place, 1 + kind] += certainty * _CERTAIN
    return cells


def _seen_from(
    cell: int, grid: int, rng: np.random.Generator
) -> list[tuple[int, tuple[float, float], float]]:
    """Cells that speak about an object, each with its shift from the right cell and its certainty.

    The right cell comes last: where two objects are neighbours it has the last word.
    """
    speakers = []
    row, column = divmod(cell, grid)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        if 0 <= row + dy < grid and 0 <= column + dx < grid and rng.random() < 0.25:
            place = (row + dy) * grid + column + dx
            speakers.append((place, (float(dx), float(dy)), float(rng.uniform(0, 0.6))))
    return [*speakers, (cell, (0.0, 0.0), float(rng.uniform(0.7, 1.3)))]


def _mixed_corners(numbers: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """The numbers with corners blended where it is not clear which of two is the topmost one."""
    mixed = numbers.copy()
    corners = numbers[:CORNERS].reshape(4, 2)
    second = 1 + int(np.argmin(corners[1:, 1]))
    doubt = float(np.exp(-(corners[second, 1] - corners[0, 1]) / _CLOSE)) * rng.uniform(0, 1) ** 2
    mixed[:CORNERS] = ((1 - doubt / 2) * corners + doubt / 2 * np.roll(corners, -second, axis=0)).reshape(-1)
    return mixed
