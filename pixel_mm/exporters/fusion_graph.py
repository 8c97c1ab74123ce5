"""What listens in a fused model, as it is deployed: raw waveform in; latents, keys and values, the voice's scores."""

import torch
from torch import Tensor, nn

from pixel_mm.audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE_HZ
from pixel_mm.exporters.clip_inputs import CLIP_INPUTS
from pixel_mm.fusion_spec import TASK, FusionSpec
from pixel_mm.model_folder import ModelSpec, Provenance, TensorSpec
from pixel_mm.models.fusion.adapter import Adapter, SoftTokenAdapter
from pixel_mm.models.fusion.frame_source import encoder_frames
from pixel_mm.models.fusion.network import FusionNetwork

EMBEDDINGS = "embeddings"
LATENTS, MASK = "latents", "latents_mask"
_VOICE = "audio_"
CONFIDENCE = f"{_VOICE}confidence"
_INFINITY = float("inf")


def keys_name(layer: int) -> str:
    """Name of the keys that the block before a layer looks up."""
    return f"keys_{layer}"


def values_name(layer: int) -> str:
    """Name of the values that the block before a layer takes."""
    return f"values_{layer}"


class ListeningGraph(nn.Module):
    """Encoders, resampler and what the blocks and heads make of the voice alone; the language model has no part in it.

    Args:
        network: with an adapter; parameters are shared.
    """

    def __init__(self, network: FusionNetwork) -> None:
        """Take the parts, in evaluation mode."""
        super().__init__()
        assert isinstance(network.adapter, Adapter)
        self.encoders, self.adapter, self.heads = network.encoders, network.adapter, network.heads
        self.scores, self._hidden_size = network.state_scores, network.language_model.config.hidden_size
        self.eval()

    def forward(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, ...]:
        """Listen.

        Args:
            waveform: float32 [B, T], 16 kHz, any level; what lies beyond a voice's end is ignored.
            num_samples: int64 [B], 400 (25 ms) to 480 000 (30 s), at most T.

        Returns:
            Latents float32 [B, N, size] and int64 [B, N], 1 where they belong to the voice; then float32 [B, N, H]
            embeddings, or keys and values [B, heads, N, head size] of each block; then float32 [B] each score of the
            voice alone, and the confidence in them.
        """
        latents, mask = self.adapter.resampler(encoder_frames(self.encoders, waveform, num_samples))
        heard: list[Tensor] = []
        if isinstance(self.adapter, SoftTokenAdapter):
            heard.append(self.adapter.embed(latents))
        for block in self.adapter.by_layer().values():
            heard.extend(block.keys_values(latents))
        said: list[Tensor] = []
        if self.scores:
            _, readings = self.heads.hear_voice(latents, mask)
            said = [*readings.logits.sigmoid().unbind(1), readings.confidence.sigmoid()]
        return (latents, mask.to(torch.int64), *heard, *said)

    def spec(self, name: str, provenance: Provenance, fusion: FusionSpec) -> ModelSpec:
        """Describe this graph; the folder's files are added when it is sealed."""
        return ModelSpec(
            name=name,
            task=TASK,
            sample_rate_hz=SAMPLE_RATE_HZ,
            min_seconds=MIN_SECONDS,
            max_seconds=MAX_SECONDS,
            inputs=CLIP_INPUTS,
            outputs=(*self._heard(), *self._said()),
            provenance=provenance,
            fusion=fusion.as_dict(),
        )

    def _heard(self) -> list[TensorSpec]:
        rate, size = self.adapter.resampler.latents_per_second, self.adapter.resampler.size
        outputs = [
            _tensor(LATENTS, (size,), f"what is heard, {rate} latents for each second"),
            TensorSpec(
                MASK, "int64", ("batch", "latents"), "truth", (0, 1), "1: the latent belongs to the voice; 0: padding"
            ),
        ]
        if self.adapter.soft_tokens:
            meaning = "soft tokens, to stand before the embeddings of the text; latents_mask is their attention mask"
            outputs.append(_tensor(EMBEDDINGS, (self._hidden_size,), meaning))
        for layer, block in self.adapter.by_layer().items():
            for made, kind in ((keys_name(layer), "keys"), (values_name(layer), "values")):
                shape = ("batch", block.num_heads, "latents", block.head_size)
                meaning = f"{kind} of the block before layer {layer}"
                outputs.append(TensorSpec(made, "float32", shape, "activation", (-_INFINITY, _INFINITY), meaning))
        return outputs

    def _said(self) -> list[TensorSpec]:
        scores = [
            TensorSpec(f"{_VOICE}{name}", "float32", ("batch",), "score", (0.0, 1.0), f"{name}, from the voice alone")
            for name in self.scores
        ]
        meaning = "how probable it is that the voice alone is read rightly"
        confidence = TensorSpec(CONFIDENCE, "float32", ("batch",), "probability", (0.0, 1.0), meaning)
        return [*scores, confidence] if scores else []


def _tensor(name: str, rest: tuple[int, ...], meaning: str) -> TensorSpec:
    axes: tuple[str | int, ...] = ("batch", "latents", *rest)
    return TensorSpec(name, "float32", axes, "activation", (-_INFINITY, _INFINITY), meaning)
