"""A checkpoint holds the adapter and the heads alone, and knows whose they are."""

from pathlib import Path

import pytest
import torch

from pixel_mm.models.checkpoint import CheckpointError, describe, load_trained
from pixel_mm.models.freezing import count, trained_parameters
from pixel_mm.models.fusion.network import FusionNetwork
from tests.models.fusion.tiny_fusion import backbone, fusion_network
from tests.models.tiny_networks import stirred, whisper

BLOCK = (
    "attention_gate", "feed_forward_gate", "norm.weight", "norm.bias", "query.weight", "key_value.weight",
    "output.weight", "feed_forward.0.weight", "feed_forward.0.bias", "feed_forward.1.weight", "feed_forward.1.bias",
    "feed_forward.3.weight", "feed_forward.3.bias",
)  # fmt: skip


def saved(network: FusionNetwork, path: Path) -> Path:
    torch.save(describe(network, trained_parameters(network)), path)
    return path


def test_the_adapter_and_the_heads_are_trained_and_saved_and_nothing_else(tmp_path: Path) -> None:
    network = fusion_network(layers=(1, 3))
    names = set(trained_parameters(network))
    assert {name.split(".")[0] for name in names} == {"adapter", "heads"}
    blocks = {name.removeprefix("adapter.blocks.") for name in names if name.startswith("adapter.blocks.")}
    assert blocks == {f"{layer}.{name}" for layer in (1, 3) for name in BLOCK}
    path = saved(network, tmp_path / "x.ckpt")
    weights = torch.load(path, weights_only=True)["pixel_mm"]["weights"]
    assert set(weights) == names
    assert sum(weight.numel() for weight in weights.values()) == count(network)[0]


def test_the_size_is_known_to_the_last_parameter() -> None:
    hidden, audio, width = 32, 16, 2 * 8
    attention = 2 * hidden + hidden * width + audio * 2 * width + width * hidden + 1
    feed_forward = 2 * hidden + hidden * 16 + 16 + 16 * hidden + hidden + 1
    assert fusion_network().adapter is not None
    found = sum(p.numel() for p in fusion_network().adapter.blocks.parameters())  # type: ignore[union-attr]
    assert found == 2 * (attention + feed_forward)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    network, other = fusion_network(trained=True), fusion_network()
    load_trained(other, saved(network, tmp_path / "x.ckpt"))
    ours, theirs = trained_parameters(network), trained_parameters(other)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_backbone_or_encoder_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(fusion_network(), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"other frozen weights than this network has \(backbone\)"):
        load_trained(fusion_network(backbone(seed=1)), path)
    with pytest.raises(CheckpointError, match=r"other frozen weights than this network has \(encoders.recognition\)"):
        load_trained(fusion_network(encoder=stirred(whisper(), seed=5)), path)
    with pytest.raises(CheckpointError, match=r"another architecture: .*backbone.type is llama in it, qwen3 in this"):
        load_trained(fusion_network(backbone("qwen3")), path)
    with pytest.raises(CheckpointError, match=r"another architecture: layers is \[2, 3\] in it, \[3\] in this"):
        load_trained(fusion_network(layers=(3,)), path)
