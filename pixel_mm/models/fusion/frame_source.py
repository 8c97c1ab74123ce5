"""What a fusion network hears through: speech encoders, or what stands for them where a graph hears in their place."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pixel_mm.models.frontend import check_lengths, full_precision, normalise_level


class FrameSource(Protocol):
    """A speech encoder, or what gives frames of one: a module with these, and weights that stay as they are."""

    hidden_size: int
    frame_rate_hz: float
    architecture: dict[str, Any]

    def __call__(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Frames float [A, F, D] and int64 [A] how many belong to each, of float32 [A, T] in 16 kHz, int64 [A]."""


class HeardElsewhere(nn.Module):
    """Stands for an encoder that has become part of an exported graph, or all of whose frames are on the disk."""

    def __init__(self, sha256: str, hidden_size: int, frame_rate_hz: float, architecture: Mapping[str, Any]) -> None:
        """Take what the encoder was; see `FrameSource`. `sha256` is the fingerprint of its weights."""
        super().__init__()
        self.sha256, self.hidden_size, self.frame_rate_hz = sha256, hidden_size, frame_rate_hz
        self.architecture = dict(architecture)


def check_voices(waveform: Tensor, num_samples: Tensor) -> None:
    """Refuse voices that can't be heard; arguments as those of `FusionNetwork.encode`.

    Raises:
        ValueError: audio that is too short or too long, or not a number.
    """
    check_lengths(waveform, num_samples)
    inside = torch.arange(waveform.shape[1], device=waveform.device) < num_samples[:, None]
    broken = (~waveform.isfinite() & inside).any(1).nonzero().flatten().tolist()
    if broken:
        raise ValueError(f"audio {', '.join(map(str, broken))} of the batch has samples that are NaN or infinite")


def encoder_frames(encoders: nn.ModuleDict, waveform: Tensor, num_samples: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Frames of every encoder, by name, of voices at one level; arguments as those of `FusionNetwork.encode`."""
    with full_precision(waveform.device.type):
        level = normalise_level(waveform.float(), num_samples)
    return {name: encoder(level, num_samples) for name, encoder in encoders.items()}
