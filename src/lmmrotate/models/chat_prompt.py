"""The conversation around an answer, from a checkpoint's own chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from lmmrotate.errors import CheckpointError, ConfigError, first_line
from lmmrotate.models.base import FamilyOptions

_ANSWER = "THE-ANSWER-STANDS-HERE"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A plain template for models made here; ``IMAGE`` is to be replaced by the family's own tokens."""


@dataclass(frozen=True)
class ChatPrompt:
    """Token ids of a conversation about one image up to where the answer begins, and the one that ends it."""

    before_image: tuple[int, ...]
    after_image: tuple[int, ...]
    end: int
    text: str
    """The question, with one image token."""


def refuse_image_token(image_token: str, options: FamilyOptions) -> None:
    """Raises ConfigError where a question has the token that stands for the image: the template places it."""
    for name in ("prompt", "system_prompt"):
        if image_token in getattr(options, name):
            raise ConfigError(f"{name}: contains {image_token}, which stands for the image; leave it out")


def chat_prompt(
    tokenizer: PreTrainedTokenizerBase, image_token: str, prompt: str, system_prompt: str
) -> ChatPrompt:
    """The conversation as the tokenizer's chat template writes it.

    Args:
        image_token: what the template puts where the image belongs.
        system_prompt: empty for what the template does without one.

    Raises:
        CheckpointError: if there is no template, or it does not place image and answer.
    """
    if not tokenizer.chat_template:
        raise CheckpointError("the checkpoint has no chat template: take an instruction-tuned one")
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    ]
    if system_prompt:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system_prompt}]})
    answer = {"role": "assistant", "content": [{"type": "text", "text": _ANSWER}]}
    try:
        asked = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        told = str(tokenizer.apply_chat_template([*messages, answer], tokenize=False))
    except (TemplateError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"its chat template cannot write a question about an image ({first_line(error)}); is it that of "
            "a text model?"
        ) from error
    if asked.count(image_token) != 1 or told.count(_ANSWER) != 1:
        raise CheckpointError(
            f"its chat template does not place one image ({image_token}) and the answer: {told[:200]!r}"
        )

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False).input_ids) if text else ()

    before, after = asked.split(image_token)
    rest = ids(told.split(_ANSWER)[1])
    return ChatPrompt(ids(before), ids(after), rest[0] if rest else tokenizer.eos_token_id, asked)
