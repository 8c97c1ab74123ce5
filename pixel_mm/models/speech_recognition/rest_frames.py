"""The silence behind an utterance, up to Whisper's 30 s, as a few frames that weigh for many.

Published networks are used to seeing it: their heads rest there, and find the end by it. All of it sounds alike and
differs in its positions only, so a sample of positions stands for it: in the softmax of attention, a frame that stands
for `n` frames of the same key and value counts as they do when log(n) is added to its score.
"""

import math

import torch
from torch import Tensor

REST_FRAMES = 64
"""Frames that stand for the rest; they come before an utterance's own."""
FULL_FRAMES = 1500
"""Frames of 30 s."""
# Frames before the end of the half second of silence behind each utterance: neither speech nor the batch's padding
# reaches through the front end's window and convolutions to there.
_FROM_END = 4
# What is left of a rest that is empty; the logarithm of 0 has no gradient.
_SMALLEST_REST = 1e-4


def add_rest(state: Tensor, num_frames: Tensor, positions: Tensor) -> Tensor:
    """Put the rest before utterances.

    Args:
        state: float [B, F, D], of the encoder's front end, positions added; each utterance ends in silence.
        num_frames: int64 [B], at least 4.
        positions: float [1500, D].

    Returns:
        float [B, 64 + F, D].
    """
    own = (num_frames - _FROM_END).unsqueeze(1)
    silent = state.gather(1, own.unsqueeze(2).expand(-1, -1, state.shape[2])) - positions[own]
    middles = (torch.arange(REST_FRAMES, device=state.device) + 0.5) / REST_FRAMES
    places = num_frames.unsqueeze(1) + (middles * (FULL_FRAMES - num_frames).unsqueeze(1)).long()
    return torch.cat((silent + positions[places.clamp(max=FULL_FRAMES - 1)], state), dim=1)


def rest_weights(num_frames: Tensor, size: int) -> Tensor:
    """What is added to the scores of attention.

    Args:
        num_frames: int64 [B], the rest's 64 among them.
        size: frames of the batch, 64 + F.

    Returns:
        float32 [B, 1, 1, size]: a logarithm for the rest, 0 for an utterance's own, minus infinity beyond its end.
    """
    frames = torch.arange(size, device=num_frames.device)
    rest = (FULL_FRAMES + REST_FRAMES - num_frames).unsqueeze(1).float().clamp(min=_SMALLEST_REST)
    weights = torch.where(frames < REST_FRAMES, rest.log() - math.log(REST_FRAMES), 0.0)
    return weights.masked_fill(frames >= num_frames.unsqueeze(1), float("-inf"))[:, None, None, :]
