"""Decoder-only models, by the same loop as the others: tokens equal to Transformers' own."""

from typing import Any

import pytest
import torch
from transformers import Cache, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from lmmrotate.inference.beams import search
from lmmrotate.inference.decoding import DecodingOptions, Writer
from lmmrotate.inference.measures import Measures
from lmmrotate.models.causal_decoder import CausalAnswerDecoder

from .published_stop import published_stop

SIZE: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 1, "tie_word_embeddings": False,
}  # fmt: skip
END, ROOM, LENGTHS = 2, 20, (9, 4, 6)


class Free:
    """Rules without a tokenizer: ids are columns."""

    alphabet = None
    locations = torch.arange(10, 20)
    end = END

    def begin(self, rows: int) -> torch.Tensor:
        return torch.empty((rows, 0), dtype=torch.int64)

    def mask(self, logits: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        return logits

    def advance(self, known: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return known


@pytest.fixture(
    params=[(Qwen2ForCausalLM, Qwen2Config), (LlamaForCausalLM, LlamaConfig)], ids=["qwen2", "llama"]
)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(1)
    kind, config = request.param
    made = kind(config(**SIZE)).eval()
    for weights in made.parameters():
        torch.nn.init.normal_(weights, std=0.3 if weights.ndim > 1 else 1.0)
    made.lm_head.bias = torch.nn.Parameter(torch.zeros(60))
    made.lm_head.bias.data[END] = 3.0  # some answers end early
    return made


@pytest.mark.parametrize("beams", [1, 3])
@torch.inference_mode()
def test_tokens_equal_transformers(model: Any, beams: int) -> None:
    generator = torch.Generator().manual_seed(4)
    embeddings = torch.randn((3, 9, 32), generator=generator)
    mask = torch.stack([(torch.arange(9) >= 9 - length).long() for length in LENGTHS])
    with published_stop(model):
        expected = model.generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            max_new_tokens=ROOM,
            num_beams=beams,
            do_sample=False,
        ).tolist()

    def read(cache: Cache) -> torch.Tensor:
        out = model.model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            past_key_values=cache,
        )
        states: torch.Tensor = out.last_hidden_state
        return states

    decoder = CausalAnswerDecoder(
        model.model, model.lm_head, read, mask, mask.sum(dim=1), alphabet=None, beams=beams
    )
    rules: Any = Free()
    if beams > 1:
        found = [ids for ids, _ in search(decoder, rules, Measures(rules.locations), 3, beams, ROOM)]
    else:
        writer = Writer.__new__(Writer)
        writer._options = DecodingOptions(grammar="off")
        writer._rules, writer._end, writer._measures = rules, END, Measures(rules.locations)
        found = [page.tokens for page in writer._greedy(decoder, 3, ROOM)]
    for ids, row in zip(found, expected, strict=True):
        assert ids == (row[: row.index(END) + 1] if END in row else row)
    assert len({len(ids) for ids in found}) > 1, "some leave before others"
