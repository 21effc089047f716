"""Florence-2 through Transformers' native classes.

Input layout: ``<image> * N <s> prompt </s>`` where N is one token for the mean of all image features
followed by one a feature cell, row by row. Answer layout: ``<s> answer </s>``; the decoder starts from
``</s>``, so a generated sequence begins ``</s><s>``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoTokenizer,
    CLIPImageProcessorPil,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from lmmrotate.errors import ConfigError
from lmmrotate.models.bart_decoder import BartAnswerDecoder
from lmmrotate.models.base import IGNORE_INDEX, FamilyOptions
from lmmrotate.models.hub import local_folder, refuse_missing
from lmmrotate.models.legacy import attach_head_bias, read_original, write_original
from lmmrotate.models.legacy_layout import HEAD_BIAS, is_original
from lmmrotate.models.positions import grow_image_positions, grow_text_positions
from lmmrotate.models.preprocessing import SquareResize
from lmmrotate.models.presets import build_preset
from lmmrotate.models.vocabulary import add_plain_tokens, grow_embeddings

log = logging.getLogger(__name__)


class Florence2Family:
    """A Florence-2 model, its tokenizer, its image preprocessing and the one prompt it is asked with."""

    def __init__(
        self,
        model: Florence2ForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        preprocess: SquareResize,
        prompt: str,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.prompt = prompt
        if tokenizer.image_token in prompt:
            raise ConfigError(
                f"prompt: contains {tokenizer.image_token}, which stands for the image; leave it out"
            )
        self._old_positions = model.model.language_model.encoder.embed_positions.num_embeddings
        self._prompt_ids = torch.tensor(
            [tokenizer.image_token_id] * self._image_tokens() + tokenizer(prompt).input_ids
        )
        self._stored_generation = model.generation_config
        # Only what every answer needs: a checkpoint's own settings may forbid repeated n-grams, which
        # makes rows of equal coordinates impossible to write.
        model.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            decoder_start_token_id=model.config.text_config.decoder_start_token_id,
        )

    @classmethod
    def load(cls, name_or_path: str, revision: str | None, options: FamilyOptions) -> Florence2Family:
        """Load a checkpoint from a directory or the hub: a Transformers-native one, an original Florence-2,
        or one of the published LMMRotate.

        Position tables grow where the image or ``language_model_max_length`` needs more rows.

        Raises:
            CheckpointError: if it lacks weights that the model needs.
        """
        _refuse_chat(options)
        if is_original(PreTrainedConfig.get_config_dict(name_or_path, revision=revision)[0]):
            return cls._load_original(local_folder(name_or_path, revision), options)
        model, found = Florence2ForConditionalGeneration.from_pretrained(
            name_or_path,
            revision=revision,
            use_safetensors=True,
            dtype=torch.float32,  # half precision is training's and prediction's choice, not a file's
            attn_implementation=options.attn_implementation,
            output_loading_info=True,
        )
        refuse_missing(name_or_path, found["missing_keys"])
        if HEAD_BIAS in found["unexpected_keys"]:
            attach_head_bias(model, load_file(Path(name_or_path) / "model.safetensors")[HEAD_BIAS])
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, revision=revision)
        stored = CLIPImageProcessorPil.from_pretrained(name_or_path, revision=revision)
        preprocess = SquareResize(stored.size.height, tuple(stored.image_mean), tuple(stored.image_std))
        return cls._grown(model, tokenizer, preprocess, options)

    @classmethod
    def _load_original(cls, folder: Path, options: FamilyOptions) -> Florence2Family:
        """See ``models.legacy``."""
        stored = read_original(folder, options.attn_implementation)
        stored.model.generation_config = GenerationConfig(
            decoder_start_token_id=stored.model.config.text_config.decoder_start_token_id,
            bos_token_id=stored.tokenizer.bos_token_id,
            eos_token_id=stored.tokenizer.eos_token_id,
            pad_token_id=stored.tokenizer.pad_token_id,
            **stored.generation,
        )
        return cls._grown(stored.model, stored.tokenizer, stored.preprocess, options)

    @classmethod
    def _grown(
        cls,
        model: Florence2ForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        preprocess: SquareResize,
        options: FamilyOptions,
    ) -> Florence2Family:
        if options.image_square_length:
            preprocess = replace(preprocess, side_px=options.image_square_length)
        grid = _grid(model, preprocess.side_px)
        needed = 1 + grid**2 + len(tokenizer(options.prompt).input_ids)
        grow_image_positions(model, grid)
        before = model.config.text_config.max_position_embeddings
        old_rows = grow_text_positions(model, max(options.language_model_max_length or 0, needed))
        after = model.config.text_config.max_position_embeddings
        if after > before:
            log.warning(
                "the language model's positions grow from %d to %d; new ones are random", before, after
            )
        family = cls(model, tokenizer, preprocess, options.prompt)
        family._old_positions = old_rows
        return family

    @classmethod
    def from_preset(
        cls, name: str, tokens: Sequence[str], words: Sequence[str], options: FamilyOptions
    ) -> Florence2Family:
        """Random weights of a preset's shape; arguments as for ``load_family``."""
        _refuse_chat(options)
        model, tokenizer, side = build_preset(
            name,
            words=[*words, options.prompt],
            location_tokens=tokens,
            image_square_length=options.image_square_length,
            language_model_max_length=options.language_model_max_length,
            attn_implementation=options.attn_implementation,
        )
        return cls(model, tokenizer, SquareResize(side), options.prompt)

    @property
    def image_square_length(self) -> int:
        return self.preprocess.side_px

    @property
    def keeps_size(self) -> bool:
        return False

    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        return self.image_square_length, self.image_square_length

    @property
    def max_answer_tokens(self) -> int:
        return int(self.model.config.text_config.max_position_embeddings)

    def add_tokens(self, tokens: Sequence[str]) -> int:
        """See ``ModelFamily``. New rows are spread like the others: short trainings do not part near ones."""
        fresh = add_plain_tokens(self.tokenizer, tokens)
        grow_embeddings(self.model, fresh, spread=1.0)
        return len(fresh)

    def answer_ids(self, answer: str) -> list[int]:
        ids: list[int] = self.tokenizer(answer).input_ids
        return ids

    def training_batch(
        self, images: Sequence[Image.Image], answers: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """``pixel_values`` (B, 3, S, S), ``input_ids`` and ``attention_mask`` (B, P), ``labels`` (B, T).

        Labels are not shifted (the model does that); padding is ``IGNORE_INDEX``.
        """
        return self._prompt_batch(images) | {"labels": self.answer_labels(answers)}

    def answer_labels(self, answers: Sequence[str]) -> torch.Tensor:
        """(B, T) token ids of the answers, filled up with ``IGNORE_INDEX``."""
        rows = [self.answer_ids(answer) for answer in answers]
        labels = torch.full((len(rows), max(map(len, rows))), IGNORE_INDEX)
        for label, row in zip(labels, rows, strict=True):
            label[: len(row)] = torch.tensor(row)
        return labels

    def cell_states(self, outputs: Any) -> torch.Tensor:
        # The first token is the mean of all cells, the prompt follows the last.
        states: torch.Tensor = outputs.encoder_last_hidden_state[:, 1 : self._image_tokens()]
        return states

    def parts(self) -> dict[str, list[torch.nn.Module]]:
        inner = self.model.model
        return {
            "vision": [inner.vision_tower],
            "projector": [inner.multi_modal_projector],
            "language": [inner.language_model],
        }

    def grown_positions(self) -> list[tuple[torch.nn.Parameter, int]]:
        language = self.model.model.language_model
        tables = [part.embed_positions.weight for part in (language.encoder, language.decoder)]
        return [(table, self._old_positions) for table in tables if len(table) > self._old_positions]

    def enable_gradient_checkpointing(self) -> None:
        """Transformers does it for the language model; the vision tower's blocks are wrapped here."""
        self.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        for block in self.model.model.vision_tower.blocks.modules():
            if type(block).__name__ == "Florence2VisionBlock":
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)

    def save_processor(self, folder: Path) -> None:
        """Tokenizer and image preprocessing in the layout that ``Florence2Processor`` reads."""
        side = self.preprocess.side_px
        image_processor = CLIPImageProcessorPil(
            size={"height": side, "width": side},
            do_center_crop=False,  # the default would cut 224 px out of the middle
            image_mean=list(self.preprocess.mean),
            image_std=list(self.preprocess.std),
            image_seq_length=self._image_tokens(),
        )
        Florence2Processor(image_processor, self.tokenizer).save_pretrained(folder)

    def save(self, folder: Path, layout: str) -> None:
        """``native``, or ``original``: what Microsoft's and the published LMMRotate's code loads."""
        if layout == "original":
            write_original(
                self.model, self.tokenizer, self.preprocess, self._stored_generation.to_dict(), folder
            )
        elif layout == "native":
            self.model.save_pretrained(folder)
            self._stored_generation.save_pretrained(folder)
            self.save_processor(folder)
        else:
            raise ConfigError(f"layout is {layout!r}; valid: native, original")

    @torch.inference_mode()
    def answer_decoder(
        self, images: Sequence[Image.Image], *, alphabet: torch.Tensor | None = None, beams: int = 1
    ) -> BartAnswerDecoder:
        self.model.eval()
        batch = {name: value.to(self.model.device) for name, value in self._prompt_batch(images).items()}
        return BartAnswerDecoder(
            self.model.model.language_model.decoder,
            self.model.lm_head,
            self._encode(batch),
            start_token=self.model.generation_config.decoder_start_token_id,
            alphabet=alphabet,
            beams=beams,
        )

    def _encode(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Encoder states (B, P, d) of image and prompt."""
        inner = self.model.model
        embeddings = inner.get_input_embeddings()(batch["input_ids"])
        features = inner.get_image_features(batch["pixel_values"].to(embeddings.dtype)).pooler_output
        embeddings[:, : features.shape[1]] = features
        states: torch.Tensor = inner.language_model.encoder(
            inputs_embeds=embeddings, attention_mask=batch["attention_mask"]
        ).last_hidden_state
        return states

    def _prompt_batch(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        ids = self._prompt_ids.repeat(len(images), 1)
        return {
            "pixel_values": self.preprocess(images),
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
        }

    def serving_prompt(self) -> str:
        raise ConfigError("vLLM does not run florence2; use --engine local or ray")

    @property
    def grid(self) -> int:
        """Feature cells a side."""
        return _grid(self.model, self.preprocess.side_px)

    def _image_tokens(self) -> int:
        return 1 + self.grid**2


def _grid(model: Florence2ForConditionalGeneration, side_px: int) -> int:
    """Feature cells a side: every stage divides by its stride, rounding up."""
    return -(-side_px // int(prod(model.config.vision_config.patch_stride)))


def _refuse_chat(options: FamilyOptions) -> None:
    """Raises ConfigError for options of chat models."""
    for name in ("system_prompt", "min_pixels", "max_pixels", "packing"):
        if value := getattr(options, name):
            raise ConfigError(f"{name} is {value!r}, but florence2 has no such thing; leave it out")
