"""From many frames to few and to one vector: average of neighbours, weighted sum of layers, attentive statistics."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixel_mm.models.frontend import full_precision, padding_mask

_MIN_VARIANCE = 1e-5


def average_neighbours(frames: Tensor, num_frames: Tensor, stride: int) -> Tensor:
    """Average each run of `stride` neighbouring frames into one.

    Args:
        frames: float [B, F, D], zero where there is padding.
        num_frames: int64 [B].
        stride: frames that become one; an utterance's last run may be shorter, and is averaged over what it has.

    Returns:
        float [B, ceil(F / stride), D], zero where there is padding.
    """
    if stride == 1:
        return frames
    num_runs = (frames.shape[1] + stride - 1) // stride
    whole = F.pad(frames, (0, 0, 0, stride - 1))[:, : num_runs * stride]
    sums = whole.unflatten(1, (num_runs, stride)).sum(2)
    begin = stride * torch.arange(num_runs, device=frames.device)
    counts = (num_frames.unsqueeze(1) - begin).clamp(1, stride)
    return sums / counts.unsqueeze(2).to(sums.dtype)


class LayerWeightedSum(nn.Module):
    """Learnt convex combination of hidden states, each normalised first (as in SUPERB, Yang et al., Interspeech 2021).

    Every frame is normalised over its channels: without that the deeper states of a network with residual paths
    outweigh the others by their scale. Then each channel of each state has a learnt scale and offset, which
    `standardise` sets from data: a pretrained network has a few channels that are far larger than the others.
    """

    def __init__(self, num_states: int, size: int) -> None:
        """Begin with equal weights, and channels as they are.

        Args:
            num_states: S, hidden states that are combined.
            size: D, their channels.
        """
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_states))
        self.scales = nn.Parameter(torch.ones(num_states, size))
        self.offsets = nn.Parameter(torch.zeros(num_states, size))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """`num_states` tensors, float [B, F, D], to their combination, float [B, F, D]."""
        total: Tensor | None = None
        shares = self.weights.softmax(0)
        for share, scale, offset, state in zip(shares, self.scales, self.offsets, states, strict=True):
            part = share * F.layer_norm(state, state.shape[-1:], scale, offset)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("a weighted sum of no states; configure at least one")
        return total

    @torch.no_grad()
    def standardise(self, batches: Iterable[tuple[Sequence[Tensor], Tensor]]) -> None:
        """Set scales and offsets so that each channel of each normalised state has mean 0 and deviation 1 over frames.

        Args:
            batches: `num_states` tensors, float [B, F, D], and the number of frames of each utterance, int64 [B].

        Raises:
            ValueError: less than two frames in all.
        """
        count, sums = 0, torch.zeros(2, *self.scales.shape, dtype=torch.float64)
        for states, num_frames in batches:
            mask = padding_mask(num_frames, states[0].shape[1])
            for row, state in enumerate(states):
                frames = state.flatten(0, 1) if mask is None else state[mask]
                frames = F.layer_norm(frames.float(), frames.shape[-1:]).double().cpu()
                sums[:, row] += torch.stack((frames.sum(0), frames.square().sum(0)))
            count += int(num_frames.sum())
        if count < 2:
            raise ValueError(f"{count} frames to measure the channels of the hidden states on; give more clips")
        mean = sums[0] / count
        deviation = (sums[1] / count - mean.square()).clamp(min=_MIN_VARIANCE).sqrt()
        self.scales.copy_(1 / deviation)
        self.offsets.copy_(-mean / deviation)


class AttentiveStatistics(nn.Module):
    """Attentive statistics pooling (Okabe, Koshinaka & Shinoda, Interspeech 2018).

    The weights of the frames come from a small network; pooled are the weighted mean and standard deviation.
    """

    def __init__(self, size: int, attention_size: int) -> None:
        """Build the scoring network.

        Args:
            size: C, features of a frame.
            attention_size: width of the scoring network.
        """
        super().__init__()
        self.score = nn.Sequential(nn.Linear(size, attention_size), nn.Tanh(), nn.Linear(attention_size, 1, bias=False))

    def forward(self, frames: Tensor, num_frames: Tensor) -> Tensor:
        """Pool each utterance over its own frames, in float32.

        Args:
            frames: float [B, F, C].
            num_frames: int64 [B], at least 1.

        Returns:
            float32 [B, 2C], means then standard deviations.
        """
        scores = self.score(frames).squeeze(2)
        with full_precision(frames.device.type):
            mask = padding_mask(num_frames, frames.shape[1])
            scores = scores.float() if mask is None else scores.float().masked_fill(~mask, float("-inf"))
            weights, values = scores.softmax(1).unsqueeze(1), frames.float()
            mean = weights @ values
            # From the deviations: the mean of squares less the square of the mean has no digits left when it is small.
            # The bound keeps the root's slope finite when there is one frame.
            variance = weights @ (values - mean).square()
            return torch.cat((mean, variance.clamp(min=_MIN_VARIANCE).sqrt()), dim=2).squeeze(1)
