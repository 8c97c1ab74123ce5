"""The resampler: frames of any number of speech encoders to a few latents per second.

Latents are learned queries, the same for every second; each looks at the frames of its own second and a little
around it, so that a latent stands for a known time and audio of any length has as many as it needs. After the Perceiver
resampler (Alayrac et al., NeurIPS 2022), which has a fixed number instead.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AudioFrames = Mapping[str, tuple[Tensor, Tensor]]
"""By encoder: frames float [A, F, D], and int64 [A] how many of them belong to each voice."""


class Latents(NamedTuple):
    """What the resampler hears.

    Attributes:
        values: float [A, N, size].
        mask: bool [A, N], true where a latent belongs to the voice; at least one does.
    """

    values: Tensor
    mask: Tensor


class Resampler(nn.Module):
    """Frames to latents."""

    def __init__(
        self,
        encoders: Mapping[str, tuple[int, float]],
        size: int,
        latents_per_second: int,
        num_heads: int,
        num_layers: int = 1,
        context_seconds: float = 0.5,
        dropout: float = 0.0,
    ) -> None:
        """Build the resampler.

        Args:
            encoders: width of the frames and frames per second, by name.
            size: width of the latents.
            latents_per_second: how many stand for each second.
            num_heads: of the attention.
            num_layers: of attention and feed-forward.
            context_seconds: what a latent sees before and after its second.
            dropout: of the projected frames, in training.

        Raises:
            ValueError: a width that its heads don't divide, or numbers below 1.
        """
        super().__init__()
        if min(latents_per_second, num_heads, num_layers) < 1 or size % num_heads:
            raise ValueError(
                f"model.audio_size is {size}, resampler_heads {num_heads}, latents_per_second {latents_per_second}, "
                f"resampler_layers {num_layers}: give numbers of 1 or more, and a width that the heads divide"
            )
        self.size = size
        self.latents_per_second, self.context_seconds = latents_per_second, context_seconds
        self.frame_rates = {name: rate for name, (_, rate) in encoders.items()}
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name, (width, _) in encoders.items()})
        self.projections = nn.ModuleDict({name: nn.Linear(width, size) for name, (width, _) in encoders.items()})
        self.queries = nn.Parameter(torch.randn(latents_per_second, size) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(size, num_heads) for _ in range(num_layers))
        self.final_norm = nn.LayerNorm(size)

    @property
    def architecture(self) -> dict[str, Any]:
        """What defines the computation beside the weights."""
        return {"latents_per_second": self.latents_per_second, "context_seconds": self.context_seconds}

    @property
    def arguments(self) -> dict[str, Any]:
        """What to build another one with, beside the encoders and dropout, in plain types."""
        sizes = {"size": self.size, "num_heads": self.layers[0].num_heads, "num_layers": len(self.layers)}
        return {**sizes, **self.architecture}

    def forward(self, frames: AudioFrames) -> Latents:
        """Condense a batch of voices; a voice's latents don't depend on what it is batched with.

        Args:
            frames: of every encoder, of the same voices.

        Raises:
            ValueError: frames of other encoders than the resampler was built for.
        """
        if frames.keys() != self.frame_rates.keys():
            raise ValueError(f"frames are of {', '.join(frames)}; the adapter listens to {', '.join(self.frame_rates)}")
        parts, times, present = [], [], []
        for name, (values, num_frames) in frames.items():
            time = (torch.arange(values.shape[1], device=values.device) + 0.5) / self.frame_rates[name]
            part = self.projections[name](self.norms[name](values.to(self.queries.dtype)))
            parts.append(self.dropout(part) + _wave(time, part.shape[2]).to(part.dtype))
            times.append(time)
            present.append(torch.arange(values.shape[1], device=values.device) < num_frames[:, None])
        keys, time, mask = torch.cat(parts, 1), torch.cat(times), torch.cat(present, 1)
        seconds = torch.where(mask, time, 0.0).amax(1)
        latents, middle = self._latents(self._whole_seconds(frames), time.device)
        near = (time - middle[:, None]).abs() <= 0.5 + self.context_seconds
        belongs = middle - 0.5 < seconds[:, None]
        allowed = near & mask[:, None]
        # A latent of padding sees nothing; let it see all, rather than divide by 0. It is masked afterwards.
        allowed = allowed | ~allowed.any(2, keepdim=True)
        latents = latents.expand(seconds.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(latents, keys.to(latents.dtype), allowed[:, None])
        return Latents(self.final_norm(latents), belongs)

    def _whole_seconds(self, frames: AudioFrames) -> int:
        """Seconds that hold the middle of the last frame: of the frames' axis, so that no value decides a shape."""
        counts = [
            _seconds_of(values.shape[1], round(1000 * self.frame_rates[name])) for name, (values, _) in frames.items()
        ]
        return functools.reduce(_larger, counts)

    def _latents(self, whole: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Queries [N, size] for so many seconds, and the middle of the second that each stands for [N]."""
        middle = torch.arange(whole * self.latents_per_second, device=device) // self.latents_per_second + 0.5
        queries = self.queries.repeat(whole, 1)
        return queries + _wave(middle, queries.shape[1]).to(queries.dtype), middle


class _Layer(nn.Module):
    """Attention of latents to frames, then a feed-forward layer, each added to what came in."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_norm, self.key_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query, self.key_value = nn.Linear(size, size, bias=False), nn.Linear(size, 2 * size, bias=False)
        self.output = nn.Linear(size, size, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size)
        )

    def forward(self, latents: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        query = self.query(self.query_norm(latents)).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        pair = self.key_value(self.key_norm(keys)).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, pair[0], pair[1], attn_mask=allowed)
        latents = latents + self.output(seen.transpose(1, 2).flatten(2))
        latents = latents + self.feed_forward(latents)
        return latents


def _seconds_of(num_frames: int, frame_rate_millihertz: int) -> int:
    """(num_frames - 0.5) / frame rate, rounded up; 1 or more."""
    return ((2 * num_frames - 1) * 500 + frame_rate_millihertz - 1) // frame_rate_millihertz


def _larger(one: int, other: int) -> int:
    """The larger of two lengths, which are tensors while TorchScript records and symbols while ONNX does."""
    if torch.jit.is_tracing():
        return torch.maximum(torch.as_tensor(one), torch.as_tensor(other))  # type: ignore[return-value]
    return torch.sym_max(one, other)  # type: ignore[return-value]  # a symbol counts as a number


def _wave(time: Tensor, size: int) -> Tensor:
    """Sines and cosines of times in seconds, [..., size], periods from 0.1 to 100 s (Vaswani et al., NeurIPS 2017)."""
    periods = torch.logspace(-1, 2, (size + 1) // 2, device=time.device)
    angle = 2 * torch.pi * time[..., None] / periods
    return torch.cat((angle.sin(), angle.cos()), -1)[..., :size]
