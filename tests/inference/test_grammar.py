"""Whatever the model wants, what it writes can be read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.loc_tokens import LocTokenCodec
from lmmrotate.codec.rbox_tokens import RBoxTokenCodec
from lmmrotate.inference.decoding import Answer, DecodingOptions, Writer
from lmmrotate.inference.grammar import STRICTNESS
from lmmrotate.inference.scores import FORMULAS, evidence_of
from lmmrotate.models.loading import load_family
from lmmrotate.models.vocabulary import build_tokenizer

BLANK = Image.new("RGB", (8, 8))


@dataclass
class Hostile:
    """A family whose logits are made up: noise, infinities, NaN, or all probability on one token."""

    codec: BoxCodec
    seed: int
    room: int = 120
    model: Any = field(default_factory=lambda: SimpleNamespace(device=torch.device("cpu")))

    def __post_init__(self) -> None:
        self.tokenizer = build_tokenizer(())
        self.tokenizer.add_tokens(list(self.codec.special_tokens))
        self.max_answer_tokens = self.room

    def answer_ids(self, answer: str) -> list[int]:
        return list(self.tokenizer(answer).input_ids)

    def answer_decoder(
        self, images: Sequence[Image.Image], *, alphabet: torch.Tensor | None = None, beams: int = 1
    ) -> "HostileDecoder":
        return HostileDecoder(self.seed, len(images) * beams, len(self.tokenizer), alphabet, beams)


class HostileDecoder:
    def __init__(
        self, seed: int, rows: int, vocabulary: int, alphabet: torch.Tensor | None, beams: int
    ) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._rows, self._beams, self._kind = rows, beams, seed % 6
        self._alphabet = torch.arange(vocabulary) if alphabet is None else alphabet

    def begin(self) -> torch.Tensor:
        return self.step(torch.zeros(self._rows))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        assert len(tokens) == self._rows
        shape = (self._rows, len(self._alphabet))
        noise = torch.randn(shape, generator=self._generator) * 10
        share = torch.rand(shape, generator=self._generator)
        if self._kind == 1:
            noise[share < 0.5] = -torch.inf
        elif self._kind == 2:
            noise[:] = -torch.inf
        elif self._kind == 3:
            noise[share < 0.1] = torch.nan
        elif self._kind == 4:
            noise[share < 0.1] = torch.inf
        elif self._kind == 5:  # in love with one token
            noise[:, self._alphabet == int(self._alphabet[len(self._alphabet) // 3])] = 1e4
        return noise

    def reorder(self, rows: torch.Tensor) -> None:
        assert rows.max() < self._rows

    def keep(self, images: torch.Tensor) -> None:
        self._rows = len(images) * self._beams


CODECS: list[BoxCodec] = [
    LocTokenCodec(("ship", "small-vehicle")),
    LocTokenCodec(("plane", "plane-2", "plane 2 wing", "p"), bins=2),
    LocTokenCodec(("There are none.", "there are", "12"), bins=7, response_version=2),
    LocTokenCodec(("quai é", " spaced  out ", "船"), bins=3, response_version=1),
    RBoxTokenCodec(("Harbor", "roundabout", "a-b"), bins=5),
    RBoxTokenCodec(("x",), bins=1000),
]


def whole_boxes(answer: Answer, numbers: int) -> int:
    """Boxes in the tokens, counted without the codec."""
    count = run = 0
    for bin_ in answer.bins:
        run = run + 1 if bin_ >= 0 else 0
        if run == numbers:
            count, run = count + 1, 0
    return count


def check(answer: Answer, codec: BoxCodec, strictness: str) -> None:
    decoded = codec.decode(answer.text, (640, 480))
    if not answer.truncated:
        assert decoded.problems == ()
    else:
        assert len(decoded.problems) <= 1, "a box cut off by the limit, or a name before it"
    assert len(decoded.quads) == whole_boxes(answer, len(codec.circular))
    evidence = evidence_of(answer, decoded.spans, codec, (640, 480))
    for formula in FORMULAS.values():
        scores = formula(evidence)
        assert scores.shape == (len(decoded.quads),)
        assert ((scores >= 0) & (scores <= 1 + 1e-6)).all()
    if strictness in ("classes", "boxes"):
        order = [codec.form.words.index(word) for word in spoken(decoded.labels)]
        assert order == sorted(order)
    if strictness == "boxes":
        in_order(answer, codec, decoded.labels)


def spoken(labels: Sequence[str]) -> list[str]:
    return [label.replace("-", " ").lower() for label in labels]


def in_order(answer: Answer, codec: BoxCodec, labels: Sequence[str]) -> None:
    numbers = len(codec.circular)
    bins = answer.bins[answer.bins >= 0]
    places = bins[: len(labels) * numbers].reshape(-1, numbers)[:, :2]
    for (one, label), (two, other) in pairwise(zip(places.tolist(), labels, strict=True)):
        assert label != other or (one[1], one[0]) <= (two[1], two[0])


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: f"{c.name}-{c.classes[0]}")
@pytest.mark.parametrize("strictness", ["syntax", "classes", "boxes"])
def test_ten_thousand_hostile_answers_can_be_read(codec: BoxCodec, strictness: Any) -> None:
    answers = 0
    for seed in range(12):
        for beams, images in ((1, 40), (3, 8)):
            family = Hostile(codec, seed)
            options = DecodingOptions(grammar=strictness, num_beams=beams)
            for answer in Writer(family, codec.form, options).write([BLANK] * images):  # type: ignore[arg-type]
                check(answer, codec, strictness)
                answers += 1
    assert answers * len(CODECS) * 3 > 10_000


@pytest.mark.parametrize("codec", CODECS[:2], ids=lambda c: c.classes[0])
def test_random_models_with_hostile_prompts(codec: BoxCodec) -> None:
    for seed, prompt in enumerate(("", "<loc_0>" * 20, "</s><s>", "\x00 é 船 " * 30)):
        torch.manual_seed(seed)
        family = load_family(
            "tiny-random", tokens=codec.special_tokens, image_square_length=32, prompt=prompt
        )
        for weights in family.model.parameters():
            torch.nn.init.normal_(weights, std=1.0)
        for strictness in STRICTNESS:
            options = DecodingOptions(grammar=strictness, max_new_tokens=60)
            for answer in Writer(family, codec.form, options).write([BLANK] * 4):
                if strictness == "off":
                    codec.decode(answer.text, (640, 480))  # problems, but no exception
                else:
                    check(answer, codec, strictness)


class Scripted(Hostile):
    """Writes one text about every image, a letter or location at a time, as far as it is allowed to."""

    text = ""

    def answer_decoder(
        self, images: Sequence[Image.Image], *, alphabet: torch.Tensor | None = None, beams: int = 1
    ) -> Any:
        ids = torch.tensor(self.answer_ids(self.text))
        columns = torch.arange(len(self.tokenizer)) if alphabet is None else alphabet
        steps = iter(ids)

        def step(tokens: torch.Tensor | None = None) -> torch.Tensor:
            return (columns == next(steps)).float().expand(len(images) * beams, -1)

        return SimpleNamespace(begin=step, step=step, keep=lambda _: None, reorder=lambda _: None)


def box(*numbers: int) -> str:
    return "".join(f"<loc_{number}>" for number in numbers)


def written(text: str, strictness: Any = "syntax", room: int = 400) -> Answer:
    codec = LocTokenCodec(("ship", "car"))
    family = Scripted(codec, 0, room)
    family.text = text
    return Writer(family, codec.form, DecodingOptions(grammar=strictness)).write([BLANK])[0]  # type: ignore[arg-type]


def test_a_box_written_again_ends_the_answer_and_is_kept_aside() -> None:
    one, two = box(*range(8)), box(*range(20, 28))
    begin = f"car{one}<sep>{two}"
    answer = written(f"{begin}ship{one}<sep>{two}<sep>{one}<sep>{two}")
    assert answer.text == f"{begin}ship{one}<sep>{two}", "another class may stand at the same place"
    assert answer.repetition.startswith(f"<sep>{one}")
    assert not answer.truncated
    assert len(answer.bins) == len(answer.log_probs) == len(answer.token_ends) == len(answer.spreads)
    again = f"{begin}<sep>{one}<sep>{one}"
    assert written(again, "off").text == again, "without a grammar the model is left alone"


def test_boxes_that_stay_where_they_are_end_the_answer() -> None:
    rows = [
        "<sep>".join(box(*(50 * row + step + place for place in range(8))) for row in range(3))
        for step in range(9)
    ]
    stuck = "car" + "<sep>".join(rows)  # three boxes, each a bin further on every time
    answer = written(stuck)
    assert answer.repetition
    assert stuck.startswith(answer.text + answer.repetition)
    assert answer.text.count("<sep>") == 2, "the three, and none of the eight that brought no progress"
    street = "car" + "<sep>".join(box(*(3 * step + place for place in range(8))) for step in range(30))
    assert written(street).text == street, "parked side by side"


def test_grammar_knows_every_answer_that_the_codec_writes() -> None:
    """Nothing that was trained is forbidden."""
    rng = np.random.default_rng(0)
    for codec in CODECS:
        family = Hostile(codec, 0)
        for strictness in ("syntax", "classes", "boxes"):
            writer = Writer(family, codec.form, DecodingOptions(grammar=strictness))  # type: ignore[arg-type]
            rules = writer._rules
            assert rules.alphabet is not None
            column = {token: place for place, token in enumerate(rules.alphabet.tolist())}
            for count in (0, 1, 7):
                corners = rng.uniform(0, 400, (count, 1, 2)) + np.array(
                    [[0, 0], [90, 10], [80, 60], [-10, 50]]
                )
                labels = [codec.classes[i] for i in rng.integers(len(codec.classes), size=count)]
                text = codec.encode(corners, labels, (500, 500))
                known = rules.begin(1)
                for token in family.answer_ids(text):
                    logits = rules.mask(torch.zeros(1, len(column)), known)
                    assert logits[0, column[token]] == 0, (text, token, strictness)
                    known = rules.advance(known, torch.tensor([column[token]]))
