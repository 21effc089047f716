"""Training speed and memory: settings of the published system against ours, switched on in turn.

On a CPU: the embedded model on synthetic tiles, 0 to 50 objects, 8 images an update. On a GPU:
Florence-2-large's shape with random weights at 768 and 1024 px, 2 images an update, bf16. Every row runs in
a process of its own. ``python bench/training.py [--updates N]``
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

PUBLISHED = "published: eager attention, chance order, AdamW"
OURS: dict[str, Any] = {"attention": "sdpa", "grouped": True, "fused": True}
ROWS: dict[str, dict[str, Any]] = {
    PUBLISHED: {},
    "sdpa attention": {"attention": "sdpa"},
    "and answers grouped by length": {"attention": "sdpa", "grouped": True},
    "and fused AdamW: ours": OURS,
    "ours, two processes of one thread": OURS | {"processes": 2},
    "ours, vision frozen": OURS | {"frozen": True},
    "ours, vision frozen, its features kept": OURS | {"frozen": True, "cached": True},
    "ours, torch.compile": OURS | {"compiled": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measure(json.loads(args.row))))
        return
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        _synthesise(Path(folder))
        for side in (768, 1024) if gpu else (256,):
            table = Table("settings", "images/s", "times", "peak MiB", "MFU")
            first = None
            for name, options in ROWS.items():
                if ("processes" if gpu else "compiled") in options:
                    continue  # compiling the tiny model takes longer than the whole of this table on a CPU
                found = _run(options | {"folder": folder, "updates": args.updates, "side": side, "gpu": gpu})
                first = first or found["images_s"]
                speed = found["images_s"]
                use = f"{found['mfu']:.1%}" if found.get("mfu") else ""
                print(f"{name}: {speed:.2f} images/s", file=sys.stderr)
                table.add_row(name, f"{speed:.2f}", f"{speed / first:.2f}", f"{found['peak_mib']:.0f}", use)
            table.title = f"{'Florence-2-large, bf16' if gpu else 'tiny, float32'}, {side} px"
            Console().print(table)


def _run(options: dict[str, Any]) -> dict[str, float]:
    """One row; of several processes, which share nothing here, speeds and memories add up."""
    processes = options.pop("processes", 1)
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    command = [sys.executable, __file__, "--row", json.dumps(options)]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command = [sys.executable, *launcher, *command[1:]]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    # Two processes may print on one line.
    lines = [json.loads(found) for found in re.findall(r"\{.*?\}", done.stdout)]
    return {
        "images_s": sum(line["images_s"] for line in lines),
        "peak_mib": sum(line["peak_mib"] for line in lines),
        "mfu": sum(line.get("mfu", 0) for line in lines),
    }


def measure(options: dict[str, Any]) -> dict[str, float]:
    """Images a second and peak memory of one way to train."""
    from lmmrotate.cli.common import quiet_transformers
    from lmmrotate.codec.registry import make_codec
    from lmmrotate.data.streaming import open_manifest
    from lmmrotate.models.loading import load_family
    from lmmrotate.training.dataset import build_answers
    from lmmrotate.training.order import EpochOrder

    quiet_transformers()
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cuda" if options["gpu"] else "cpu")
    manifest = open_manifest(Path(options["folder"]) / "train.jsonl")
    codec = make_codec("loc_tokens", manifest.classes)
    torch.manual_seed(0)
    family = load_family(
        "large" if options["gpu"] else "tiny",
        tokens=codec.special_tokens,
        words=codec.words,
        image_square_length=options["side"],
        attn_implementation=options.get("attention", "eager"),
    )
    model: Any = family.model.to(device).train()
    batch = 2 if options["gpu"] else 8
    if options.get("frozen"):
        for module in family.parts()["vision"]:
            module.requires_grad_(False)
    data = build_answers([manifest], codec, family.answer_tokens, family.max_answer_tokens, "drop_boxes")
    order = list(EpochOrder(data, batch, 0, data.lengths if options.get("grouped") else None))
    updates = min(options["updates"], len(order) // batch - 2)
    if processes > 1:
        torch.distributed.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    if options.get("compiled"):
        model = torch.compile(model, dynamic=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    fused = bool(options.get("fused"))
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=fused)
    if options.get("cached"):
        _keep_features(family, data)
    tokens, start = 0, 0.0
    for update in range(-2, updates):
        if update == 0:  # warm: memory is there, shapes are compiled
            _synchronise(device)
            tokens, start = 0, time.perf_counter()
        place = (update % (len(order) // batch)) * batch
        share = batch // processes
        items = [data[i] for i in order[place + rank * share : place + (rank + 1) * share]]
        inputs = family.training_batch([item.image for item in items], [item.answer for item in items])
        if options.get("cached"):
            inputs["pixel_values"] = torch.stack([_KEPT[str(item.path)] for item in items])
        tokens += inputs["labels"].numel() + inputs["input_ids"].numel()
        inputs = {name: value.to(device) for name, value in inputs.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=options["gpu"]):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    _synchronise(device)
    seconds = time.perf_counter() - start
    found = {"images_s": updates * share / seconds, "peak_mib": _peak_mib(options["gpu"])}
    if options["gpu"]:
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter, torch.autocast("cuda", torch.bfloat16):
            model(**inputs).loss.backward()
        found["mfu"] = counter.get_total_flops() * updates / seconds / 989e12  # H100, dense bf16, data sheet
    return found


_KEPT: dict[str, torch.Tensor] = {}


@torch.inference_mode()
def _keep_features(family: Any, data: Any) -> None:
    """Compute the frozen tower's features once, and let the model take them instead of pixels."""
    tower = family.model.model.vision_tower
    for item in map(data.__getitem__, range(len(data))):
        pixels = family.training_batch([item.image], [item.answer])["pixel_values"]
        _KEPT[str(item.path)] = tower(pixels).last_hidden_state[0].clone()
    kind = type(tower(pixels))
    tower.forward = lambda features, **_: kind(last_hidden_state=features.clone())


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _peak_mib(gpu: bool) -> float:
    if gpu:
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _synthesise(folder: Path) -> None:
    from lmmrotate.data.synthetic.dataset import synthesise
    from lmmrotate.data.synthetic.scene import SceneSpec

    synthesise(folder, 256, SceneSpec(256, 256, (0.2, 0.4), "mixed"), seed=10, split="train")


if __name__ == "__main__":
    main()
