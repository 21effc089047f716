"""Chat models: an image and a question in, an answer out, through Transformers' native classes.

What all families share: prompts by chat template, labels on the answer only, padding and packing, decoding,
saving. A family adds how it shows an image (``qwen_vl``, ``internvl``, ``llava_onevision``, ``paligemma``).
Image processor, tokenizer and template are joined here: Transformers' joint processors need torchvision.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    Cache,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from lmmrotate.errors import ConfigError
from lmmrotate.models.base import IGNORE_INDEX, FamilyOptions
from lmmrotate.models.causal_decoder import CausalAnswerDecoder
from lmmrotate.models.chat_prompt import CHATML, ChatPrompt, chat_prompt, refuse_image_token
from lmmrotate.models.chat_rows import Row, packed, padded
from lmmrotate.models.hub import refuse_missing
from lmmrotate.models.vocabulary import add_plain_tokens, build_chat_tokenizer, grow_embeddings

LONGEST_ANSWER = 8192
"""Tokens; models with positions for more could write for minutes before anybody notices."""


@dataclass(frozen=True, eq=False)
class Look:
    """An image as a family shows it."""

    ids: list[int]
    """The tokens in whose places its features stand, with what encloses them."""
    tensors: dict[str, torch.Tensor]
    """Model inputs; those of several images are joined along the first axis."""


class ChatFamily(ABC):
    """A chat model, its tokenizer, its image processor and the question it is asked; see ``ModelFamily``."""

    processor_class: ClassVar[Any]
    """The image processor, in its variant without torchvision."""
    image_token: ClassVar[str]
    """What the chat template puts where the image belongs."""
    special_tokens: ClassVar[Mapping[str, str]]
    """Further tokens that the family needs, by the tokenizer's name for them."""
    has_template: ClassVar[bool] = True
    can_pack: ClassVar[bool] = True
    attention: ClassVar[Mapping[str, Any]] = {}
    """What stands for an attention implementation that not every part of the model has."""
    tiny_image: ClassVar[str]
    """The image in the template of the tiny model."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any,
        options: FamilyOptions,
    ) -> None:
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.image_processor = image_processor
        self.prompt, self.system_prompt, self.packing = options.prompt, options.system_prompt, options.packing
        refuse_image_token(self.image_token, options)
        if self.packing and not self.can_pack:
            raise ConfigError(f"packing: {model.config.model_type} reads its question in both directions")
        self._asked = self._question()
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(self._asked.end)
        most = options.image_square_length**2 if options.image_square_length else options.max_pixels
        if options.min_pixels or most:
            self._limit_pixels(options.min_pixels, most)
        longest = options.language_model_max_length
        room = self._text_config.max_position_embeddings - len(self._asked.after_image)
        if longest and longest > room:
            raise ConfigError(
                f"language_model_max_length is {longest}, but the model has positions for {room} tokens"
            )
        self._longest = longest or min(LONGEST_ANSWER, room // 2)
        self._stored_generation = model.generation_config
        model.generation_config = GenerationConfig(
            eos_token_id=self._asked.end, pad_token_id=tokenizer.pad_token_id, do_sample=False
        )

    @classmethod
    def load(cls, name_or_path: str, revision: str | None, options: FamilyOptions) -> ChatFamily:
        """Load a checkpoint from a directory or the hub.

        Raises:
            CheckpointError: if it lacks weights that the model needs, or a chat template.
        """
        model = (cls._with_weights if options.weights else cls._shapes)(name_or_path, revision, options)
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, revision=revision)
        if cls.has_template:  # that of the processor knows images; the tokenizer's may be a text model's
            template = _processors_template(name_or_path, revision)
            tokenizer.chat_template = template or tokenizer.chat_template
        image_processor = cls.processor_class.from_pretrained(name_or_path, revision=revision)
        return cls(model, tokenizer, image_processor, options)

    @classmethod
    def _with_weights(cls, name_or_path: str, revision: str | None, options: FamilyOptions) -> Any:
        model, found = AutoModelForImageTextToText.from_pretrained(
            name_or_path,
            revision=revision,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=cls._attention(options),
            output_loading_info=True,
        )
        refuse_missing(name_or_path, found["missing_keys"])
        return model

    @classmethod
    def _shapes(cls, name_or_path: str, revision: str | None, options: FamilyOptions) -> Any:
        config = AutoConfig.from_pretrained(name_or_path, revision=revision)
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(
                config, attn_implementation=cls._attention(options)
            )

    @classmethod
    def tiny(cls, tokens: Sequence[str], words: Sequence[str], options: FamilyOptions) -> ChatFamily:
        """Random weights, below 5 million, with a tokenizer that knows ``tokens`` and ``words``."""
        tokenizer = build_chat_tokenizer([*words, options.prompt, *tokens], cls.special_tokens)
        if cls.has_template:
            tokenizer.chat_template = CHATML.replace("IMAGE", cls.tiny_image)
        config, image_processor = cls.tiny_parts(tokenizer)
        model = AutoModelForImageTextToText.from_config(config, attn_implementation=cls._attention(options))
        return cls(model, tokenizer, image_processor, options)

    @classmethod
    def _attention(cls, options: FamilyOptions) -> Any:
        if not cls.can_pack and options.attn_implementation.startswith("flash"):
            raise ConfigError(
                f"attn_implementation {options.attn_implementation} reads in one direction only, this family "
                "its question in both; valid: sdpa, eager"
            )
        return cls.attention.get(options.attn_implementation, options.attn_implementation)

    @classmethod
    @abstractmethod
    def tiny_parts(cls, tokenizer: PreTrainedTokenizerBase) -> tuple[PreTrainedConfig, Any]:
        """Configuration and image processor of the tiny model."""

    @abstractmethod
    def _look(self, image: Image.Image) -> Look:
        """The image, RGB, as the model is shown it."""

    @abstractmethod
    def shown_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        """See ``ModelFamily``."""

    @property
    @abstractmethod
    def image_square_length(self) -> int:
        """Side in pixels of the largest square that is shown without reduction."""

    @abstractmethod
    def _limit_pixels(self, least: int | None, most: int | None) -> None:
        """Show images with at least and at most so many pixels."""

    @abstractmethod
    def parts(self) -> dict[str, list[torch.nn.Module]]:
        """See ``ModelFamily``."""

    def _question(self) -> ChatPrompt:
        return chat_prompt(self.tokenizer, self.image_token, self.prompt, self.system_prompt)

    def _positions(self, ids: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(..., T) positions of the tokens of one conversation."""
        return torch.arange(len(ids))

    def _kinds(self, rows: Sequence[Row], length: int, left: bool) -> dict[str, torch.Tensor]:
        """Further inputs about the tokens of a batch."""
        return {}

    def serving_prompt(self) -> str:
        return self._asked.text

    @property
    def keeps_size(self) -> bool:
        return True

    @property
    def grid(self) -> int:
        return 0

    def cell_states(self, outputs: Any) -> torch.Tensor:
        raise ConfigError("cell_loss needs a model with an encoder, such as florence2")

    @property
    def max_answer_tokens(self) -> int:
        return self._longest

    @property
    def _text_config(self) -> Any:
        return self.model.config.get_text_config()

    def add_tokens(self, tokens: Sequence[str]) -> int:
        """See ``ModelFamily``. New rows lie at the mean of the others, a thousandth of their spread apart."""
        fresh = add_plain_tokens(self.tokenizer, tokens)
        grow_embeddings(self.model, fresh, spread=1e-3)
        return len(fresh)

    def answer_ids(self, answer: str) -> list[int]:
        ids: list[int] = self.tokenizer(answer, add_special_tokens=False).input_ids if answer else []
        return [*ids, self._asked.end]

    def training_batch(self, images: Sequence[Image.Image], answers: Sequence[str]) -> dict[str, Any]:
        """Inputs with ``labels`` (B, T); logits are computed only where an answer's next token is told from:
        ``logits_to_keep`` (K,) places, ``shift_labels`` (B, K) the tokens that follow them.

        With packing, B is 1: conversations stand one behind the other and do not see each other.
        """
        rows = [self._row(image, answer) for image, answer in zip(images, answers, strict=True)]
        batch = packed(rows) if self.packing else self._padded(rows, left=False)
        following = batch["labels"][:, 1:]
        keep = (following != IGNORE_INDEX).any(dim=0).nonzero().flatten()
        # With a cache, Transformers would not look for packed conversations.
        return batch | {"logits_to_keep": keep, "shift_labels": following[:, keep], "use_cache": False}

    def _row(self, image: Image.Image, answer: str | None = None) -> Row:
        look = self._look(image)
        asked = [*self._asked.before_image, *look.ids, *self._asked.after_image]
        ids = torch.tensor(asked if answer is None else asked + self.answer_ids(answer))
        return Row(ids, len(asked), self._positions(ids, look.tensors), look.tensors)

    def _padded(self, rows: Sequence[Row], *, left: bool) -> dict[str, torch.Tensor]:
        batch = padded(rows, self.tokenizer.pad_token_id, left=left)
        return batch | self._kinds(rows, batch["input_ids"].shape[1], left)

    @torch.inference_mode()
    def answer_decoder(
        self, images: Sequence[Image.Image], *, alphabet: torch.Tensor | None = None, beams: int = 1
    ) -> CausalAnswerDecoder:
        self.model.eval()
        rows = [self._row(image) for image in images]
        batch = {name: value.to(self.model.device) for name, value in self._padded(rows, left=True).items()}
        del batch["labels"]
        for name, value in batch.items():
            if value.is_floating_point():
                batch[name] = value.to(self.model.dtype)

        def read(cache: Cache) -> torch.Tensor:
            out = self.model.model(**batch, past_key_values=cache, use_cache=True)
            states: torch.Tensor = out.last_hidden_state
            return states

        return CausalAnswerDecoder(
            self.model.model.language_model,
            self.model.lm_head,
            read,
            batch["attention_mask"],
            torch.tensor([int(row.positions.max()) + 1 for row in rows], device=self.model.device),
            alphabet=alphabet,
            beams=beams,
        )

    def grown_positions(self) -> list[tuple[torch.nn.Parameter, int]]:
        return []  # they are rotations, not tables

    def enable_gradient_checkpointing(self) -> None:
        self.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})

    def save_processor(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
        path = folder / "preprocessor_config.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        # The name without the variant is the one that older versions and other programs know.
        settings["image_processor_type"] = settings["image_processor_type"].removesuffix("Pil")
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def save(self, folder: Path, layout: str) -> None:
        if layout != "native":
            raise ConfigError(f"layout is {layout!r}; valid for {self.model.config.model_type}: native")
        self.model.save_pretrained(folder)
        self._stored_generation.save_pretrained(folder)
        self.save_processor(folder)

    def _parts(self, vision: Iterable[Any], projector: Iterable[Any]) -> dict[str, list[torch.nn.Module]]:
        language = [self.model.model.language_model, self.model.lm_head]
        return {"vision": list(vision), "projector": list(projector), "language": language}


def _processors_template(name_or_path: str, revision: str | None) -> str | None:
    """The template beside the tokenizer's own settings, which Transformers' processors prefer to those; None
    for the newest form of it, which the tokenizer itself reads."""
    find = partial(cached_file, name_or_path, revision=revision, _raise_exceptions_for_missing_entries=False)
    path = None if find("chat_template.jinja") else find("chat_template.json")
    return str(json.loads(Path(path).read_text(encoding="utf-8"))["chat_template"]) if path else None
