"""Loss of the tokens of answers, straight from the hidden states: logits of the whole vocabulary never live together.

Logits of a batch are its largest tensor by far, and most of them are of tokens that nobody learns. Here the head sees
the states before tokens that are learnt, a few at a time. Its weights are frozen, so the gradient of a token's loss is

    d loss / d state = (softmax(logits) - one-hot(token)) @ W

which is made while the logits are there; only that is kept for the backward pass.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pixel_mm.models.fusion.layers import decoder_of

CHUNK = 2**22  # logits at a time, 16 MiB in float32
_BEHIND_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # of Gemma, Cohere and Granite


class Head(NamedTuple):
    """The end of a language model: normalisation, and a frozen linear layer over the vocabulary."""

    norm: nn.Module
    linear: nn.Linear


def plain_head(model: PreTrainedModel) -> Head | None:
    """The head of a model whose logits are a frozen linear layer of normalised states, and nothing more; else None."""
    norm, head = getattr(decoder_of(model), "norm", None), model.get_output_embeddings()
    if not isinstance(norm, nn.Module) or type(head) is not nn.Linear or head.weight.requires_grad:
        return None
    if any(getattr(model.config, name, None) for name in _BEHIND_THE_HEAD):
        return None
    return Head(norm, head)


def token_losses(head: Head, top: Tensor, following: Tensor) -> Tensor:
    """Cross-entropy in nats of the token after each, float32 [B, S]; 0 where none is learnt.

    Args:
        head: of the model.
        top: float [B, S, H], states that leave its last layer.
        following: int64 [B, S], the token that is learnt after each; -100 where there is none.
    """
    learnt = following >= 0
    result = torch.zeros(following.shape, device=top.device)
    if not bool(learnt.any()):
        return result
    return result.masked_scatter(learnt, state_losses(head, top[learnt], following[learnt]))


def state_losses(head: Head, states: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy in nats, float32 [N], of tokens int64 [N] that follow states float [N, H]."""
    losses: Tensor = _ChunkedCrossEntropy.apply(head.norm(states), tokens, head.linear)
    return losses


class _ChunkedCrossEntropy(torch.autograd.Function):
    """float32 [N] of states [N, H], tokens int64 [N] and the head; see the module."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, tokens: Tensor, head: nn.Linear) -> Tensor:
        wanted = states.requires_grad
        size = max(1, CHUNK // head.out_features)
        losses = torch.empty(len(states), device=states.device)
        gradient = torch.empty_like(states) if wanted else None
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            logits = head(states[part]).float()
            logits -= logits.amax(1, keepdim=True)
            places = (torch.arange(len(logits), device=logits.device), tokens[part])
            chosen = logits[places]
            sums = logits.exp_().sum(1)
            losses[part] = sums.log() - chosen
            if gradient is not None:
                logits /= sums[:, None]
                logits[places] -= 1.0
                gradient[part] = logits.to(head.weight.dtype) @ head.weight
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return (gradients[0][:, None] * gradient).to(gradient.dtype), None, None
