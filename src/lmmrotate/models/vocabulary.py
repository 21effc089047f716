"""Tokenizers: building one offline, and adding coordinate tokens to any."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

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


def add_plain_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[str]) -> int:
    """Add those of ``tokens`` that are not in the vocabulary; returns how many that were.

    They are not "special": decoding with ``skip_special_tokens`` must keep coordinates.
    """
    known = tokenizer.get_vocab()
    missing = [AddedToken(t, normalized=False, special=False) for t in tokens if t not in known]
    return int(tokenizer.add_tokens(missing)) if missing else 0


def grow_embeddings(model: PreTrainedModel, size: int, *, spread: float) -> None:
    """Give embeddings, and the head where it has rows of its own, at least ``size`` rows.

    New rows lie around the mean of the others, ``spread`` times as widely spread as they: equal rows of a
    tied table are one word with two names. Spare rows of the table are used up first.
    """
    rows = model.get_input_embeddings().num_embeddings
    if size <= rows:
        return
    model.resize_token_embeddings(size, mean_resizing=False)
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    with torch.no_grad():
        for table in tables[: 1 if tables[0] is tables[1] else 2]:
            deviation, mean = torch.std_mean(table[:rows], dim=0)
            table[rows:] = mean + spread * deviation * torch.randn_like(table[rows:])


def named_specials(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of the tokens that begin, end and fill up texts. Others that a tokenizer calls special may be part
    of an answer: InternVL's has ``<ref>`` and ``<box>`` among them."""
    names = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
    found = {getattr(tokenizer, f"{name}_token_id", None) for name in names}
    return {token for token in found if token is not None}


def token_bytes(tokenizer: PreTrainedTokenizerBase) -> dict[int, bytes]:
    """What every token writes, but those that begin, end and fill up texts.

    Byte-level vocabularies (GPT-2, Qwen) write a byte as one of 256 letters; those of SentencePiece (Gemma)
    write a space as an underline of their own and rare bytes as ``<0x0A>``.
    """
    added = {token: str(entry.content) for token, entry in tokenizer.added_tokens_decoder.items()}
    byte_level = "ByteLevel" in str(tokenizer.backend_tokenizer.decoder)
    letters = {letter: byte for byte, letter in bytes_to_unicode().items()}
    silent = named_specials(tokenizer)
    found: dict[int, bytes] = {}
    for name, token in tokenizer.get_vocab().items():
        if token in silent:
            continue
        if token in added:
            found[token] = added[token].encode()
        elif byte_level:
            found[token] = bytes(letters[letter] for letter in name if letter in letters)
        elif _BYTE.fullmatch(name):
            found[token] = bytes([int(name[3:5], 16)])
        else:
            found[token] = name.replace("\u2581", " ").encode()
    return found


class Speller:
    """From token ids back to text; pieces of text are looked up once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._silent = named_specials(tokenizer)
        self._pieces = dict.fromkeys(self._silent, "")

    def piece(self, token: int) -> str:
        """The text of one token; empty for those that begin, end and fill up texts."""
        if token not in self._pieces:
            self._pieces[token] = self._tokenizer.decode([token])
        return self._pieces[token]

    def text_with_ends(self, ids: Sequence[int]) -> tuple[str, list[int]]:
        """The text of ``ids`` and, for each token, how many of its characters are written by then.

        Special tokens write nothing. A character that takes several byte tokens counts as written with
        its last one.
        """
        pieces = [self.piece(token) for token in ids]
        text = "".join(pieces)
        if "\ufffd" not in text:
            return text, list(accumulate(map(len, pieces)))
        # A multi-byte character was split over tokens: decode growing prefixes instead.
        prefixes = [
            self._tokenizer.decode([i for i in ids[: n + 1] if i not in self._silent])
            for n in range(len(ids))
        ]
        return prefixes[-1], [len(prefix.rstrip("\ufffd")) for prefix in prefixes]
