"""The embedded model taught two new classes in three ways: accuracy, and how much was trained.

The task is the quickstart's: 300 synthetic tiles with tennis courts and swimming pools, 100 held out.
Some ten minutes on two cores. ``python bench/finetuning.py [--steps N]``
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lmmrotate.cli.common import quiet_transformers
from lmmrotate.cli.quickstart import GSD_M, HELD_OUT_TILES, NEW_CLASSES, STEPS, TILE_PX, TRAIN_TILES
from lmmrotate.data.synthetic.dataset import synthesise
from lmmrotate.data.synthetic.scene import SceneSpec
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train

WAYS = {
    "all weights": {},
    "vision frozen": {"freeze_vision": True},
    "LoRA, rank 16 (vision and projector too)": {"language_model_lora": True, "lora_dropout": 0.0},
    "LoRA, rank 16, vision frozen": {
        "language_model_lora": True,
        "lora_dropout": 0.0,
        "freeze_vision": True,
        "freeze_multimodal_projection": True,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps
    quiet_transformers()
    table = Table("trained", "parameters trained", "of", "mF1", "mAP", "mAP_nc", "s")
    with tempfile.TemporaryDirectory() as folder:
        spec = SceneSpec(TILE_PX, TILE_PX, GSD_M, "sparse", NEW_CLASSES)
        for split, count, seed in (("train", TRAIN_TILES, 10), ("val", HELD_OUT_TILES, 11)):
            synthesise(Path(folder), count, spec, seed=seed, split=split)
        base = TrainConfig(
            data_path=(f"{folder}/train.jsonl",),
            output_dir=f"{folder}/run",
            max_steps=steps,
            save_steps=steps,
            learning_rate=1e-3,
            warmup_ratio=0.05,
            location_smoothing=3.0,
            cell_loss=True,
            logging_steps=100,
            eval_data_path=(f"{folder}/val.jsonl",),
            eval_images=0,
            eval_intermediate_checkpoints=False,
        )
        for number, (name, options) in enumerate(WAYS.items()):
            result = train(replace(base, output_dir=f"{folder}/run{number}", **options))
            whole = result.parameters[-1]
            scores = result.validation or {}
            table.add_row(
                name,
                f"{whole.trainable:,}",
                f"{whole.total:,}",
                *(f"{scores[metric]:.3f}" for metric in ("mF1", "mAP", "mAP_nc")),
                f"{result.seconds:.0f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
