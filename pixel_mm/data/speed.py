"""Speed perturbation, as an audiomentations transform: that has time stretching and pitch shifting, but never both."""

import random
from collections.abc import Sequence

import numpy as np
import soxr
from audiomentations.core.transforms_interface import BaseWaveformTransform
from numpy.typing import NDArray


class SpeedPerturb(BaseWaveformTransform):
    """Play a clip faster or slower (Ko et al., "Audio augmentation for speech recognition", Interspeech 2015).

    Pace, pitch and formants move together, as they do between a short and a long vocal tract: what comes out sounds
    like another speaker.
    """

    supports_multichannel = True

    def __init__(self, speeds: Sequence[float] = (0.9, 1.0, 1.1), p: float = 1.0) -> None:
        """Choose the speeds.

        Args:
            speeds: one is drawn for each clip; 1.1 makes a clip 10 % faster, 0.5 to 2.
            p: probability of being applied at all.

        Raises:
            ValueError: no speed, or one out of range.
        """
        super().__init__(p)
        if not speeds or not all(0.5 <= speed <= 2 for speed in speeds):
            raise ValueError(f"SpeedPerturb: speeds is {list(speeds)}; give one or more from 0.5 to 2")
        self.speeds = [float(speed) for speed in speeds]

    def randomize_parameters(self, samples: NDArray[np.float32], sample_rate: int) -> None:
        """Draw a speed; called by audiomentations."""
        super().randomize_parameters(samples, sample_rate)
        if self.parameters["should_apply"]:
            self.parameters["speed"] = random.choice(self.speeds)

    def apply(self, samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
        """float32 [..., T] to float32 [..., about T / speed]; called by audiomentations."""
        speed = self.parameters["speed"]
        if speed == 1.0:
            return samples
        resampled: NDArray[np.float32] = soxr.resample(samples.T, sample_rate * speed, sample_rate).T
        return resampled
