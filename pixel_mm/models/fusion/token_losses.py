"""Loss of the tokens of answers, straight from the hidden states: logits of the whole vocabulary never live together.

Logits of a batch are its largest tensor by far, and most of them are of tokens that nobody learns. Here the head sees
the states before tokens that are learnt, a few at a time. Its weights are frozen, so the gradient of a token's loss is

    d loss / d state = (softmax(logits) - one-hot(token)) @ W

which is made while the logits are there; only that is kept for the backward pass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from pixel_mm.models.fusion.layers import decoder_of
from pixel_mm.models.fusion.reading import Prompt

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
    return _where_learnt(following, lambda learnt: state_losses(head, top[learnt], following[learnt]))


def bare_token_losses(model: PreTrainedModel, head: Head, prompt: Prompt, following: Tensor) -> Tensor:
    """As `token_losses`, of the language model alone, as if nothing had been put to it.

    Args:
        model: whole.
        head: of the model.
        prompt: tokens.
        following: int64 [B, S]; see `token_losses`.
    """
    normalised = decoder_of(model)(prompt.input_ids, attention_mask=prompt.attention_mask).last_hidden_state
    return _where_learnt(following, lambda learnt: _losses(head.linear, normalised[learnt], following[learnt]))


def state_losses(head: Head, states: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy in nats, float32 [N], of tokens int64 [N] that follow states float [N, H]."""
    return _losses(head.linear, head.norm(states), tokens)


def _losses(head: nn.Linear, normalised: Tensor, tokens: Tensor) -> Tensor:
    losses: Tensor = _ChunkedCrossEntropy.apply(normalised, tokens, head.weight, head.bias)
    return losses


def _where_learnt(following: Tensor, losses_of: Callable[[Tensor], Tensor]) -> Tensor:
    learnt = following >= 0
    result = torch.zeros(following.shape, device=following.device)
    if not bool(learnt.any()):
        return result
    return result.masked_scatter(learnt, losses_of(learnt))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """float32 [N] of states [N, H], tokens int64 [N], weight [V, H] and bias [V] of the head; see the module."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        wanted = states.requires_grad
        size = max(1, CHUNK // len(weight))
        losses = torch.empty(len(states), device=states.device)
        gradient = torch.empty_like(states) if wanted else None
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            losses[part], slope = _chunk(F.linear(states[part], weight, bias).float(), tokens[part], wanted)
            if gradient is not None:
                gradient[part] = slope.to(weight.dtype) @ weight
            del slope  # before the next logits are made
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return (gradients[0][:, None] * gradient).to(gradient.dtype), None, None, None


def _chunk(logits: Tensor, tokens: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """Losses [N] of tokens [N] by logits [N, V]; in place of the logits, if wanted, the losses' gradient by them."""
    logits -= logits.amax(1, keepdim=True)
    places = (torch.arange(len(logits), device=logits.device), tokens)
    chosen = logits[places]
    sums = logits.exp_().sum(1)
    if wanted:
        logits /= sums[:, None]
        logits[places] -= 1.0
    return sums.log() - chosen, logits
