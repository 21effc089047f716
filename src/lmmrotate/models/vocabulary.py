"""Tokenizers: building one offline, and adding coordinate tokens to any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # BART's ids 0 to 4, as in Florence-2


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer made without any download.

    Any text is spelled in bytes; each of ``words`` (class names, the prompt) is one token, so that
    naming a class costs one decoding step.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocab["<s>"]), ("</s>", vocab["</s>"])]
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


def add_plain_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[str]) -> int:
    """Add those of ``tokens`` that are not in the vocabulary; returns how many that were.

    They are not "special": decoding with ``skip_special_tokens`` must keep coordinates.
    """
    known = tokenizer.get_vocab()
    missing = [AddedToken(t, normalized=False, special=False) for t in tokens if t not in known]
    return int(tokenizer.add_tokens(missing)) if missing else 0


class Speller:
    """From token ids back to text; pieces of text are looked up once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pieces = dict.fromkeys(tokenizer.all_special_ids, "")

    def text_with_ends(self, ids: Sequence[int]) -> tuple[str, list[int]]:
        """The text of ``ids`` and, for each token, how many of its characters are written by then.

        Special tokens write nothing. A character that takes several byte tokens counts as written with
        its last one.
        """
        for token in ids:
            if token not in self._pieces:
                self._pieces[token] = self._tokenizer.decode([token])
        pieces = [self._pieces[token] for token in ids]
        text = "".join(pieces)
        if "\ufffd" not in text:
            return text, list(accumulate(map(len, pieces)))
        # A multi-byte character was split over tokens: decode growing prefixes instead.
        special = set(self._tokenizer.all_special_ids)
        prefixes = [
            self._tokenizer.decode([i for i in ids[: n + 1] if i not in special]) for n in range(len(ids))
        ]
        return prefixes[-1], [len(prefix.rstrip("\ufffd")) for prefix in prefixes]
