"""A network of a few hundred weights with the interface of `EmotionRegressor`, for tests of what wraps one."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

LABELS = ("anger", "calm", "happiness", "sadness")
DIMENSIONS = ("valence", "arousal", "dominance")


class TinyOutput(NamedTuple):
    scores: Tensor
    emotion_logits: Tensor


class TinyRegressor(nn.Module):
    """Frames of 400 samples by a convolution, masked mean, two linear heads."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.frames = nn.Conv1d(1, 16, kernel_size=400, stride=160)
            self.scores = nn.Linear(16, len(DIMENSIONS))
            self.emotions = nn.Linear(16, len(LABELS))
        self.dimensions = DIMENSIONS
        self.emotion_labels = LABELS

    def forward(self, waveform: Tensor, num_samples: Tensor) -> TinyOutput:
        inside = torch.arange(waveform.shape[1]) < num_samples[:, None]
        waveform = waveform * inside
        power = waveform.square().sum(1, keepdim=True) / num_samples[:, None]
        frames = self.frames((waveform / (power + 1e-8).sqrt())[:, None]).square().log1p().transpose(1, 2)
        num_frames = (num_samples - 400) // 160 + 1
        mask = (torch.arange(frames.shape[1]) < num_frames[:, None])[..., None].to(frames.dtype)
        pooled = (frames * mask).sum(1) / mask.sum(1)
        return TinyOutput(self.scores(5 * pooled).sigmoid(), self.emotions(5 * pooled))
