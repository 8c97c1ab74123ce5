"""From many frames to few and to one vector: average of neighbours, weighted sum of layers, attentive statistics."""

from collections.abc import Sequence

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

    Without the normalisation the deeper states of a network with residual paths outweigh the others by their scale.
    """

    def __init__(self, num_states: int) -> None:
        """Begin with equal weights.

        Args:
            num_states: hidden states that are combined.
        """
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_states))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """`num_states` tensors, float [B, F, D], to their combination, float [B, F, D]."""
        total: Tensor | None = None
        for share, state in zip(self.weights.softmax(0), states, strict=True):
            part = share * F.layer_norm(state, state.shape[-1:])
            total = part if total is None else total + part
        if total is None:
            raise ValueError("a weighted sum of no states; configure at least one")
        return total


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
        self.score = nn.Sequential(nn.Linear(size, attention_size), nn.Tanh(), nn.Linear(attention_size, 1))

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
