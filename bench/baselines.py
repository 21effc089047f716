"""Both baseline detectors and the embedded model on the same synthetic tiles, in one table.

Run ``python bench/baselines.py [--folder runs/baselines]``. From random weights the detectors learn the first
4,000 tiles that the last stage of the embedded model's pretraining has learned from; all three are judged on
the 300 held-out tiles of ``bench/tiny_accuracy.py``, in one ``compare`` table. How long they learn stands in
``recipes/baselines/synthetic-*.yaml``: hours. What is finished is taken over, so that the script goes on
where it was interrupted, and so that a run may be made beside it, faster, by one process a core (``--draw``
ends after drawing)::

    OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 -m lmmrotate baseline train \\
        --config recipes/baselines/synthetic-rotated_fcos.yaml --output_dir runs/baselines/rotated_fcos
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from lmmrotate.baselines.config import BaselineConfig
from lmmrotate.baselines.fit import train_baseline
from lmmrotate.baselines.predictor import DEFAULT as FINDING
from lmmrotate.baselines.predictor import BaselinePredictor
from lmmrotate.data.manifest import Manifest, read_manifest
from lmmrotate.data.predictions import read_predictions
from lmmrotate.data.synthetic.dataset import synthesise
from lmmrotate.data.synthetic.scene import SceneSpec
from lmmrotate.evaluation.compare import compare
from lmmrotate.inference.batch import predict_to_file
from lmmrotate.inference.predictor import DEFAULT as WRITING
from lmmrotate.inference.predictor import Finder, Predictor
from lmmrotate.inference.sources import FileSource
from lmmrotate.report.comparison import comparison_table, write_comparison
from lmmrotate.runs import RUN_FILE
from lmmrotate.training.options import read_config
from lmmrotate.training.pretrain_config import PretrainConfig
from lmmrotate.training.scenes import SceneDataset

RECIPES = Path(__file__).parents[1] / "recipes"
JOINT_SEED = 2  # of the embedded model's last stage
HELD_OUT_SEED, HELD_OUT_TILES, HELD_OUT_DENSITY = 1000, 300, 20
TILES = 4000
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/baselines"))
    parser.add_argument("--draw", action="store_true", help="only draw the tiles to train on")
    parser.add_argument("--archs", nargs="+", default=["rotated_fcos", "rotated_retinanet"])
    options = parser.parse_args()
    pretraining = read_config(PretrainConfig, RECIPES / "tiny.yaml", {})
    train = draw(options.folder / "train", pretraining)
    if options.draw:
        return
    spec = SceneSpec(256, 256, pretraining.gsd_m, HELD_OUT_DENSITY, pretraining.classes)  # type: ignore[arg-type]
    held_out = options.folder / "val"
    synthesise(held_out, HELD_OUT_TILES, spec, seed=HELD_OUT_SEED, split="val", progress=True)
    manifest = read_manifest(held_out / "val.jsonl")
    results = [
        ("tiny Florence-2", predicted(Predictor.from_run(), WRITING, manifest, options.folder / "tiny.jsonl"))
    ]
    for arch in options.archs:
        run = options.folder / arch
        if not (run / RUN_FILE).exists():
            recipe = RECIPES / "baselines" / f"synthetic-{arch}.yaml"
            own = {"data_path": (str(train),), "output_dir": str(run)}
            train_baseline(read_config(BaselineConfig, recipe, own))
        predictor = BaselinePredictor.from_run(run)
        results.append((arch, predicted(predictor, FINDING, manifest, options.folder / f"{arch}.jsonl")))
    entries = compare(manifest, [(name, read_predictions(path)) for name, path in results])
    Console().print(comparison_table(entries))
    write_comparison(options.folder / "compare.html", entries, manifest)
    Console().print(f"{torch.get_num_threads()} threads; {options.folder / 'compare.html'}")


def draw(folder: Path, pretraining: PretrainConfig) -> Path:
    """The first scenes of the embedded model's last stage as a manifest."""
    path = folder / "train.jsonl"
    if path.exists():
        return path
    (folder / "images").mkdir(parents=True, exist_ok=True)
    scenes = SceneDataset(pretraining.mix, JOINT_SEED, TILES)
    loader = DataLoader(scenes, batch_size=None, num_workers=2, collate_fn=lambda sample: sample)
    records = []
    for sample in track(loader, "drawing", total=TILES):
        Image.fromarray(sample.pixels).save(folder / sample.record.image, compress_level=1)
        records.append(sample.record)
    Manifest("synthetic", "train", pretraining.mix.specs[0].classes, tuple(records), folder).write(path)
    return path


def predicted(predictor: Finder, options: object, manifest: Manifest, output: Path) -> Path:
    """The predictions file of a model."""
    work = [(record.image, FileSource(manifest.image_path(record))) for record in manifest.records]
    predict_to_file(predictor, work, output, batch_size=BATCH, options=options)
    return output


if __name__ == "__main__":
    main()
