"""Devices that share a frozen language model: each holds its part, and all compute what one would."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pixel_mm.models.fusion.layers import layers_of
from pixel_mm.training.sharding import ShardedDDPStrategy, ShardingError, held_bytes, shard_layers
from tests.models.fusion.tiny_fusion import backbone, fusion_network, listen, prompt, read


def share(rank: int, architecture: str, folder: str) -> None:
    """One of two processes: what it holds, and the logits that it computes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    network = fusion_network(backbone(architecture), trained=True)
    layers = layers_of(network.language_model)
    whole = held_bytes(layers)
    for _ in range(2):  # the second time without effect
        shard_layers(network, "cpu", 2)
    output = read(network, prompt(network.backbone), listen(network))
    output.logits.sum().backward()
    gates = [parameter.grad for parameter in network.adapter.parameters()]  # type: ignore[union-attr]  # it has one
    torch.save((whole, held_bytes(layers), output.logits.detach(), gates), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe"])
def test_two_processes_hold_half_of_the_layers_each_and_compute_the_same(architecture: str, tmp_path: Path) -> None:
    mp.spawn(share, (architecture, str(tmp_path)), nprocs=2)
    network: Any = fusion_network(backbone(architecture), trained=True)
    expected = read(network, prompt(network.backbone), listen(network)).logits
    expected.sum().backward()
    for rank in range(2):
        whole, held, logits, gradients = torch.load(tmp_path / f"{rank}.pt")
        assert held == pytest.approx(whole / 2, rel=0.01)
        torch.testing.assert_close(logits, expected.detach())
        for ours, theirs in zip(gradients, (p.grad for p in network.adapter.parameters()), strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_layers_in_which_something_is_trained_are_not_shared() -> None:
    network = fusion_network()
    next(layers_of(network.language_model).parameters()).requires_grad_(True)
    with pytest.raises(ShardingError, match="must be frozen"):
        shard_layers(network, "cpu", 1)


def test_other_networks_are_refused() -> None:
    strategy = ShardedDDPStrategy()
    strategy.model = torch.nn.Linear(2, 2)
    with pytest.raises(ShardingError, match="use trainer=ddp for others"):
        strategy.model_to_device()
