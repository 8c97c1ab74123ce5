"""Training without the lower layers: states are made once by the whole backbone, and looked up from then on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from pixel_mm.models.fusion.backbone import RandomBackbone
from pixel_mm.models.fusion.byte_tokenizer import byte_tokenizer
from pixel_mm.training.hidden_states import first_layer, use_hidden_states
from tests.models.fusion.tiny_fusion import ARCHITECTURES, fusion_network, prompt


class DataModule:
    """Rows of three parts, in batches of one."""

    parts = ([0, 2], [1], [3])
    texts = ("one", "two", "three", "four")

    def loader(self, places: list[int]) -> list[Any]:
        assert sorted(places) == [0, 1, 2, 3]
        source: Any = SimpleNamespace(tokenizer=byte_tokenizer())
        return [SimpleNamespace(**prompt(source, [self.texts[place]])._asdict()) for place in places]


def config(folder: Path, enabled: bool = True, precision: str = "32-true") -> DictConfig:
    source = {"_target_": "pixel_mm.models.fusion.backbone.RandomBackbone", "config": ARCHITECTURES["llama"]}
    return OmegaConf.create(
        {
            "backbone": source,
            "model": {"layers": None, "top_share": 0.5, "every": 1},
            "hidden_states": {"enabled": enabled, "max_gigabytes": 1},
            "trainer": {"precision": precision, "accelerator": "cpu"},
            "paths": {"cache": str(folder)},
        }
    )


def test_the_lowest_block_says_what_is_loaded(tmp_path: Path) -> None:
    assert first_layer(config(tmp_path)) == 2
    assert first_layer(config(tmp_path, enabled=False)) == 0


def test_the_whole_backbone_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, loads, load = config(tmp_path), [], RandomBackbone.load
    half = RandomBackbone(ARCHITECTURES["llama"]).load(first_layer=2)
    monkeypatch.setattr(RandomBackbone, "load", lambda self, first=0: loads.append(first) or load(self, first))
    for _ in range(2):
        network = fusion_network(half)
        use_hidden_states(cfg, network, DataModule(), torch.device("cpu"))
        text = prompt(half, ["two"])
        assert network.prompt(*text[:2]).below is not None
    assert loads == [0]


def test_each_precision_has_states_of_its_own(tmp_path: Path) -> None:
    half = RandomBackbone(ARCHITECTURES["llama"]).load(first_layer=2)
    states = []
    for precision in ("32-true", "bf16-mixed", "auto"):
        network = fusion_network(half)
        use_hidden_states(config(tmp_path, precision=precision), network, DataModule(), torch.device("cpu"))
        states.append(network.prompt(*prompt(half, ["three"])[:2]).below)
    assert states[0] is not None
    assert states[1] is not None
    assert not torch.equal(states[0], states[1])
    assert states[2] is not None
    assert torch.equal(states[2], states[0]) or torch.equal(states[2], states[1])


def test_a_whole_backbone_needs_no_states(tmp_path: Path) -> None:
    network = fusion_network()
    use_hidden_states(config(tmp_path, enabled=False), network, DataModule(), torch.device("cpu"))
    assert network.states is None
    assert network.prompt(*prompt(network.backbone)[:2]).below is None
    assert not list(tmp_path.iterdir())
