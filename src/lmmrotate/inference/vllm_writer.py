"""Answers written by vLLM instead of Transformers: many at once, paged, on GPUs.

vLLM loads the run directory by itself; of the model here only tokenizer, prompt and sizes are used. It is
greedy and knows no grammar of ours: what it writes is read by the same tolerant codecs, with the same scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lmmrotate.codec.base import AnswerForm, TextForm
from lmmrotate.errors import ConfigError
from lmmrotate.inference.decoding import Answer, DecodingOptions
from lmmrotate.inference.repetition import Vocabulary
from lmmrotate.models.base import ModelFamily
from lmmrotate.models.vocabulary import Speller


class VllmWriter:
    """Writes answers as ``Writer`` does; see there."""

    def __init__(
        self, family: ModelFamily, form: AnswerForm | TextForm, options: DecodingOptions, engine: Any
    ) -> None:
        """
        Args:
            engine: as ``start_engine`` made it.

        Raises:
            ConfigError: for beams or a grammar.
        """
        if options.num_beams != 1:
            raise ConfigError("--engine vllm writes the likeliest token, always; leave num_beams at 1")
        if options.grammar != "off":
            raise ConfigError("--engine vllm knows no grammar; use --grammar off")
        self._engine = engine
        self._prompt = family.serving_prompt()
        self._vocabulary = Vocabulary(family, form)
        self._end = family.answer_ids("")[-1]
        self._speller = Speller(family.tokenizer, self._end)
        most = family.max_answer_tokens - 1
        self._room = min(options.max_new_tokens or most, most)

    def write(self, images: Sequence[Image.Image]) -> list[Answer]:
        """One answer an RGB image, in order."""
        settings = import_module("vllm").SamplingParams(
            temperature=0.0,
            max_tokens=self._room,
            logprobs=0,  # those of the tokens written
            stop_token_ids=[self._end],
            skip_special_tokens=False,
        )
        prompts = [{"prompt": self._prompt, "multi_modal_data": {"image": image}} for image in images]
        found = self._engine.generate(prompts, settings, use_tqdm=False)
        return [self._answer(one.outputs[0]) for one in found]

    def _answer(self, output: Any) -> Answer:
        ids = list(output.token_ids)
        text, ends = self._speller.text_with_ends(ids)
        logs = [entry[token].logprob for token, entry in zip(ids, output.logprobs, strict=True)]
        return Answer(
            text=text,
            token_ids=np.array(ids, dtype=np.int64),
            token_ends=np.array(ends, dtype=np.int64),
            bins=np.array([self._vocabulary.bins.get(token, -1) for token in ids], dtype=np.int64),
            log_probs=np.array(logs, dtype=np.float64),
            spreads=np.full((len(ids), 2), np.nan),  # of the distribution, vLLM tells the token chosen only
            truncated=output.finish_reason == "length",
            repetition="",
        )


def start_engine(folder: Path, torch_dtype: str) -> Any:
    """vLLM with the model of a run directory.

    Raises:
        ConfigError: if vLLM is not installed.
    """
    if find_spec("vllm") is None:
        raise ConfigError("--engine vllm needs vLLM and a GPU: pip install 'lmmrotate[vllm]'")
    return import_module("vllm").LLM(
        model=str(folder), dtype=torch_dtype, limit_mm_per_prompt={"image": 1}, seed=0
    )
