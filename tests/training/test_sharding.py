"""Devices that share a frozen language model: each holds its part, and all compute what one would."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pixel_mm.models.freezing import trained_parameters
from pixel_mm.models.fusion.layers import layers_of
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.training.sharding import ShardedDDPStrategy, ShardingError, average_gradients, held_bytes, shard_layers
from tests.models.fusion.tiny_fusion import fusion_network
from tests.models.fusion.uneven_batches import BATCHES, KINDS, Kind, Rows

# What one process has to do with its batch, and the other with its own, at the same time.
UNEVEN = [(training, one, other) for training in (False, True) for one in BATCHES for other in (Rows(), Rows((0, 2)))]


def work(network: FusionNetwork, text: Prompt, rows: Rows) -> list[torch.Tensor]:
    """Results of a batch, and gradients in training."""
    network.zero_grad()
    output = rows.read(network, text)
    assert output.text is not None
    if network.training:
        loss = output.logits.square().mean() + output.text.logits.sum() + network.anchor()
        (loss if output.way_back is None else loss + output.way_back).backward()
    gradients = [p.grad for p in trained_parameters(network).values() if p.grad is not None]
    return [output.logits.detach(), output.text.logits.detach(), *gradients]


def share(rank: int, folder: str, kind: Kind, steps: list[tuple[bool, Rows, Rows]], in_step: bool) -> None:
    """One of two processes that share layers, beside a network of its own that it shares with nobody."""
    patience = timedelta(seconds=60 if in_step else 10)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=patience)
    alone, shared = kind.network(), kind.network()
    layers = layers_of(shared.language_model)
    whole = held_bytes(layers)
    for _ in range(2):  # the second time without effect
        shard_layers(shared, "cpu", 2)
    assert held_bytes(layers) == pytest.approx(whole / 2, rel=0.01)
    shared.shares_layers = in_step
    text = kind.prompt()
    for training, *batches in steps:
        results = [work(network.train(training), text, batches[rank]) for network in (alone, shared)]
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
        if training:
            average_gradients(shared)
            average_gradients(alone)
            for one, other in zip(trained_parameters(shared).values(), trained_parameters(alone).values(), strict=True):
                assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]  # there are
    Path(folder, f"{rank}.done").touch()
    dist.barrier()  # gloo aborts a process whose peer has gone while it still waits for it
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_hold_half_of_the_layers_each_and_compute_the_same(kind: Kind, tmp_path: Path) -> None:
    mp.spawn(share, (str(tmp_path), kind, UNEVEN, True), nprocs=2)
    assert len(list(tmp_path.glob("*.done"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (KINDS[0], (True, Rows((0, 2)), Rows())),  # nothing goes back through the layers of the other
        (KINDS[1], (False, Rows((0, 2)), Rows())),  # the other reads its rows once
        (KINDS[3], (False, Rows(), Rows(answered=()))),  # the other reads none
    ],
)
def test_they_would_wait_for_each_other_without_passes_for_nobody(
    kind: Kind, step: tuple[bool, Rows, Rows], tmp_path: Path
) -> None:
    with pytest.raises(mp.ProcessRaisedException, match="gloo"):
        mp.spawn(share, (str(tmp_path), kind, [step], False), nprocs=2)


def test_layers_in_which_something_is_trained_are_not_shared() -> None:
    network = fusion_network()
    next(layers_of(network.language_model).parameters()).requires_grad_(True)
    with pytest.raises(ShardingError, match="must be frozen"):
        shard_layers(network, "cpu", 1)


def test_layers_in_4_bits_are_not_shared() -> None:
    network = fusion_network()
    layer = layers_of(network.language_model)[0]
    layer.packed = torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ShardingError, match="leave quantisation out"):
        shard_layers(network, "cpu", 1)


def test_other_networks_are_refused() -> None:
    strategy = ShardedDDPStrategy()
    strategy.model = torch.nn.Linear(2, 2)
    with pytest.raises(ShardingError, match="use trainer=ddp for others"):
        strategy.model_to_device()
