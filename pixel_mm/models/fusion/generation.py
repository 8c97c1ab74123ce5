"""Answers of the fusion network, through `transformers`' own generation."""

from typing import Any

import torch
from torch import Tensor

from pixel_mm.models.fusion.adapter import SoftTokenAdapter
from pixel_mm.models.fusion.hearing import Hearing
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Prompt, choose_rows, soft_prompt


@torch.no_grad()
def generate(network: FusionNetwork, prompt: Prompt, hearing: Hearing | None = None, **options: Any) -> Tensor:
    """Continue prompts.

    Rows that are not heard are continued as by the bare language model, to the bit; where that takes a pass of their
    own (routed experts, soft tokens), a batch that mixes both is generated twice.

    Args:
        network: with the whole language model.
        prompt: tokens, padded on the left.
        hearing: what `network.hear` gave, of this batch.
        options: of `generate`, such as `max_new_tokens`, `do_sample`, `streamer`; one beam, one sequence per row.

    Returns:
        New tokens, int64 [B, T], padded on the right.
    """
    if hearing is None:
        return _continue(network, prompt, None, options)
    heard = _continue(network, prompt, hearing, options)
    if not network.stands_apart(hearing):
        return heard
    bare = _continue(network, prompt, None, options)
    length = max(heard.shape[1], bare.shape[1])
    pad = network.backbone.tokenizer.pad_token_id
    heard, bare = (
        torch.nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=pad) for tokens in (heard, bare)
    )
    return choose_rows(heard, hearing, bare)


def _continue(network: FusionNetwork, prompt: Prompt, hearing: Hearing | None, options: dict[str, Any]) -> Tensor:
    model: Any = network.language_model
    pad = network.backbone.tokenizer.pad_token_id
    if hearing is not None and isinstance(network.adapter, SoftTokenAdapter):
        embeddings, mask = soft_prompt(model, network.adapter, prompt, hearing)
        tokens: Tensor = model.generate(inputs_embeds=embeddings, attention_mask=mask, pad_token_id=pad, **options)
        return tokens
    tokens = model.generate(
        prompt.input_ids,
        attention_mask=prompt.attention_mask,
        fusion=network.fusion(hearing),
        pad_token_id=pad,
        **options,
    )
    return tokens[:, prompt.input_ids.shape[1] :]
