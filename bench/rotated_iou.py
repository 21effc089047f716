"""The differentiable rotated IoU: is its gradient right, and what does it cost beside the exact numba kernel?

Run ``python bench/rotated_iou.py [--pairs 10000] [--device cpu]``. One thread each, so that the ratio means
something.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from lmmrotate.baselines.losses import iou_losses
from lmmrotate.baselines.rotated_iou import rotated_iou
from lmmrotate.geometry.overlap import iou_pairs
from lmmrotate.geometry.rboxes import rboxes_to_quads

REPEATS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    a = rng.uniform([0, 0, 10, 5, -1.5], [1000, 1000, 120, 60, 1.5], (options.pairs, 5))
    b = a + rng.normal(0, [8, 8, 10, 5, 0.3], a.shape)
    b[:, 2:4] = np.maximum(b[:, 2:4], 2)
    exact = iou_pairs(rboxes_to_quads(a), rboxes_to_quads(b))
    double = [torch.tensor(boxes[:200], requires_grad=True) for boxes in (a, b)]
    console = Console()
    right = torch.autograd.gradcheck(rotated_iou, tuple(double))
    error = np.abs(rotated_iou(*(torch.tensor(boxes) for boxes in (a, b))).numpy() - exact).max()
    first, second = (torch.tensor(boxes, dtype=torch.float32, device=options.device) for boxes in (a, b))
    single = np.abs(rotated_iou(first, second).double().cpu().numpy() - exact).max()
    console.print(f"gradcheck of 200 pairs: {'passed' if right else 'failed'}; mean IoU {exact.mean():.2f}")
    console.print(f"largest difference to the exact kernel: {error:.1e} in float64, {single:.1e} in float32")

    def backward() -> None:
        found = first.clone().requires_grad_()
        iou_losses(found, second).sum().backward()

    table = Table(title=f"{options.pairs:,} pairs, one thread, {options.device}")
    for heading in ("", "ms", "ns a pair", "times"):
        table.add_column(heading, justify="left" if not heading else "right")
    quads = rboxes_to_quads(a), rboxes_to_quads(b)
    base = timed(lambda: iou_pairs(*quads), options.device)
    for name, seconds in (
        ("numba, float64, no gradient", base),
        ("torch, float32, no gradient", timed(lambda: rotated_iou(first, second), options.device)),
        ("torch, float32, loss and gradient", timed(backward, options.device)),
    ):
        ns = seconds / options.pairs * 1e9
        table.add_row(name, f"{1e3 * seconds:.2f}", f"{ns:.0f}", f"{seconds / base:.1f}")
    console.print(table)


def timed(action: Callable[[], object], device: str) -> float:
    """The shortest of some runs, seconds."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        action()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


if __name__ == "__main__":
    main()
