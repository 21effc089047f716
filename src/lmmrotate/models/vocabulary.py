"""Tokenizers: building one offline, and adding coordinate tokens to any."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIALS: Sequence[str] = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # BART's ids 0 to 4, as in Florence-2
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
CHAT_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>")


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer made without any download.

    Any text is spelled in bytes; each of ``words`` (class names, the prompt) is one token, so that
    naming a class costs one decoding step.
    """
    tokenizer = _spelling(SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(token, SPECIALS.index(token)) for token in ("<s>", "</s>")]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<s>",
        sep_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        clean_up_tokenization_spaces=False,
    )
    add_plain_tokens(fast, dict.fromkeys(words))
    return fast


def build_chat_tokenizer(words: Iterable[str], named: Mapping[str, str]) -> PreTrainedTokenizerFast:
    """The same for chat models.

    Args:
        words: one token each.
        named: special tokens of a family, by the tokenizer's names for them.
    """
    fast = PreTrainedTokenizerFast(
        tokenizer_object=_spelling(CHAT_SPECIALS),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        extra_special_tokens=dict(named),
        clean_up_tokenization_spaces=False,
    )
    add_plain_tokens(fast, dict.fromkeys(words))
    return fast


def _spelling(specials: Sequence[str]) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def add_plain_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[str]) -> list[int]:
    """Add those of ``tokens`` that are not in the vocabulary; returns their ids.

    They are not "special": decoding with ``skip_special_tokens`` must keep coordinates.
    """
    known = tokenizer.get_vocab()
    missing = [token for token in dict.fromkeys(tokens) if token not in known]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in missing])
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in missing]


def grow_embeddings(model: PreTrainedModel, fresh: Sequence[int], *, spread: float) -> None:
    """Give the tokens ``fresh``, which have just been added, rows of embeddings, and of the head where it has
    rows of its own.

    They lie around the mean of the words before them, ``spread`` times as widely spread as those: equal rows
    of a tied table are one word with two names. Most checkpoints' tables are longer than their vocabulary:
    spare rows, which nothing has trained, are used up first, and are no words.
    """
    if not fresh:
        return
    words = min(fresh)
    if max(fresh) >= model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(max(fresh) + 1, mean_resizing=False)
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    rows = torch.tensor(fresh, device=tables[0].device)
    with torch.no_grad():
        for table in tables[: 1 if tables[0] is tables[1] else 2]:
            deviation, mean = torch.std_mean(table[:words], dim=0)
            table[rows] = mean + spread * deviation * torch.randn_like(table[rows])


def named_specials(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of the tokens that begin, end and fill up texts. Others that a tokenizer calls special may be part
    of an answer: InternVL's has ``<ref>`` and ``<box>`` among them."""
    names = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
    found = {getattr(tokenizer, f"{name}_token_id", None) for name in names}
    return {token for token in found if token is not None}


class Spelling:
    """The bytes that every token writes; none for those that begin, end and fill up texts.

    Byte-level vocabularies (GPT-2, Qwen) write a byte as one of 256 letters; those of SentencePiece (Gemma)
    write a space as an underline of their own and rare bytes as ``<0x0A>``. Added tokens stand for themselves
    (``decode`` of a byte-level tokenizer would take their letters for bytes).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end: int | None = None) -> None:
        """
        Args:
            end: the token that ends an answer, where it is not the tokenizer's own: a chat template may have
                another.
        """
        self._tokenizer: Any = tokenizer
        self.silent = named_specials(tokenizer) | ({end} if end is not None else set())
        self._added = {token: str(one.content) for token, one in tokenizer.added_tokens_decoder.items()}
        self._byte_level = "ByteLevel" in str(tokenizer.backend_tokenizer.decoder)
        self._letters = {letter: byte for byte, letter in bytes_to_unicode().items()}

    def of(self, token: int) -> bytes:
        """What one token writes; nothing for ids that the vocabulary has no token for."""
        name = self._added.get(token) or self._tokenizer.convert_ids_to_tokens(token)
        if token in self.silent or name is None:
            return b""
        if token in self._added:
            return str(name).encode()
        if self._byte_level:
            return bytes(self._letters[letter] for letter in name if letter in self._letters)
        if _BYTE.fullmatch(name):
            return bytes([int(name[3:5], 16)])
        return str(name).replace("\u2581", " ").encode()

    def all(self) -> dict[int, bytes]:
        """By token, for all that write something."""
        return {token: piece for token in self._tokenizer.get_vocab().values() if (piece := self.of(token))}


class Speller:
    """From token ids back to text; pieces of text are looked up once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end: int | None = None) -> None:
        """As ``Spelling``."""
        self._spelling = Spelling(tokenizer, end)
        self._pieces: dict[int, bytes] = {}

    def piece(self, token: int) -> bytes:
        """What one token writes."""
        if token not in self._pieces:
            self._pieces[token] = self._spelling.of(token)
        return self._pieces[token]

    def text_with_ends(self, ids: Sequence[int]) -> tuple[str, list[int]]:
        """The text of ``ids`` and, for each token, how many of its characters are written by then.

        A character that takes several tokens counts as written with its last one; bytes that are no character
        become U+FFFD.
        """
        reader = getincrementaldecoder("utf-8")(errors="replace")
        pieces = [reader.decode(self.piece(token)) for token in ids]
        return "".join(pieces) + reader.decode(b"", final=True), list(accumulate(map(len, pieces)))
