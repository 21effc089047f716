"""Every model family and every response format: from four images to a run that knows them, and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrotate.codec.base import TextForm
from lmmrotate.codec.registry import codec_from_json, make_codec
from lmmrotate.data.manifest import Manifest
from lmmrotate.data.predictions import Predictions, read_predictions
from lmmrotate.data.records import ImageRecord
from lmmrotate.errors import DataError
from lmmrotate.evaluation.evaluate import evaluate
from lmmrotate.inference.batch import predict_to_file
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.inference.sources import FileSource
from lmmrotate.models.base import IGNORE_INDEX
from lmmrotate.models.loading import MODEL_TYPES, load_family
from lmmrotate.runs import RunInfo, read_run
from lmmrotate.training.config import TrainConfig
from lmmrotate.training.fit import train
from lmmrotate.training.parameters import choose_parameters, part_sizes

CLASSES = ("ship", "small-vehicle")
FORMATS = ("florence2", "rbox", "allseeing", "plain", "json")
OPTIONS = DecodingOptions(max_new_tokens=200, overflow="keep")
# Of several sizes and shapes; each is one colour, so that a model can tell them apart at once.
SCENES = (
    ((64, 64), (255, 0, 0), [(20, 20, "ship"), (40, 44, "small-vehicle")]),
    ((96, 40), (0, 255, 0), [(60, 20, "ship")]),
    ((50, 130), (0, 0, 255), [(25, 100, "small-vehicle")]),
    ((64, 64), (255, 255, 255), []),
)


def preset(model_type: str) -> str:
    return "tiny-random" if model_type == "florence2" else f"tiny-{model_type}"


def square(cx: float, cy: float) -> np.ndarray:
    return np.array([[cx - 9, cy - 7], [cx + 9, cy - 5], [cx + 8, cy + 8], [cx - 10, cy + 6]], dtype=float)


@dataclass(frozen=True)
class Data:
    manifest: Manifest
    path: Path
    pictures: list[Image.Image]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("four")
    records, pictures = [], []
    for number, (wh, colour, objects) in enumerate(SCENES):
        name = f"{number}.png"
        pictures.append(Image.new("RGB", wh, colour))
        pictures[-1].save(folder / name)
        quads = np.array([square(cx, cy) for cx, cy, _ in objects]).reshape(-1, 4, 2)
        labels = tuple(label for *_, label in objects)
        records.append(ImageRecord(name, *wh, quads, labels, (0,) * len(labels)))
    manifest = Manifest("four", "train", CLASSES, tuple(records), folder)
    manifest.write(folder / "train.jsonl")
    return Data(manifest, folder / "train.jsonl", pictures)


@pytest.fixture
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def memorised(data: Data, folder: Path, model_type: str, response_format: str, **options: object) -> Path:
    settings: dict[str, object] = {
        "data_path": (str(data.path),), "output_dir": str(folder),
        "model_name_or_path": preset(model_type), "response_format": response_format,
        "max_steps": 90, "per_device_train_batch_size": 4, "learning_rate": 2e-3, "save_steps": 1000,
        "logging_steps": 5, "report_to": ("none",),
        "image_square_length": 64 if model_type == "florence2" else None,
    }  # fmt: skip
    return train(TrainConfig(**(settings | options))).run_folder  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("response_format", FORMATS)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_four_images_are_memorised(data: Data, tmp_path: Path, model_type: str, response_format: str) -> None:
    # Its decoder was not made for long texts.
    steps = 180 if model_type == "florence2" and response_format in ("allseeing", "plain", "json") else 90
    run = memorised(data, tmp_path / "run", model_type, response_format, max_steps=steps)

    log = json.loads((run / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.1 * losses[0]

    predictor = Predictor.from_run(run)
    found = predictor.predict_pictures([r.image for r in data.manifest.records], data.pictures, OPTIONS)
    result = evaluate(data.manifest, Predictions(predictor.header, tuple(found)))
    assert result.mf1 == 1.0
    codec = codec_from_json(read_run(run).codec)
    for prediction in found:
        assert not prediction.problems
        if isinstance(codec.form, TextForm):
            assert codec.form.machine(False).accepts(prediction.text)
        assert all(0 < score <= 1 for score in prediction.scores)

    again = Predictor.from_run(run)
    single = [again.predict_pictures(["x"], [picture], OPTIONS)[0] for picture in data.pictures]
    assert [one.text for one in single] == [one.text for one in found]
    for one, other in zip(single, found, strict=True):
        assert np.allclose(one.scores, other.scores, atol=1e-4)
    free = DecodingOptions(max_new_tokens=200, grammar="off", overflow="keep")
    assert [one.text for one in predictor.predict_pictures(list("abcd"), data.pictures, free)] == [
        one.text for one in found
    ]


@pytest.mark.parametrize("response_format", FORMATS)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_model_that_knows_nothing_keeps_to_the_grammar(
    data: Data, model_type: str, response_format: str
) -> None:
    torch.manual_seed(3)
    codec = make_codec(response_format, CLASSES)
    family = load_family(preset(model_type), tokens=codec.special_tokens, words=codec.words)
    info = RunInfo(codec=codec.to_json(), prompt="", image_square_length=family.image_square_length)
    predictor = Predictor(family, codec, info)
    for strictness in ("syntax", "classes"):
        options = DecodingOptions(max_new_tokens=120, grammar=strictness, overflow="keep")  # type: ignore[arg-type]
        for prediction in predictor.predict_pictures(list("abcd"), data.pictures, options):
            kinds = {problem.kind for problem in prediction.problems}
            allowed = {"out_of_range", "repetition"}  # pixels beyond this image; boxes once more
            if prediction.truncated:
                allowed |= {"incomplete_box", "unread_text", "no_label", "unknown_label", "corrected_label"}
            assert kinds <= allowed
            if isinstance(codec.form, TextForm):
                assert leads_on(codec.form, strictness == "classes", prediction.text)


def leads_on(form: TextForm, ordered: bool, text: str) -> bool:
    """Whether the grammar's machine lets every byte of a text be written, cut off or not."""
    machine, state = form.machine(ordered), 0
    for byte in text.encode():
        if byte not in machine.next[state]:
            return False
        state = machine.next[state][byte]
    return True


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("model_type", ["qwen2_vl", "internvl", "llava_onevision"])
def test_scenes_are_cut_as_training_images_are(data: Data, tmp_path: Path, model_type: str) -> None:
    """Images that training reduces are reduced as much in a scene: tiles have their side, not the model's."""
    run = memorised(data, tmp_path / "run", model_type, "plain", max_steps=1, image_square_length=64)
    assert read_run(run).image_square_length == 130, "of the tallest image"
    family = load_family(str(run), tokens=())
    assert family.image_square_length <= 64
    assert Predictor.from_run(run).tile_px == 130


def test_images_too_narrow_are_told_by_name(data: Data, tmp_path: Path) -> None:
    """By training at once, by prediction beside the others' answers."""
    folder = data.path.parent
    Image.new("RGB", (900, 3)).save(folder / "narrow.png")
    records = (*data.manifest.records, ImageRecord("narrow.png", 900, 3))
    Manifest("four", "train", CLASSES, records, folder).write(folder / "narrow.jsonl")
    narrow = Data(data.manifest, folder / "narrow.jsonl", data.pictures)
    with pytest.raises(DataError, match=r"narrow\.png: an image of 900 x 3 px is too narrow"):
        memorised(narrow, tmp_path / "run", "qwen2_vl", "allseeing", max_steps=1)
    run = memorised(data, tmp_path / "good", "qwen2_vl", "allseeing", max_steps=1)
    work = [(record.image, FileSource(folder / record.image)) for record in records]
    options = DecodingOptions(max_new_tokens=5, overflow="keep")
    result = predict_to_file(Predictor.from_run(run), work, tmp_path / "out.jsonl", options=options)
    assert result.finished
    assert len(result.unreadable) == 1
    assert "narrow.png: an image of 900 x 3 px is too narrow" in result.unreadable[0]
    assert len(read_predictions(tmp_path / "out.jsonl").images) == 4


@pytest.mark.parametrize("response_format", ["florence2", "json"])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_what_is_saved_writes_the_same(
    data: Data, tmp_path: Path, model_type: str, response_format: str
) -> None:
    torch.manual_seed(5)
    codec = make_codec(response_format, CLASSES)
    family = load_family(preset(model_type), tokens=codec.special_tokens, words=codec.words)
    assert sum(p.numel() for p in family.model.parameters()) < 5e6
    family.save(tmp_path, "native")
    again = load_family(str(tmp_path), tokens=codec.special_tokens)
    info = RunInfo(codec=codec.to_json(), prompt="", image_square_length=family.image_square_length)
    options = DecodingOptions(max_new_tokens=60, grammar="off", overflow="keep")
    before, after = (
        Predictor(one, codec, info).predict_pictures(list("abcd"), data.pictures, options)
        for one in (family, again)
    )
    assert [one.text for one in before] == [one.text for one in after]
    assert any(one.text for one in before)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_parts_can_be_frozen(model_type: str) -> None:
    family = load_family(preset(model_type), tokens=())
    everything = {id(p) for p in family.model.parameters()}
    parts = {
        part: {id(p) for module in modules for p in module.parameters()}
        for part, modules in family.parts().items()
    }
    assert all(parts.values())
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())), "no part of two parts"
    assert len(everything - set().union(*parts.values())) <= 1, "but for LLaVA's line end"
    for part in parts:
        frozen: dict[str, bool] = {
            "freeze_vision": part != "vision",
            "freeze_multimodal_projection": part != "projector",
            "freeze_language": part != "language",
        }
        fresh = load_family(preset(model_type), tokens=())
        choose_parameters(fresh, TrainConfig(data_path=("x",), output_dir="x", **frozen), ())  # type: ignore[arg-type]
        sizes = {size.part: size.trainable for size in part_sizes(fresh)}
        assert {name for name in ("vision", "projector", "language") if sizes[name]} == {part}


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("model_type", ["internvl", "qwen3_vl"])
def test_interrupted_training_goes_on(data: Data, tmp_path: Path, model_type: str) -> None:
    run = memorised(data, tmp_path / "run", model_type, "plain", max_steps=8, save_steps=4, packing=True)
    expected = load_family(str(run), tokens=()).model.state_dict()
    (run / "lmmrotate.json").unlink()
    shutil.rmtree(run / "checkpoints" / "checkpoint-8")
    memorised(data, run, model_type, "plain", max_steps=8, save_steps=4, packing=True)
    found = load_family(str(run), tokens=()).model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("model_type", ["paligemma", "qwen2_5_vl"])
def test_a_run_ends_with_its_best_checkpoint(data: Data, tmp_path: Path, model_type: str) -> None:
    """Nothing gets better once everything is found: the weights of that time are the run's, not the last."""
    options = {"eval_data_path": (str(data.path),), "eval_metric": "mF1", "save_total_limit": 5}
    run = memorised(data, tmp_path / "run", model_type, "rbox", save_steps=30, **options)
    state = json.loads((run / "trainer_state.json").read_text())
    best = Path(state["best_model_checkpoint"])
    assert best.name != "checkpoint-90"
    expected, found = (load_family(str(one), tokens=()).model.state_dict() for one in (best, run))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert state["best_metric"] == 1.0


CHAT = tuple(name for name in MODEL_TYPES if name != "florence2")


@pytest.mark.parametrize("model_type", CHAT)
def test_the_loss_is_on_the_answer_alone(data: Data, model_type: str) -> None:
    codec = make_codec("allseeing", CLASSES)
    family = load_family(preset(model_type), tokens=(), words=codec.words)
    answers = [codec.encode(r.quads, r.labels, r.wh) for r in data.manifest.records]
    batch = family.training_batch(data.pictures, answers)
    tokenizer = family.tokenizer
    for ids, labels, shifted, answer in zip(
        batch["input_ids"], batch["labels"], batch["shift_labels"], answers, strict=True
    ):
        taught = labels[labels != IGNORE_INDEX]
        assert tokenizer.decode(taught[:-1]) == answer
        assert int(taught[-1]) == family.answer_ids("")[-1]
        assert torch.equal(shifted[shifted != IGNORE_INDEX], taught)
        first = int((labels != IGNORE_INDEX).int().argmax())
        assert "Locate the objects tightly" in tokenizer.decode(ids[:first])
        assert batch["logits_to_keep"].tolist().count(first - 1) == 1


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_everything_that_is_trained_gets_a_gradient(data: Data, model_type: str) -> None:
    """Distributed training would wait for the others."""
    codec = make_codec("rbox", CLASSES)
    options = {"image_square_length": 64} if model_type == "florence2" else {}
    family = load_family(preset(model_type), tokens=codec.special_tokens, words=codec.words, **options)
    answers = [codec.encode(r.quads, r.labels, r.wh) for r in data.manifest.records]
    family.model(**family.training_batch(data.pictures, answers)).loss.backward()
    left = [n for n, p in family.model.named_parameters() if p.requires_grad and p.grad is None]
    assert not left


@pytest.mark.parametrize("model_type", CHAT)
@torch.no_grad()
def test_padding_and_packing_change_nothing(data: Data, model_type: str) -> None:
    torch.manual_seed(0)
    codec = make_codec("plain", CLASSES)
    family = load_family(preset(model_type), tokens=(), words=codec.words)
    family.model.eval()
    answers = [codec.encode(r.quads, r.labels, r.wh) for r in data.manifest.records]
    padded = family.training_batch(data.pictures, answers)
    expected = float(family.model(**padded).loss)
    whole = {n: v for n, v in padded.items() if n not in ("shift_labels", "logits_to_keep")}
    assert float(family.model(**whole).loss) == pytest.approx(expected, rel=1e-5), "all logits"
    rows = [family._row(*pair) for pair in zip(data.pictures, answers, strict=True)]  # type: ignore[attr-defined]
    left = family._padded(rows, left=True)  # type: ignore[attr-defined]
    assert left["attention_mask"][:, -1].all()
    assert not padded["attention_mask"][:, -1].all()
    assert float(family.model(**left).loss) == pytest.approx(expected, rel=1e-5), "padding on the left"
    if model_type != "paligemma":
        family.packing = True  # type: ignore[attr-defined]
        packed = family.training_batch(data.pictures, answers)
        assert packed["input_ids"].shape[0] == 1
        assert float(family.model(**packed).loss) == pytest.approx(expected, rel=1e-5), "packed"


@pytest.mark.parametrize("model_type", CHAT)
@torch.no_grad()
def test_answers_equal_those_of_transformers(data: Data, model_type: str) -> None:
    torch.manual_seed(0)
    family = load_family(preset(model_type), tokens=(), words=("ship",))
    for picture in data.pictures:
        row = family._row(picture)  # type: ignore[attr-defined]
        inputs = family._padded([row], left=True)  # type: ignore[attr-defined]
        inputs = {n: v for n, v in inputs.items() if n not in ("labels", "position_ids")}
        if "image_grid_thw" in inputs:
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == family.model.config.image_token_id).int()
        expected = family.model.generate(**inputs, max_new_tokens=15, do_sample=False)[0, len(row.ids) :]
        with torch.inference_mode():
            decoder = family.answer_decoder([picture])
            logits, tokens = decoder.begin(), []
            while len(tokens) < len(expected):
                tokens.append(int(logits.argmax()))
                logits = decoder.step(torch.tensor(tokens[-1:]))
        assert tokens == expected.tolist()


def shown_picture(model_type: str, tensors: dict[str, torch.Tensor], wh: tuple[int, int]) -> np.ndarray:
    """(H, W) brightness of the image as the vision tower gets it, put together again."""
    values = tensors["pixel_values"]
    width, height = wh
    if model_type.startswith("qwen"):
        rows, columns = height // 16, width // 16
        patches = values.view(rows, columns, 2, 2, 3, 2, 8, 8)[:, :, :, :, :, 0]
        return patches.permute(0, 2, 5, 1, 3, 6, 4).reshape(height, width, 3).mean(2).numpy()
    if model_type == "internvl":
        patches = values[: (width // 64) * (height // 64)].view(height // 64, width // 64, 3, 64, 64)
        return patches.permute(0, 3, 1, 4, 2).reshape(height, width, 3).mean(2).numpy()
    if model_type == "llava_onevision":
        crops = values[1:]
        for rows in range(1, 4):
            columns = len(crops) // rows
            if rows * columns == len(crops) and (rows * 48 == height or columns * 48 == width):
                frame = crops.view(rows, columns, 3, 48, 48).permute(0, 3, 1, 4, 2)
                frame = frame.reshape(rows * 48, columns * 48, 3).mean(2)
                top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
                if top >= 0 and left >= 0:
                    return frame[top : top + height, left : left + width].numpy()
        raise AssertionError("no frame fits")
    return values[0].mean(0).numpy()


@pytest.mark.parametrize("wh", [(100, 100), (900, 31), (33, 700), (257, 255), (1, 40), (300, 220)])
@pytest.mark.parametrize("model_type", CHAT)
def test_coordinates_survive_the_resize(model_type: str, wh: tuple[int, int]) -> None:
    """A white corner of a black image must lie where ``shown_wh`` says that it is shown."""
    family = load_family(preset(model_type), tokens=())
    width, height = wh
    x, y = 0.6 * width, 0.4 * height
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: max(1, round(y)), : max(1, round(x))] = 255
    tensors = family._look(Image.fromarray(pixels)).tensors  # type: ignore[attr-defined]
    shown = family.shown_wh(wh)
    seen = shown_picture(model_type, tensors, shown)
    assert seen.shape == shown[::-1]
    share = (seen - seen.min()) / (seen.max() - seen.min())
    at_x = share[0].sum() / shown[0] * width  # where the white ends, back in pixels of the image
    at_y = share[:, 0].sum() / shown[1] * height
    one_x, one_y = max(width / shown[0], width / 1000), max(height / shown[1], height / 1000)
    assert abs(at_x - max(1, round(x))) <= one_x
    assert abs(at_y - max(1, round(y))) <= one_y


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("options", [{}, {"load_in_4bit": True}, {"precision": "bf16"}], ids=str)
@pytest.mark.parametrize("model_type", ["florence2", "qwen2_5_vl"])
def test_frozen_weights_in_fewer_bits(
    data: Data, tmp_path: Path, model_type: str, options: dict[str, object]
) -> None:
    """Adapters beside weights of 32, 4 and 16 bits learn; what is saved is a plain model that knows it."""
    if "load_in_4bit" in options:
        pytest.importorskip("bitsandbytes")
    # Of few steps: without instructions for it, a CPU takes several times as long in 16 bits.
    lora: dict[str, object] = {
        "language_model_lora": True, "lora_rank": 32, "lora_dropout": 0.0, "learning_rate": 6e-3,
        "max_steps": 70 if model_type == "florence2" else 40,
        "eval_data_path": (str(data.path),), "eval_intermediate_checkpoints": False,
    }  # fmt: skip
    run = memorised(data, tmp_path / "run", model_type, "rbox", **lora, **options)
    state = json.loads((run / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in state if "loss" in entry]
    assert losses[-1] < 0.3 * losses[0]
    family = load_family(str(run), tokens=())
    answers = [make_codec("rbox", CLASSES).encode(r.quads, r.labels, r.wh) for r in data.manifest.records]
    family.model.eval()
    with torch.no_grad():
        loss = float(family.model(**family.training_batch(data.pictures, answers)).loss)
    assert loss == pytest.approx(losses[-1], rel=0.25, abs=0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize("model_type", CHAT)
def test_adapters_learn_new_words(data: Data, tmp_path: Path, model_type: str) -> None:
    """LoRA on a checkpoint without location tokens: rows are added, trained, saved and read."""
    start = tmp_path / "start"
    torch.manual_seed(0)
    family = load_family(preset(model_type), tokens=(), words=("ship", "small vehicle"))
    rows = family.model.get_input_embeddings().num_embeddings
    family.save(start, "native")
    run = memorised(
        data, tmp_path / "run", model_type, "rbox", model_name_or_path=str(start), max_steps=20,
        language_model_lora=True, lora_rank=4, freeze_vision=True, gradient_checkpointing=True,
        packing=model_type != "paligemma", image_square_length=None,
    )  # fmt: skip
    known = load_family(str(run), tokens=make_codec("rbox", CLASSES).special_tokens)
    tables = [known.model.get_input_embeddings().weight, known.model.get_output_embeddings().weight]
    words = family.tokenizer.convert_tokens_to_ids(["ship", "small vehicle"])
    others = [row for row in range(rows) if row not in words]
    for table in tables:
        assert len(table) == rows + 1001
        assert torch.equal(table[others], family.model.get_input_embeddings().weight[others])
        assert (table[rows:] - table[rows:].mean(0)).abs().max() > 0.01, "they have been trained apart"
    before, after = (dict(f.model.named_parameters()) for f in (family, known))
    vision = {id(p) for module in family.parts()["vision"] for p in module.parameters()}
    for name, parameter in before.items():
        if id(parameter) in vision:
            assert torch.equal(parameter, after[name]), name
    changed = [n for n, p in before.items() if p.shape == after[n].shape and not torch.equal(p, after[n])]
    assert any("language_model" in name for name in changed)
    Predictor.from_run(run).predict_pictures(["x"], data.pictures[:1], OPTIONS)


def test_nobody_asks_for_the_family() -> None:
    """No code outside the models asks which family it holds."""
    source = Path(__file__).parents[1] / "src" / "lmmrotate"
    names = [name for name in MODEL_TYPES if name != "florence2"]
    for path in source.rglob("*.py"):
        if "models" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not [name for name in names if f'"{name}"' in text], path
