"""Passes through layers that processes share (`trainer=fsdp`): all make the same ones, whatever their own rows need.

A layer's weights are gathered from all processes each time that it is run, forward and backward, so a process that ran
it less often than another would leave the other waiting for ever. How often depends on a process' rows:

    - none without an answer need layers where scores are not read from the top (`model.reads_top=false`),
    - voices beside none are read twice in evaluation by a backbone with routed experts, and always behind soft tokens,
    - nothing goes back through the layers where nobody is heard.

So every process makes the most passes that any batch may take, the missing ones for nobody, on one token. In training
the last pass of a step has a backward pass on every process, through the layers from the lowest block on.
"""

from typing import Any

import torch
from torch import Tensor

from pixel_mm.models.fusion.reading import Pass, Prompt, read


def keep_pace(network: Any, prompt: Prompt, result: Pass) -> Tensor:
    """Make the passes that a batch didn't take.

    Args:
        network: a `FusionNetwork` that shares its layers.
        prompt: the batch.
        result: what was read of it.

    Returns:
        0, float scalar. As a part of a loss, it makes the backward pass go through the layers, and changes no gradient:
        no value is in it, not even one that is not a number.
    """
    soft = network.adapter is not None and network.adapter.soft_tokens
    apart = network.adapter is not None and network.rows_touch and not network.training
    fusion = network.fusion(None)
    if soft and network.training:
        fusion.back_from = 0  # soft tokens are learnt through all layers
    below = None if prompt.below is None else prompt.below[:1, :1]
    nobody = Prompt(prompt.input_ids[:1, :1], torch.ones_like(prompt.attention_mask[:1, :1]), below)
    way_back = result.top[:0].sum()
    for _ in range(result.runs, 2 if soft or apart else 1):
        way_back = way_back + read(network.language_model, nobody, fusion).top[:0].sum()
    return way_back
