"""Our decoding loop against Transformers' own, and what it promises beside the tokens."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutput

from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.errors import ConfigError
from lmmrotate.inference.beams import search
from lmmrotate.inference.decoding import Answer, DecodingOptions, Writer
from lmmrotate.inference.grammar import FreeRules
from lmmrotate.inference.measures import Measures
from lmmrotate.models.bart_decoder import BartAnswerDecoder
from lmmrotate.models.florence2 import Florence2Family
from lmmrotate.models.loading import load_family
from lmmrotate.training.lora import Lora

from ..models.published_stop import published_stop

CODEC = LocTokenCodec(("ship", "small-vehicle", "quai é"))
ANSWERS = [
    "ship" + "<loc_7>" * 8 + "<sep>" + "<loc_9>" * 8 + "small vehicle" + "<loc_1>" * 8,
    "There are none.",
    "quai é" + "<loc_999>" * 8,
    "small vehicle"
    + "<sep>".join("".join(f"<loc_{place + 20 * box}>" for place in range(8)) for box in range(9)),
]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in ANSWERS]


@pytest.fixture(scope="module")
def memorised(pictures: list[Image.Image]) -> Florence2Family:
    """A model that writes ANSWERS; tests only read from it."""
    torch.manual_seed(0)
    family = load_family(
        "tiny-random", tokens=CODEC.special_tokens, words=("ship", "small vehicle"), image_square_length=64
    )
    assert isinstance(family, Florence2Family)
    batch = family.training_batch(pictures, ANSWERS)
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=1e-3)
    family.model.train()
    for _ in range(150):
        loss = family.model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.detach()) < 0.1
    return family


def write(family: Florence2Family, pictures: list[Image.Image], **options: Any) -> list[Answer]:
    return Writer(family, CODEC.form, DecodingOptions(**options)).write(pictures)


@torch.inference_mode()
def generated(family: Florence2Family, pictures: list[Image.Image], **options: Any) -> Any:
    """What Transformers writes, with its scores."""
    family.model.eval()
    batch = family._prompt_batch(pictures)
    return family.model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        encoder_outputs=BaseModelOutput(last_hidden_state=family._encode(batch)),
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
        **options,
    )


@pytest.mark.parametrize("grammar", ["off", "syntax", "classes"])
@pytest.mark.parametrize("beams", [1, 3])
def test_memorised_answers_come_back(
    memorised: Florence2Family, pictures: list[Image.Image], beams: int, grammar: str
) -> None:
    answers = write(memorised, pictures, num_beams=beams, grammar=grammar)
    assert [a.text for a in answers] == ANSWERS
    for answer in answers:
        count = len(answer.token_ids)
        assert count == len(answer.token_ends) == len(answer.log_probs) == len(answer.bins)
        assert answer.spreads.shape == (count, 2)
        assert answer.token_ids.tolist() == memorised.answer_ids(answer.text)
        assert answer.token_ends[-1] == len(answer.text)
        assert not answer.truncated
        assert not answer.repetition
        assert (answer.log_probs <= 1e-6).all()
        assert (np.diff(answer.token_ends) >= 0).all()
    first = answers[0]
    assert first.text[: first.token_ends[1]] == "ship"
    assert first.text[first.token_ends[1] : first.token_ends[2]] == "<loc_7>"
    assert first.bins[2:11].tolist() == [7] * 8 + [-1]
    alone = write(memorised, pictures[:1], num_beams=beams, grammar=grammar)[0]
    np.testing.assert_allclose(alone.log_probs, first.log_probs, atol=1e-4)


def test_log_probabilities_are_those_of_the_steps(
    memorised: Florence2Family, pictures: list[Image.Image]
) -> None:
    stepwise = generated(memorised, pictures, max_new_tokens=30)
    expected = memorised.model.compute_transition_scores(
        stepwise.sequences, stepwise.scores, normalize_logits=True
    )
    for answer, row in zip(
        write(memorised, pictures, max_new_tokens=30, grammar="off"), expected, strict=True
    ):
        np.testing.assert_allclose(answer.log_probs, row[: len(answer.log_probs)], atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beams", [1, 2, 3, 5])
def test_tokens_equal_transformers_on_random_weights(
    pictures: list[Image.Image], beams: int, seed: int
) -> None:
    """Random weights wander; a raised end token lets some answers end early and others late."""
    torch.manual_seed(seed)
    family = load_family("tiny-random", tokens=CODEC.special_tokens, image_square_length=64)
    assert isinstance(family, Florence2Family)
    for weights in family.model.parameters():
        torch.nn.init.normal_(weights, std=0.4 if weights.ndim > 1 else 0.1)
    bias = torch.zeros(family.model.lm_head.out_features)
    bias[family.tokenizer.eos_token_id] = 0.5 * family.model.lm_head.weight.norm(dim=1).mean()
    family.model.lm_head.bias = torch.nn.Parameter(bias)
    with published_stop(family.model):
        expected = generated(family, pictures, max_new_tokens=24, num_beams=beams).sequences[:, 1:]
    rules, measures = FreeRules(family, CODEC.form), Measures(torch.arange(10))
    if beams == 1:
        found = [a.token_ids.tolist() for a in write(family, pictures, max_new_tokens=24, grammar="off")]
    else:
        with torch.inference_mode():
            decoder = family.answer_decoder(pictures, beams=beams)
            found = [ids for ids, _ in search(decoder, rules, measures, len(pictures), beams, 24)]
    end = family.tokenizer.eos_token_id
    for ids, row in zip(found, expected.tolist(), strict=True):
        assert ids == row[: row.index(end) + 1] if end in row else ids == row


def test_limit_is_reported(memorised: Florence2Family, pictures: list[Image.Image]) -> None:
    short = write(memorised, pictures, max_new_tokens=18)
    assert [a.truncated for a in short] == [True, False, False, True]
    assert len(short[0].token_ids) == 18
    assert write(memorised, []) == []


def test_spread_tells_sure_locations_from_unsure_ones(
    memorised: Florence2Family, pictures: list[Image.Image]
) -> None:
    """Against the distributions themselves, as a forward pass over the answer gives them."""
    answer = write(memorised, pictures[:1])[0]
    batch = memorised.training_batch(pictures[:1], [answer.text])
    with torch.inference_mode():
        logits = memorised.model(**batch).logits[0].double()
    columns = memorised.tokenizer.convert_tokens_to_ids(list(CODEC.form.locations))
    for place in np.flatnonzero(answer.bins >= 0):
        shares = logits[place, columns].softmax(dim=0).numpy()
        off = np.arange(1000) - answer.bins[place]
        assert answer.spreads[place, 0] == pytest.approx(np.sqrt(shares @ off**2), rel=0.02, abs=0.3)
        chord = 2000 / (2 * np.pi) * np.sin(np.pi * off / 1000)
        assert answer.spreads[place, 1] == pytest.approx(np.sqrt(shares @ chord**2), rel=0.02, abs=0.3)


def test_adapters_take_part(pictures: list[Image.Image]) -> None:
    """Validation during a LoRA training asks the model with its adapters."""
    torch.manual_seed(0)
    family = load_family("tiny-random", tokens=CODEC.special_tokens, image_square_length=64)
    assert isinstance(family, Florence2Family)
    Lora(family, rank=4, alpha=8, dropout=0.1)
    for name, weights in family.model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.5)
    expected = generated(family, pictures, max_new_tokens=12).sequences[:, 1:].tolist()
    found = write(family, pictures, max_new_tokens=12, grammar="off")
    assert [a.token_ids.tolist() for a in found] == [
        row[: len(a.token_ids)] for a, row in zip(found, expected, strict=True)
    ]


def test_options_are_checked() -> None:
    for wrong in ({"num_beams": 0}, {"max_new_tokens": 0}, {"grammar": "latin"}, {"overflow": "spill"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            DecodingOptions(**wrong)  # type: ignore[arg-type]


def test_threads_share_a_writer(memorised: Florence2Family, pictures: list[Image.Image]) -> None:
    writer = Writer(memorised, CODEC.form, DecodingOptions())
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        found[number] = [a.text for _ in range(3) for a in writer.write(pictures)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(texts == ANSWERS * 3 for texts in found.values())
    assert len(found) == 4


class ForcedEnd(FreeRules):
    """As the published settings have it: at the limit an end token comes, whatever the model says."""

    def __init__(self, family: Florence2Family, room: int) -> None:
        super().__init__(family, CODEC.form)
        self._room = room

    def begin(self, rows: int) -> torch.Tensor:
        return torch.zeros((rows, 1), dtype=torch.int64)

    def mask(self, logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        others = torch.arange(logits.shape[1]) != self.end
        return logits.masked_fill((known == self._room - 1) & others, -torch.inf)

    def advance(self, known: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return known + 1


@pytest.mark.golden
@torch.inference_mode()
def test_tokens_of_the_published_code(golden: Callable[[str], Path]) -> None:
    recorded = json.loads(golden("j_florence2.json").read_text())
    arrays = np.load(golden("j_florence2.npz"))
    family = load_family(str(golden("j_tiny_florence2")), tokens=CODEC.special_tokens)
    assert isinstance(family, Florence2Family)
    family.model.eval()
    head = family.model.lm_head.bias.data
    before = float(head[2])
    ended = {
        name.replace("plain_", ""): v for name, v in recorded["generate_eos_bias"].items() if "plain" in name
    }
    wanted = {
        f"bias0_{name}": v for name, v in recorded["generate"]["plain"].items() if name[:1] in "ABC"
    } | ended
    compared = 0
    for name, expected in wanted.items():
        found = re.fullmatch(r"bias([0-9.]+)_([ABC])_beams([13])_max([0-9]+)", name)
        if not found:  # variants of attention
            continue
        head[2] = before + float(found[1])
        case, beams, room = found[2], int(found[3]), int(found[4]) - 1
        assert written(family, arrays, case, beams, room) == [
            row[1 : row.index(2, 1) + 1] for row in expected["ids"]
        ], name
        compared += 1
    assert compared == 12 + 30


def written(family: Florence2Family, arrays: Any, case: str, beams: int, room: int) -> list[list[int]]:
    prompt = torch.from_numpy(arrays[f"{case}/input_ids"])
    image = torch.full(
        (len(prompt), arrays[f"{case}/image_features"].shape[1]), family.tokenizer.image_token_id
    )
    ids = torch.cat([image, prompt], dim=1)
    pixels = torch.from_numpy(arrays[f"{case}/pixel_values"])
    states = family._encode(
        {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    )
    decoder = BartAnswerDecoder(
        family.model.model.language_model.decoder,
        family.model.lm_head,
        states,
        start_token=2,
        alphabet=None,
        beams=beams,
    )
    rules = ForcedEnd(family, room)
    if beams > 1:
        measures = Measures(rules.locations)
        return [tokens for tokens, _ in search(decoder, rules, measures, len(ids), beams, room)]
    writer = Writer(family, CODEC.form, DecodingOptions(grammar="off"))
    writer._rules = rules
    return [page.tokens for page in writer._greedy(decoder, len(ids), room)]
