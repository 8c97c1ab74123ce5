"""SmolLM2 with an adapter of random weights and open gates, exported: it answers in words, and hears something."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from pixel_mm.chat import SYSTEM
from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters.fusion import describe_backbone, publish_fusion
from pixel_mm.models.fusion.backbone import PublishedBackbone
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.resampler import Resampler
from tests.models.fusion.tiny_fusion import CROSS_ATTENTION
from tests.models.tiny_networks import whisper
from tests.tiny_emotion import FORMATS
from tests.tiny_fusion_folder import ALL_SCORES, ORIGIN


def publish_smollm2(output: Path) -> Path:
    config: Any = OmegaConf.load(CONFIG_DIR / "backbone" / "smollm2_135m.yaml")
    arguments = {name: value for name, value in config.items() if name != "_target_"}
    source = PublishedBackbone(**arguments).load()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = FusionNetwork(
            source,
            {"recognition": whisper()},
            ALL_SCORES,
            adapter=CROSS_ATTENTION,
            resampler=partial(Resampler, size=16, latents_per_second=2, num_heads=2),
            layers=(24, 28),
            head_width=8,
        )
        for block in network.adapter.by_layer().values():  # type: ignore[union-attr]
            block.attention_gate.data.fill_(1.0)
            block.output.weight.data.normal_(0, 5.0)  # of the size of SmolLM2's own upper hidden states
    formats = {"onnx": FORMATS["onnx"]}
    return publish_fusion(network, describe_backbone(config, source.sha256), ORIGIN, output, formats, SYSTEM).path
