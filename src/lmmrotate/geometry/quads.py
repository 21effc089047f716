"""Quadrilaterals as arrays.

A quad set is a float64 array of shape (N, 4, 2): N objects, 4 corners, (x, y) in pixels.
The origin is the top-left corner of the image, x grows right and y grows down.
"""

import numpy as np
import numpy.typing as npt

Quads = npt.NDArray[np.float64]  # (N, 4, 2), pixels


def as_quads(values: npt.ArrayLike) -> Quads:
    """Return ``values`` as a quad array of shape (N, 4, 2).

    Args:
        values: shape (N, 4, 2) or flat (N, 8), pixels. An empty list gives (0, 4, 2).

    Raises:
        ValueError: if the shape is neither, or a coordinate is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 4, 2))
    if array.shape[1:] not in {(8,), (4, 2)}:
        raise ValueError(f"quads must have shape (N, 4, 2) or (N, 8), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("quads contain a coordinate that is not finite")
    return array.reshape(-1, 4, 2)
