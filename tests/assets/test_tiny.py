"""The embedded model, end to end."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmmrotate import Detector, Manifest, Predictions, Predictor, evaluate
from lmmrotate.assets import TINY, model_path
from lmmrotate.cli.main import main
from lmmrotate.data.predictions import read_predictions
from lmmrotate.data.synthetic.dataset import synthesise
from lmmrotate.data.synthetic.scene import SceneSpec, render_scene
from lmmrotate.errors import CheckpointError
from lmmrotate.models.loading import load_family
from lmmrotate.runs import read_run
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train

SEED = 2000  # never trained on
CLASSES = tuple(read_run(model_path(TINY)).codec["classes"])


def scenes(count: int) -> tuple[list[Image.Image], Manifest]:
    spec = SceneSpec(256, 256, (0.2, 0.4), 20, CLASSES)
    drawn = [render_scene(spec, SEED, index) for index in range(count)]
    records = tuple(record for _, record in drawn)
    return [Image.fromarray(pixels) for pixels, _ in drawn], Manifest(
        "synthetic", "test", CLASSES, records, Path()
    )


def test_it_is_small_and_complete() -> None:
    folder = model_path(TINY)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20e6
    assert not [path.name for path in folder.iterdir() if path.suffix in (".pt", ".bin", ".pkl")]
    assert len(CLASSES) >= 12
    assert not {"tennis-court", "swimming-pool"} & set(CLASSES), "the quickstart teaches these"


def test_it_detects() -> None:
    """Far from the model card's numbers it would be another model, or read its input wrongly."""
    pictures, manifest = scenes(24)
    predictor = Predictor.from_run()
    found = predictor.predict_pictures([record.image for record in manifest.records], pictures)
    assert evaluate(manifest, Predictions(predictor.header, tuple(found))).mf1 > 0.6
    shortest = list(Detector().detect_many(pictures[:3], batch_size=2))
    assert [prediction.text for prediction in shortest] == [prediction.text for prediction in found[:3]]
    assert Detector().detect(np.asarray(pictures[0])).labels == found[0].labels


def test_one_image_without_naming_a_model(tmp_path: Path) -> None:
    (picture,), manifest = scenes(1)
    picture.save(tmp_path / "some.png")
    command = [sys.executable, "-m", "lmmrotate", "predict", "some.png", "--draw", "drawn", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["predicted"] == 1
    (prediction,) = read_predictions(tmp_path / "predictions.jsonl").images
    assert set(prediction.labels) & set(manifest.records[0].labels)
    assert len(list((tmp_path / "drawn").iterdir())) == 1


def test_new_classes_become_single_words_of_the_pretrained_model(tmp_path: Path) -> None:
    words = ("tennis court", "storage tank")
    family = load_family(TINY, tokens=("<loc_0>", "<sep>"), words=words)
    ids = [family.tokenizer(word, add_special_tokens=False).input_ids for word in words]
    assert [len(word) for word in ids] == [1, 1]
    known = load_family(TINY, tokens=(), words=())
    assert known.tokenizer("storage tank", add_special_tokens=False).input_ids == ids[1]
    assert len(known.tokenizer("tennis court", add_special_tokens=False).input_ids) > 1

    spec = SceneSpec(256, 256, (0.2, 0.4), "sparse", ("tennis-court", "ship"))
    synthesise(tmp_path / "data", 4, spec, workers=1)
    result = train(
        TrainConfig(
            data_path=(str(tmp_path / "data" / "train.jsonl"),),
            output_dir=str(tmp_path / "run"),
            max_steps=2,
            per_device_train_batch_size=2,
        )
    )
    info = read_run(result.run_folder)
    assert info.config["model_name_or_path"] == TINY, "the default"
    assert info.image_square_length == 256
    assert result.loss < 6, "a model that knows nothing begins at ln 1300 = 7"
    assert Detector(result.run_folder).classes == ("tennis-court", "ship")


def test_a_folder_called_tiny_is_named_by_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(TINY).mkdir()
    assert Detector(TINY).classes == CLASSES
    with pytest.raises(CheckpointError, match="not a run directory"):
        Detector(f"./{TINY}/")
    (tmp_path / TINY / "lmmrotate.json").touch()
    assert main(["predict", TINY, "-o", "x.jsonl"]) == 2
