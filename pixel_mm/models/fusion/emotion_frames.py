"""Frames of a trained emotion regressor, for fusion to hear with."""

from typing import Any

from torch import Tensor, nn

from pixel_mm.models.emotion.network import EmotionRegressor


class EmotionFrames(nn.Module):
    """What the regressor would pool: the weighted sum of its encoder's states, projected.

    Attributes:
        hidden_size: width of a frame.
        frame_rate_hz: frames per second.
        architecture: what defines the computation beside the weights.
    """

    def __init__(self, regressor: EmotionRegressor) -> None:
        """Take the regressor, without its heads."""
        super().__init__()
        self.regressor = regressor
        projected = regressor.projection[1]
        assert isinstance(projected, nn.Linear)
        self.hidden_size: int = projected.out_features
        self.frame_rate_hz: float = regressor.encoder.frame_rate_hz / regressor.frame_stride
        self.architecture: dict[str, Any] = dict(regressor.architecture)

    def forward(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Frames float [A, F, D] and how many belong to each voice, int64 [A].

        Args:
            waveform: float32 [A, T], 16 kHz, any level.
            num_samples: int64 [A], 400 (25 ms) to 480 000 (30 s).
        """
        states, num_frames = self.regressor.hidden_states(waveform, num_samples)
        frames: Tensor = self.regressor.projection(self.regressor.layer_sum(states))
        return frames, num_frames
