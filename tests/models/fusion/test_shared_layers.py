"""Where processes share layers, each batch runs every layer equally often, forward and backward, whatever is in it."""

from typing import Any

import pytest
import torch

from pixel_mm.models.freezing import trained_parameters
from pixel_mm.models.fusion.layers import layers_of
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Pass, Prompt
from pixel_mm.models.fusion.shared_layers import keep_pace
from tests.models.fusion.uneven_batches import BATCHES, KINDS, Kind, Rows


def events_of(kind: Kind, training: bool, shared: bool = True) -> list[list[str]]:
    """Of each batch: when a layer is run, and when a gradient comes back to it, in order."""
    network, text, events = kind.network().train(training), kind.prompt(), list[str]()

    def ran(number: int, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        events.append(f"{number} forward")
        if hidden.requires_grad:
            hidden.register_hook(lambda _: events.append(f"{number} backward"))

    for number, layer in enumerate(layers_of(network.language_model)):
        layer.register_forward_hook(lambda _, __, output, number=number: ran(number, output))
    network.shares_layers = shared
    found = []
    for rows in BATCHES:
        step(network, text, rows)
        found.append(events.copy())
        events.clear()
    return found


def step(network: FusionNetwork, text: Prompt, rows: Rows) -> None:
    output = rows.read(network, text)
    if network.training:
        loss = output.logits.square().mean() + network.anchor()
        (loss if output.way_back is None else loss + output.way_back).backward()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_batch_runs_the_layers_alike(kind: Kind, training: bool) -> None:
    first, *others = events_of(kind, training)
    layers = 2 if kind.kept_states else 4
    passes = 2 if kind.soft_tokens or (kind.architecture == "qwen3_moe" and not training) else 1
    assert first[: passes * layers] == [f"{number} forward" for number in range(layers)] * passes
    # Soft tokens are learnt through all layers, blocks through those from layer 2 of 4 on.
    back = [f"{number} backward" for number in reversed(range(0 if kind.soft_tokens or kind.kept_states else 2, 4))]
    assert first[passes * layers :] == (back[-layers:] if training else [])
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("kind", "training"), [(KINDS[0], True), (KINDS[1], False), (KINDS[2], True), (KINDS[3], False)]
)
def test_they_do_not_where_nothing_is_shared(kind: Kind, training: bool) -> None:
    assert len(set(map(tuple, events_of(kind, training, shared=False)))) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_passes_for_nobody_change_neither_results_nor_gradients(kind: Kind) -> None:
    network, text = kind.network().train(), kind.prompt()
    for rows in BATCHES:
        results = []
        for network.shares_layers in (False, True):
            network.zero_grad()
            output = rows.read(network, text)
            assert output.text is not None
            loss = output.logits.square().mean() + output.text.logits.sum() + network.anchor()
            (loss if output.way_back is None else loss + output.way_back).backward()
            results.append((output.logits, loss, *(p.grad for p in trained_parameters(network).values())))
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_what_is_no_number_does_not_reach_the_loss() -> None:
    network = KINDS[0].network().train()
    top = torch.full((4, 5, 32), torch.nan, requires_grad=True)
    way_back = keep_pace(network, KINDS[0].prompt(), Pass(torch.empty(0), top, top))
    way_back.backward()
    assert float(way_back.detach()) == 0
    assert torch.equal(top.grad, torch.zeros(4, 5, 32))  # type: ignore[arg-type]  # there is one
