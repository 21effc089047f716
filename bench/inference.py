"""How fast answers are written: the published way, Transformers' greedy, and ours.

Same weights, same images, same length of every answer (the end token is put off), measured side by side in
one run. The published way is batch 1 and 3 beams with ``generate``; "prepare" below is reading pixels into
the model's square. With ``--model large`` and a GPU: random weights of Florence-2-large at 1024 px.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from transformers.modeling_outputs import BaseModelOutput

from lmmrotate.assets import TINY, model_path
from lmmrotate.codec.base import BoxCodec
from lmmrotate.codec.registry import codec_from_json, make_codec
from lmmrotate.data.synthetic.scene import CLASSES, SceneSpec, render_scene
from lmmrotate.inference.decoding import DecodingOptions, Writer
from lmmrotate.inference.grammar import Rules, Strictness
from lmmrotate.inference.scores import evidence_of
from lmmrotate.models.bart_decoder import BartAnswerDecoder
from lmmrotate.models.loading import PRESET_NAMES, load_family
from lmmrotate.runs import read_run

SEED = 1000  # of the first row of bench/tiny_accuracy.py
GSD_M = (0.2, 0.4)
BOXES = (0, 4, 8, 16, 32, 64, 125, 250)
BATCHES = (1, 4, 16, 32)
TOKENS_A_BOX = 9
PARTS = ("prepare", "vision", "encoder", "decoder", "rules", "measures")
_POSITIONS = 2400  # for 250 boxes; what new ones hold does not matter for time


class Endless:
    """Rules under which an answer never ends, so that all have one length."""

    def __init__(self, rules: Rules) -> None:
        self.alphabet, self.locations, self.end = rules.alphabet, rules.locations, rules.end
        self.begin, self.advance, self._rules = rules.begin, rules.advance, rules

    def mask(self, logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        logits[:, self.end] = -1e29
        return self._rules.mask(logits, known)


class Bench:
    def __init__(self, model: str, images: int, repeats: int, device: str) -> None:
        if model in PRESET_NAMES:
            self.codec: BoxCodec = make_codec("loc_tokens", CLASSES)
            self.family: Any = load_family(
                model,
                tokens=self.codec.special_tokens,
                words=self.codec.words,
                language_model_max_length=_POSITIONS,
            )
        else:
            info = read_run(model_path(model))
            self.codec = codec_from_json(info.codec)
            self.family = load_family(
                model,
                tokens=self.codec.special_tokens,
                words=self.codec.words,
                language_model_max_length=_POSITIONS,
            )
        self.family.model.to(device).eval()
        if device != "cpu":
            self.family.model.to(torch.bfloat16)
        self.repeats = repeats
        side = self.family.image_square_length
        spec = SceneSpec(side, side, GSD_M, 20, self.codec.classes)
        self.pictures = [Image.fromarray(render_scene(spec, SEED, i)[0]) for i in range(images)]
        self.device = device

    def seconds(self, work: Callable[[Sequence[Image.Image]], object], batch: int, images: int) -> float:
        """A picture, the fastest of some rounds."""
        chunks = [self.pictures[i : i + batch] for i in range(0, images, batch)]
        times = []
        for _ in range(self.repeats):
            begin = time.perf_counter()
            for chunk in chunks:
                work(chunk)
            if self.device != "cpu":
                torch.cuda.synchronize()
            times.append((time.perf_counter() - begin) / images)
        return min(times)

    @torch.inference_mode()
    def generate(self, pictures: Sequence[Image.Image], tokens: int, beams: int) -> object:
        batch = {k: v.to(self.device) for k, v in self.family._prompt_batch(pictures).items()}
        return self.family.model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            encoder_outputs=BaseModelOutput(last_hidden_state=self.family._encode(batch)),
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            num_beams=beams,
            do_sample=False,
        )

    def writer(self, tokens: int, beams: int = 1, grammar: Strictness = "syntax") -> Writer:
        options = DecodingOptions(max_new_tokens=tokens, num_beams=beams, grammar=grammar)
        writer = Writer(self.family, self.codec.form, options)
        writer._rules = Endless(writer._rules)  # type: ignore[assignment]
        writer._guard = lambda: None  # type: ignore[method-assign]
        return writer

    def ours(self, pictures: Sequence[Image.Image], writer: Writer) -> None:
        for picture, answer in zip(pictures, writer.write(pictures), strict=True):
            decoded = self.codec.decode(answer.text, picture.size)
            evidence_of(answer, decoded.spans, self.codec, picture.size)

    def ways(self, boxes: int) -> Table:
        tokens = 2 + TOKENS_A_BOX * boxes
        table = Table(title=f"{boxes} boxes ({tokens} tokens) an image, {torch.get_num_threads()} threads")
        headings = ("way", "batch", "images/s", "boxes/s", "tokens/s", "against published")
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "way" else "right")
        few, many = self.pictures[:8], self.pictures
        writer, beams = self.writer(tokens), self.writer(tokens, 3)
        free, ordered = self.writer(tokens, grammar="off"), self.writer(tokens, grammar="boxes")
        ways: list[tuple[str, int, int, Callable[[Sequence[Image.Image]], object]]] = [
            ("published: generate, 3 beams", 1, len(few), lambda p: self.generate(p, tokens, 3)),
            ("generate, greedy", 1, len(few), lambda p: self.generate(p, tokens, 1)),
            ("generate, greedy", 16, len(many), lambda p: self.generate(p, tokens, 1)),
            ("ours, 3 beams", 1, len(few), lambda p: self.ours(p, beams)),
            ("ours, 3 beams", 16, len(many), lambda p: self.ours(p, beams)),
            ("ours, no grammar", 16, len(many), lambda p: self.ours(p, free)),
            ("ours, boxes in order", 16, len(many), lambda p: self.ours(p, ordered)),
            *(("ours", b, len(many) if b > 1 else len(few), lambda p: self.ours(p, writer)) for b in BATCHES),
        ]
        published = 0.0
        for name, batch, images, work in ways:
            work(self.pictures[:batch])
            seconds = self.seconds(work, batch, images)
            published = published or seconds
            rates = (f"{number / seconds:,.1f}" for number in (1, boxes, tokens))
            table.add_row(name, str(batch), *rates, f"{published / seconds:.1f} x")
        return table

    def shares(self, boxes: int) -> Table:
        """Where our time goes."""
        columns = [self._shares(boxes, batch) for batch in (1, 16)]
        table = Table("", title=f"ours, {boxes} boxes an image: share of the time")
        for batch in (1, 16):
            table.add_column(f"batch {batch}", justify="right")
        for name in columns[0]:
            table.add_row(name, *(column[name] for column in columns))
        return table

    def _shares(self, boxes: int, batch: int) -> dict[str, str]:
        writer, pictures = self.writer(2 + TOKENS_A_BOX * boxes), self.pictures[:batch]
        self.ours(pictures, writer)
        spent = dict.fromkeys(PARTS, 0.0)
        with self._timed(writer, spent):
            begin = time.perf_counter()
            for _ in range(self.repeats):
                self.ours(pictures, writer)
            total = time.perf_counter() - begin
        spent["rest"] = total - sum(spent.values())
        inside = (spent["vision"] + spent["encoder"] + spent["decoder"]) / total
        return (
            {"ms an image": f"{1e3 * total / self.repeats / batch:.1f}"}
            | {part: f"{100 * share / total:.1f} %" for part, share in spent.items()}
            | {"inside the model": f"{100 * inside:.0f} %"}
        )

    @contextmanager
    def _timed(self, writer: Writer, spent: dict[str, float]) -> Iterator[None]:
        """While open, the calls of each part are timed."""
        family, model = self.family, self.family.model.model

        places = (
            (family, "_prompt_batch", "prepare"),
            (model, "get_image_features", "vision"),
            (model.language_model.encoder, "forward", "encoder"),
            (BartAnswerDecoder, "__init__", "decoder"),
            (BartAnswerDecoder, "step", "decoder"),
            (writer._rules, "mask", "rules"),
            (writer._rules, "advance", "rules"),
            (writer._measures, "take", "measures"),
        )
        before = [getattr(holder, name) for holder, name, _ in places]
        for (holder, name, part), work in zip(places, before, strict=True):
            setattr(holder, name, timed(work, part, spent, self.device))
        try:
            yield
        finally:
            for (holder, name, _), work in zip(places, before, strict=True):
                setattr(holder, name, work)

    def growth(self) -> Table:
        table = Table(title="ours: how it grows with the boxes of an image (batch 16)")
        for heading in ("boxes", "ms/image", "ms/box", "peak MiB"):
            table.add_column(heading, justify="right")
        for boxes in BOXES:
            tokens = 2 + TOKENS_A_BOX * boxes
            if tokens >= self.family.max_answer_tokens:
                break
            writer = self.writer(tokens)
            milliseconds = 1e3 * self.seconds(lambda p, w=writer: self.ours(p, w), 16, 16)  # type: ignore[misc]
            each = f"{milliseconds / boxes:.2f}" if boxes else ""
            table.add_row(str(boxes), f"{milliseconds:.1f}", each, f"{self.peak_mib():,.0f}")
        return table

    def peak_mib(self) -> float:
        if self.device != "cpu":
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == "darwin" else 2**10
        )


def timed(work: Callable[..., Any], part: str, spent: dict[str, float], device: str) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        out = work(*args, **options)
        if device != "cpu":
            torch.cuda.synchronize()
        spent[part] += time.perf_counter() - begin
        return out

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=TINY, help="run directory, or a shape with random weights")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--boxes", type=int, nargs="+", default=[8, 30])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    bench = Bench(options.model, options.images, options.repeats, options.device)
    console = Console()
    for boxes in options.boxes:
        console.print(bench.ways(boxes))
        console.print(bench.shares(boxes))
    console.print(bench.growth())


if __name__ == "__main__":
    main()
