"""``--engine vllm``, by a stand-in with vLLM's interface that writes as the model itself would."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrotate.cli.main import main
from lmmrotate.codec.registry import make_codec
from lmmrotate.data.predictions import read_predictions
from lmmrotate.errors import ConfigError
from lmmrotate.inference.decoding import DecodingOptions
from lmmrotate.inference.predictor import Predictor
from lmmrotate.models.loading import load_family
from lmmrotate.runs import RunInfo

CODEC = make_codec("rbox", ("ship", "harbor"))
PICTURES = [Image.new("RGB", size, colour) for size, colour in (((64, 64), "red"), ((90, 40), "blue"))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("run")
    family = load_family("tiny-qwen2_5_vl", tokens=CODEC.special_tokens, words=CODEC.words)
    family.save(folder, "native")
    RunInfo(CODEC.to_json(), "Where?", family.image_square_length).write(folder)
    return folder


class Vllm:
    """Greedy, a prompt at a time, with the log-probabilities of what it writes."""

    def __init__(self, model: str, **options: Any) -> None:
        self.family = load_family(model, tokens=(), prompt="Where?")
        self.options = options

    def generate(self, prompts: list[dict[str, Any]], settings: Any, use_tqdm: bool) -> list[Any]:
        return [self._one(prompt, settings) for prompt in prompts]

    def _one(self, prompt: dict[str, Any], settings: Any) -> Any:
        assert prompt["prompt"].count("<|image_pad|>") == 1
        assert "Where?" in prompt["prompt"]
        with torch.inference_mode():
            decoder = self.family.answer_decoder([prompt["multi_modal_data"]["image"]])
            logits, ids, logs, reason = decoder.begin(), [], [], "length"
            while len(ids) < settings.max_tokens:
                token = int(logits.argmax())
                ids.append(token)
                logs.append({token: SimpleNamespace(logprob=float(logits.log_softmax(1)[0, token]))})
                if token in settings.stop_token_ids:
                    reason = "stop"
                    break
                logits = decoder.step(torch.tensor([token]))
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, logprobs=logs, finish_reason=reason)])


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("vllm")
    module.LLM, module.SamplingParams = Vllm, SimpleNamespace
    module.__spec__ = SimpleNamespace(name="vllm")
    monkeypatch.setitem(sys.modules, "vllm", module)


@pytest.mark.usefixtures("vllm")
def test_the_same_answers_and_scores(run: Path) -> None:
    options = DecodingOptions(grammar="off", max_new_tokens=30, overflow="keep")
    ours = Predictor.from_run(run).predict_pictures(["a", "b"], PICTURES, options)
    served = Predictor.from_run(run, engine="vllm")
    theirs = served.predict_pictures(["a", "b"], PICTURES, options)
    assert [one.text for one in theirs] == [one.text for one in ours]
    assert [one.truncated for one in theirs] == [one.truncated for one in ours]
    for one, other in zip(theirs, ours, strict=True):
        assert np.allclose(one.scores, other.scores, atol=1e-4)
    assert served.header.settings["engine"] == "vllm"
    for refused in (DecodingOptions(num_beams=2, grammar="off"), DecodingOptions()):
        with pytest.raises(ConfigError, match="--engine vllm"):
            served.predict_pictures(["a"], PICTURES[:1], refused)


@pytest.mark.usefixtures("vllm")
def test_the_command(run: Path, tmp_path: Path) -> None:
    PICTURES[0].save(tmp_path / "a.png")
    output = tmp_path / "out.jsonl"
    command = ["predict", str(tmp_path / "a.png"), "--model", str(run), "-o", str(output), "--engine", "vllm"]
    assert main([*command, "--max_new_tokens", "20", "--overflow", "keep"]) == 0
    found = read_predictions(output)
    assert found.header.settings["grammar"] == "off"
    assert len(found.images) == 1


def test_it_is_told_when_vllm_is_missing_or_of_no_use(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'lmmrotate\[vllm\]'"):
        Predictor.from_run(run, engine="vllm")
    with pytest.raises(ConfigError, match="vLLM does not run florence2"):
        Predictor.from_run("tiny", engine="vllm")
