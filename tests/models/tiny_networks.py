"""Encoders and networks so small that a test takes milliseconds, with random weights large enough to matter."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import HubertConfig, PreTrainedConfig, Wav2Vec2Config, WavLMConfig

from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.encoders.encoder import SpeechEncoder
from pixel_mm.models.encoders.wav2vec2 import Wav2Vec2Encoder
from pixel_mm.models.encoders.whisper import WhisperEncoder
from pixel_mm.models.frontend import FeatureMask

LABELS = ("anger", "neutral", "sadness")


def stirred(encoder: SpeechEncoder, seed: int = 0) -> SpeechEncoder:
    """The encoder in evaluation mode with weights so large that every part of it shows in the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.8 + 0.2 * noise if parameter.ndim == 1 else noise * 2 * parameter[0].numel() ** -0.5)
    return encoder.eval()


def whisper(last_layer: int | None = None, mask: FeatureMask | None = None, dropout: float = 0.0) -> WhisperEncoder:
    """2 layers (or the first of them), 16 wide."""
    encoder = WhisperEncoder(
        2, 16, 2, 32, pretrained_weights=False, num_mels=20, last_layer=last_layer, mask=mask, dropout=dropout
    )
    return stirred(encoder)  # type: ignore[return-value]


def wav2vec2_config(kind: type[PreTrainedConfig], per_frame: bool) -> PreTrainedConfig:
    """2 layers, 16 wide; normalised over time by groups, or per frame."""
    return kind(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer" if per_frame else "group",
        do_stable_layer_norm=per_frame,
        conv_bias=per_frame,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
    )


def wav2vec2(kind: type[PreTrainedConfig], per_frame: bool, last_layer: int | None = None) -> Wav2Vec2Encoder:
    """The family's encoder of that kind."""
    config = wav2vec2_config(kind, per_frame)
    encoder = Wav2Vec2Encoder(config, normalise=per_frame, pretrained_weights=False, last_layer=last_layer)
    return stirred(encoder)  # type: ignore[return-value]


FAMILIES: dict[str, Callable[[], SpeechEncoder]] = {
    "whisper": whisper,
    "wav2vec2, group norm": lambda: wav2vec2(Wav2Vec2Config, per_frame=False),
    "wav2vec2, layer norm": lambda: wav2vec2(Wav2Vec2Config, per_frame=True),
    "hubert, group norm": lambda: wav2vec2(HubertConfig, per_frame=False),
    "hubert, layer norm": lambda: wav2vec2(HubertConfig, per_frame=True),
    "wavlm, group norm": lambda: wav2vec2(WavLMConfig, per_frame=False),
    "wavlm, layer norm": lambda: wav2vec2(WavLMConfig, per_frame=True),
}
"""Every kind of encoder by name."""


def regressor(encoder: SpeechEncoder | None = None, dropout: float = 0.0) -> EmotionRegressor:
    """Regressor of three emotions on a tiny Whisper, in evaluation mode, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = EmotionRegressor(
            whisper() if encoder is None else encoder,
            LABELS,
            projection_size=8,
            attention_size=4,
            dropout=dropout,
        )
    return network.eval()


def speech(*lengths: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Waveforms float32 [B, T] somewhat like voices (a gliding buzz, and noise), zero-padded; lengths int64 [B]."""
    generator = torch.Generator().manual_seed(seed)
    waveform = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        seconds = torch.arange(length) / 16_000
        pitch = 100 + 40 * row + 30 * torch.sin(3 * seconds)
        buzz = torch.sin(2 * torch.pi * pitch * seconds).pow(5) * (1.2 + torch.sin(20 * seconds))
        waveform[row, :length] = 0.1 * buzz + 0.01 * torch.randn(length, generator=generator)
    return waveform, torch.tensor(lengths)
