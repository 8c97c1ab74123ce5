"""Fused models of random weights as export publishes them: what they say means nothing."""

from pathlib import Path
from typing import Any

from pixel_mm.exporters.fusion import publish_fusion
from pixel_mm.fusion_spec import BackboneSpec
from pixel_mm.model_folder import Provenance
from pixel_mm.models.fusion.network import FusionNetwork
from tests.models.fusion.tiny_fusion import ARCHITECTURES, CROSS_ATTENTION, backbone, fusion_network
from tests.tiny_emotion import FORMATS

ORIGIN = Provenance("constructed", "tones", synthetic=True, commit="0123abc", run="tiny-fused", encoder="whisper")
SYSTEM = "Answer."
ALL_SCORES = (
    "valence",
    "arousal",
    "dominance",
    "emotional_reaction",
    "interpretation",
    "exploration",
    "crisis",
    "bias",
)


def tiny_network(architecture: str = "llama", adapter: Any = CROSS_ATTENTION) -> FusionNetwork:
    return fusion_network(backbone(architecture), adapter=adapter, scores=ALL_SCORES, trained=True)


def tiny_backbone(network: FusionNetwork, architecture: str = "llama") -> BackboneSpec:
    arguments = {"config": ARCHITECTURES[architecture], "seed": 0}
    return BackboneSpec(f"random {architecture}", "random", network.backbone.sha256, arguments)


def publish_tiny_fusion(
    output: Path, architecture: str = "llama", adapter: Any = CROSS_ATTENTION, formats: tuple[str, ...] = ("onnx",)
) -> Path:
    network = tiny_network(architecture, adapter)
    chosen = {name: FORMATS[name] for name in formats}
    return publish_fusion(network, tiny_backbone(network, architecture), ORIGIN, output, chosen, SYSTEM).path
