import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrotate.cli.main import main
from lmmrotate.data.predictions import read_predictions
from lmmrotate.errors import CheckpointError, ConfigError, DataError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.runs import RUN_FILE, read_run
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train

SHORT = DecodingOptions(max_new_tokens=20, overflow="keep")


@pytest.fixture
def run(config: Callable[..., TrainConfig]) -> Path:
    return train(config(max_steps=2, save_steps=1000)).run_folder


def test_images_come_as_paths_pictures_and_arrays(run: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_run(run, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 90, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    path = tmp_path / "a.png"
    picture.save(path)
    found = predictor.predict([path, str(path), picture, pixels], batch_size=3, options=SHORT)
    assert [p.image for p in found] == [path.as_posix(), path.as_posix(), "2", "3"]
    assert {p.text for p in found} == {found[0].text}
    assert {(p.width, p.height) for p in found} == {(90, 40)}
    for prediction in found:
        assert len(prediction.quads) == len(prediction.scores)
        np.testing.assert_allclose(prediction.scores, found[0].scores, atol=1e-5)
        assert (prediction.quads >= 0).all()
        assert (prediction.quads <= (90, 40)).all()
    assert predictor.predict([]) == []


def test_bad_images_are_named(run: Path, tmp_path: Path) -> None:
    predictor = Predictor.from_run(run)
    with pytest.raises(DataError, match=r"none\.png"):
        predictor.predict([tmp_path / "none.png"])
    with pytest.raises(DataError):
        predictor.predict([np.zeros((3, 4, 5, 6))])
    with pytest.raises(ConfigError, match="put a single one in brackets"):
        predictor.predict("a.png")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        predictor.predict([], batch_size=0)


def test_runs_are_fetched_from_the_hub(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(name: str, **_: object) -> str:
        asked.append(name)
        if name == "team/ships":
            return str(run)
        raise OSError("We could not reach the hub\nsecond line")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert Predictor.from_run("team/ships", device="cpu").classes == Predictor.from_run(run).classes
    with pytest.raises(
        CheckpointError, match="team/planes: no such run directory, and not found on the hub: We"
    ):
        Predictor.from_run("team/planes")
    for local in ("./team/ships", "/team/ships", "ships"):
        with pytest.raises(CheckpointError, match="no such run directory"):
            Predictor.from_run(local)
    assert asked == ["team/ships", "team/planes"]


def test_wrong_devices_and_runs_are_named(run: Path) -> None:
    with pytest.raises(ConfigError, match="device is 'gpu9'; valid: cpu, cuda"):
        Predictor.from_run(run, device="gpu9")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device 'cuda' cannot be used"):
            Predictor.from_run(run, device="cuda")
    before = Predictor.from_run(run).header.model
    weights = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\0\0")
    assert Predictor.from_run(run).header.model != before, "exchanged weights are another model"
    info = read_run(run)
    replace(info, codec={"name": "hieroglyphs", "classes": []}).write(run)
    with pytest.raises(CheckpointError, match=r"lmmrotate\.json: the run's codec cannot be built"):
        Predictor.from_run(run)
    info.write(run)
    (run / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Predictor.from_run(run)
    (run / RUN_FILE).unlink()
    with pytest.raises(CheckpointError, match="not a run directory"):
        Predictor.from_run(run)


def test_command_line(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "data" / "images"
    (images / "broken.png").write_bytes((images / "train0.png").read_bytes()[:60])
    (images / "notes.txt").write_text("no image")
    output = tmp_path / "out.jsonl"
    drawn = tmp_path / "drawn"
    command = ["predict", "--model", str(run), str(images), "-o", str(output), "--max_new_tokens", "12"]
    assert main([*command, "--draw", str(drawn), "--json"]) == 1
    printed = capfd.readouterr()
    result = json.loads(printed.out)
    assert result["predicted"] == 4
    assert len(result["unreadable"]) == 1
    assert "broken.png" in result["unreadable"][0]
    assert "skipped:" in printed.err
    assert len(read_predictions(output).images) == 4
    assert len(list(drawn.iterdir())) == 4
    manifest = str(tmp_path / "data" / "train.jsonl")
    assert (
        main(["predict", "--model", str(run), "--manifest", manifest, "-o", str(output), "--num_beams", "2"])
        == 0
    )
    assert "4 images predicted" in capfd.readouterr().out


def test_images_of_any_kind_are_predicted(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 255, shape, dtype=np.uint8)

    pictures = {
        "one.png": Image.fromarray(noise(1, 1, 3)),
        "long.png": Image.fromarray(noise(2, 30_000, 3)),
        "grey.png": Image.fromarray(noise(20, 30)),
        "alpha.png": Image.fromarray(noise(20, 30, 4)),
        "deep.png": Image.fromarray(rng.integers(0, 65_535, (20, 30), dtype=np.uint16)),
        "print.jpg": Image.fromarray(noise(20, 30, 4), "CMYK"),
        "turned.jpg": Image.fromarray(noise(20, 30, 3)),
    }
    for name, picture in pictures.items():
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "turned.jpg" else 1  # 6: the camera lay on its side
        picture.save(tmp_path / name, exif=exif)
    found = Predictor.from_run(run).predict([tmp_path / name for name in pictures], options=SHORT)
    sizes = {Path(p.image).name: (p.width, p.height) for p in found}
    assert sizes == {name: p.size for name, p in pictures.items()} | {"turned.jpg": (20, 30)}


def test_options_may_stand_before_images(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "q.jsonl"
    images = [str(tmp_path / "data" / "images" / f"train{i}.png") for i in (0, 1)]
    assert (
        main(
            ["predict", "--model", str(run), images[0], "-o", str(output), "--max_new_tokens", "3", images[1]]
        )
        == 0
    )
    assert len(read_predictions(output).images) == 2
    with pytest.raises(SystemExit):
        main(["predict", "--model", str(run), images[0], "--colour", "red"])
