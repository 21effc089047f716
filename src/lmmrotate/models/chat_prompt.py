"""The conversation around an answer, from a checkpoint's own chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from lmmrotate.errors import CheckpointError

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
    asked = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    told = str(tokenizer.apply_chat_template([*messages, answer], tokenize=False))
    if asked.count(image_token) != 1 or told.count(_ANSWER) != 1:
        raise CheckpointError(
            f"its chat template does not place one image ({image_token}) and the answer: {told[:200]!r}"
        )

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False).input_ids) if text else ()

    before, after = asked.split(image_token)
    rest = ids(told.split(_ANSWER)[1])
    return ChatPrompt(ids(before), ids(after), rest[0] if rest else tokenizer.eos_token_id, asked)
