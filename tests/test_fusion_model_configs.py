"""Every backbone and every fusion model of the configuration is what its comment promises."""

from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.models.freezing import count
from pixel_mm.models.fusion.backbone import Backbone, PublishedBackbone
from pixel_mm.models.fusion.network import FusionNetwork
from tests.training_runs import compose_train

BACKBONES = sorted(path.stem for path in (CONFIG_DIR / "backbone").glob("*.yaml"))
MODELS = sorted(path.stem for path in (CONFIG_DIR / "model").glob("fusion*.yaml"))


def compose(model: str, backbone: str = "tiny_moe") -> Any:
    return compose_train(f"model={model}", f"+backbone={backbone}", "encoder=whisper_micro_random")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_is_configured(name: str) -> None:
    settings = compose("fusion", name).backbone
    made = instantiate(settings)
    if isinstance(made, PublishedBackbone):
        assert made.hub
        assert (made.source == "wheel") == (made.wheel is not None)
    else:
        assert isinstance(made.load(), Backbone)


def test_there_are_the_backbones_that_were_asked_for() -> None:
    assert set(BACKBONES) == {"pixel_30b", "qwen3_0_6b", "smollm2_135m", "tiny_moe"}


def build(model: str) -> FusionNetwork:
    cfg = compose(model)
    network = instantiate(cfg.model, backbone=instantiate(cfg.backbone).load(), scores=["valence", "crisis"])
    assert isinstance(network, FusionNetwork)
    return network


@pytest.mark.parametrize(
    ("model", "adapter", "encoders", "reads_text"),
    [
        ("fusion", "CrossAttentionAdapter", ["recognition"], True),
        ("fusion_audio_only", "CrossAttentionAdapter", ["recognition"], False),
        ("fusion_soft_tokens", "SoftTokenAdapter", ["recognition"], True),
        ("fusion_text_only", None, [], True),
    ],
)
def test_a_model_is_configured(model: str, adapter: str | None, encoders: list[str], reads_text: bool) -> None:
    network = build(model)
    assert network.architecture["adapter"] == adapter
    assert list(network.encoders) == encoders
    assert network.reads_text is reads_text
    assert network.layers == (6,)
    assert 0 < count(network)[0] < count(network)[1]


def test_every_model_is_tested() -> None:
    assert MODELS == ["fusion", "fusion_audio_only", "fusion_soft_tokens", "fusion_text_only"]


def test_soft_tokens_begin_as_loud_as_words() -> None:
    network = build("fusion_soft_tokens")
    adapter: Any = network.adapter
    words = network.language_model.get_input_embeddings().weight
    with torch.no_grad():
        frames = network.encode(torch.randn(1, 16_000), torch.tensor([16_000]))
        tokens = adapter.embeddings(network.hear(frames, torch.tensor([0]), 1))
    assert 0.9 < float(tokens.square().mean() / words.square().mean()) < 1.1


def test_the_configurations_are_plain() -> None:
    for model in MODELS:
        assert OmegaConf.to_container(compose(model).model, resolve=True)
