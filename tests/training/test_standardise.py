from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.train import build_module
from pixel_mm.training.standardise import standardise_states
from pixel_mm.training.trunk import use_trunk_cache
from tests.training_runs import compose_tiny

CPU = torch.device("cpu")


@pytest.fixture
def parts(tone_corpus: Path, tmp_path: Path) -> tuple[Any, Any, EmotionRegressor]:
    cfg = compose_tiny(tone_corpus, tmp_path, "adaptation=frozen", "augment=none", "trunk_cache.dtype=float32")
    datamodule = instantiate(cfg.datamodule)
    datamodule.setup()
    return cfg, datamodule, build_module(cfg, datamodule).network


def test_clips_that_are_not_trained_on_have_no_say(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, datamodule, network = parts
    asked: list[int] = []
    loader = datamodule.loader
    monkeypatch.setattr(datamodule, "loader", lambda rows: asked.extend(rows) or loader(rows))
    before = network.layer_sum.scales.clone()
    standardise_states(network, datamodule, CPU, seed=1)
    assert asked
    assert set(asked) <= set(datamodule.parts.train)
    assert not torch.equal(network.layer_sum.scales, before)


def test_kept_states_of_the_trunk_give_the_scales_that_audio_does(parts: Any) -> None:
    cfg, datamodule, network = parts
    standardise_states(network, datamodule, CPU, seed=1)
    by_audio = network.layer_sum.scales.detach().clone()
    use_trunk_cache(cfg, network, datamodule, CPU)
    standardise_states(network, datamodule, CPU, seed=1)
    torch.testing.assert_close(network.layer_sum.scales, by_audio, atol=0, rtol=1e-3)


def test_the_network_is_left_in_the_mode_it_was_in(parts: Any) -> None:
    _, datamodule, network = parts
    network.train()
    standardise_states(network, datamodule, CPU, seed=1)
    assert network.dropout.training
