"""Fusion networks so small that a test takes milliseconds, on random language models of three architectures."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pixel_mm.models.encoders.encoder import SpeechEncoder
from pixel_mm.models.fusion.adapter import Adapter, CrossAttentionAdapter, SoftTokenAdapter
from pixel_mm.models.fusion.backbone import Backbone, RandomBackbone
from pixel_mm.models.fusion.hearing import Hearing
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.models.fusion.resampler import Resampler
from tests.models.tiny_networks import speech, whisper

_SHARED: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,  # so that every part of it shows in the result
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {**_SHARED, "model_type": "llama", "tie_word_embeddings": True},
    "qwen3": {**_SHARED, "model_type": "qwen3", "head_dim": 16},
    # Wide enough that a product's last bits depend on how many tokens an expert gets.
    "qwen3_moe": {
        **_SHARED,
        "hidden_size": 256,
        "model_type": "qwen3_moe",
        "head_dim": 16,
        "moe_intermediate_size": 96,
        "num_experts": 4,
        "num_experts_per_tok": 2,
    },
}
SCORES = ("valence", "arousal", "crisis", "interpretation")
CROSS_ATTENTION = partial(CrossAttentionAdapter, num_heads=2, head_size=8, feed_forward_size=16)
SOFT_TOKENS = partial(SoftTokenAdapter)
TEXTS = ("Hello you", "I'm fine, really.", "x", "What now?")


def backbone(architecture: str = "llama", seed: int = 0) -> Backbone:
    return RandomBackbone(ARCHITECTURES[architecture], seed).load()


def fusion_network(
    source: Backbone | None = None,
    adapter: Any = CROSS_ATTENTION,
    scores: Sequence[str] = SCORES,
    layers: Sequence[int] = (2, 3),
    trained: bool = False,
    encoder: SpeechEncoder | None = None,
    **options: Any,
) -> FusionNetwork:
    """In evaluation mode, the same at every call; `trained`: with weights and open gates that show everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = FusionNetwork(
            backbone() if source is None else source,
            {"recognition": whisper() if encoder is None else encoder},
            scores,
            adapter=adapter,
            resampler=partial(Resampler, size=16, latents_per_second=2, num_heads=2),
            layers=layers,
            head_width=8,
            **options,
        )
        if trained:
            assert isinstance(network.adapter, Adapter)
            for parameter in (*network.adapter.parameters(), *network.heads.parameters()):
                parameter.data.normal_(0, 0.5)
    return network.eval()


def prompt(source: Backbone, texts: Sequence[str] = TEXTS, side: str = "right") -> Prompt:
    source.tokenizer.padding_side = side
    tokens = source.tokenizer(list(texts), padding=True, return_tensors="pt")
    return Prompt(tokens.input_ids, tokens.attention_mask)


def listen(network: FusionNetwork, rows: Sequence[int] = (0, 2), num_rows: int = len(TEXTS)) -> Hearing:
    """Voices of 1.2 s and more, in some rows of a batch."""
    frames = network.encode(*speech(*(19_200 + 4_000 * number for number in range(len(rows)))))
    hearing = network.hear(frames, torch.tensor(rows), num_rows)
    assert hearing is not None
    return hearing


def read(network: FusionNetwork, text: Prompt, hearing: Hearing | None = None, has_text: Tensor | None = None) -> Any:
    """The network's output, all tokens being prompt and answer."""
    mask = text.attention_mask.bool()
    return network(text, mask, mask, mask.any(1) if has_text is None else has_text, hearing)
