"""Losses of tokens without the logits of all: those of the whole, to the last digits, with their gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixel_mm.models.fusion import token_losses as chunks
from pixel_mm.models.fusion.token_losses import bare_token_losses, plain_head, token_losses
from pixel_mm.training.plan_step import LiveBytes
from tests.models.fusion.tiny_fusion import ARCHITECTURES, backbone, fusion_network, prompt

NONE = -100


def whole(model: torch.nn.Module, top: Tensor, following: Tensor) -> Tensor:
    head = plain_head(model)  # type: ignore[arg-type]  # of transformers
    assert head is not None
    logits = head.linear(head.norm(top)).float()
    losses = F.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none", ignore_index=NONE)
    return losses.view_as(following)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("chunk", [1, 3 * 259, 2**22])
def test_chunks_give_the_losses_and_gradients_of_the_whole(
    architecture: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    model = backbone(architecture).model
    generator = torch.Generator().manual_seed(0)
    top = torch.randn(3, 7, model.config.hidden_size, generator=generator)
    following = torch.randint(0, model.config.vocab_size, (3, 7), generator=generator)
    following[0, :4] = following[1] = NONE
    head = plain_head(model)
    assert head is not None
    results = []
    for losses_of in (lambda states: token_losses(head, states, following), lambda s: whole(model, s, following)):
        states = top.clone().requires_grad_(True)
        losses = losses_of(states)
        (losses * torch.arange(21).view(3, 7)).sum().backward()
        results.append((losses.detach(), states.grad))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-6 * float(results[1][1].abs().max()), rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(token_losses(head, top, following), results[0][0])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_without_a_voice_losses_are_those_of_the_bare_model_to_the_bit(architecture: str) -> None:
    network = fusion_network(backbone(architecture), trained=True)
    text, head = prompt(network.backbone), plain_head(network.language_model)
    mask = text.attention_mask.bool()
    following = text.input_ids.roll(-1, 1).masked_fill(~mask.roll(-1, 1), NONE)
    fused = network(text, mask, mask, mask.any(1), None, following=following).token_losses
    assert head is not None
    assert torch.equal(fused, bare_token_losses(network.language_model, head, text, following))
    assert (fused > 0).sum() == (following >= 0).sum()


def test_nothing_learnt_has_no_loss_and_asks_nothing_of_the_head() -> None:
    head = plain_head(backbone().model)
    assert head is not None
    top = torch.full((2, 3, 32), torch.nan)
    assert token_losses(head, top, torch.full((2, 3), NONE)).tolist() == [[0.0] * 3] * 2


def test_logits_of_more_tokens_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 10 * 20_000)
    linear = torch.nn.Linear(8, 20_000, bias=False).requires_grad_(False)
    head = chunks.Head(torch.nn.Identity(), linear)
    peaks = []
    for tokens in (10, 100):
        top = torch.randn(1, tokens, 8, requires_grad=True)
        with LiveBytes([top, linear.weight]) as live:
            token_losses(head, top, torch.ones(1, tokens, dtype=torch.int64)).sum().backward()
        peaks.append(live.peak)
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("name", ["final_logit_softcapping", "logit_scale", "logits_scaling"])
def test_models_that_change_logits_behind_their_head_are_known(name: str) -> None:
    model = backbone().model
    setattr(model.config, name, 30.0)
    assert plain_head(model) is None


def test_a_head_that_is_trained_or_something_else_is_left_to_the_model() -> None:
    model = backbone().model
    model.get_output_embeddings().requires_grad_(True)
    assert plain_head(model) is None
    other = backbone().model
    other.set_output_embeddings(torch.nn.Sequential(other.get_output_embeddings()))
    assert plain_head(other) is None
