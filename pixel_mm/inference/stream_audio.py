"""Chunks of a stream as a waveform, while they come: nothing here needs to know what comes next."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from pixel_mm.audio import (
    CANCELLED,
    PEAK_LIMIT,
    SAMPLE_RATE_HZ,
    SILENCE_DBFS,
    TARGET_LEVEL_DBFS,
    AudioError,
    Waveform,
    as_channels,
    check_rate,
)

_BLOCK_SECONDS = 0.032
# Larger ones are no audio, and their squares leave the range of numbers.
_LARGEST_SAMPLE = 1e30
# Levels are means over about as long, the latest counting most.
_REMEMBERED_SECONDS = 10.0


class StreamAudio:
    """Mixes and resamples chunks of a stream.

    What comes out depends on the samples alone, and not on how they are cut into chunks.

    Args:
        sample_rate_hz: 8 000 to 192 000.

    Raises:
        AudioError: another sample rate.
    """

    def __init__(self, sample_rate_hz: float) -> None:
        """Begin."""
        check_rate(sample_rate_hz)
        self._size = round(_BLOCK_SECONDS * sample_rate_hz)
        self._resampler = soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, num_channels=1, quality="HQ")
        self._rest = np.zeros((0, 0), dtype=np.float32)
        self._energies = np.zeros(0)
        self._number = 0

    def hear(self, chunk: NDArray[Any]) -> Iterator[Waveform]:
        """Take a chunk.

        Args:
            chunk: [T] or [channels, T], floating point or full-scale integers; of any length, or empty.

        Yields:
            float32 [some samples], 16 kHz mono, as loud as it came.

        Raises:
            AudioError: not finite, of another rank or type, or other channels than the first had; the message begins
                with the chunk's number, counted from 1.
        """
        self._number += 1
        try:
            samples = self._checked(chunk)
        except AudioError as error:
            raise AudioError(f"chunk {self._number}: {error}") from None
        self._rest = np.concatenate([self._rest, samples], axis=1)
        whole = self._rest.shape[1] // self._size * self._size
        for start in range(0, whole, self._size):
            yield self._resampler.resample_chunk(self._mixed(self._rest[:, start : start + self._size]))
        self._rest = self._rest[:, whole:].copy()

    def finish(self) -> Waveform:
        """What is left at the end of the stream."""
        rest = self._mixed(self._rest) if self._rest.size else np.zeros(0, dtype=np.float32)
        last: Waveform = self._resampler.resample_chunk(rest, last=True)
        return last

    def _checked(self, chunk: NDArray[Any]) -> Waveform:
        samples = as_channels(np.asarray(chunk))
        if not np.abs(samples).max(initial=0.0) <= _LARGEST_SAMPLE:  # also refuses NaN
            raise AudioError(f"samples are NaN, infinite or above {_LARGEST_SAMPLE:g}")
        if self._energies.size == 0:
            self._rest = np.zeros((len(samples), 0), dtype=np.float32)
            self._energies = np.zeros(1 + len(samples))
        if len(samples) != len(self._rest):
            raise AudioError(f"{len(samples)} channels; the chunks before had {len(self._rest)}")
        return samples.astype(np.float32)

    def _mixed(self, block: Waveform) -> Waveform:
        """Mean over the channels; the loudest where the mean has cancelled so far."""
        if len(block) == 1:
            return block[0]
        mean = block.mean(axis=0, dtype=np.float64)
        kept = 1 - _BLOCK_SECONDS / _REMEMBERED_SECONDS
        self._energies = kept * self._energies + [mean.var(), *block.var(axis=1, dtype=np.float64)]
        loudest = int(self._energies[1:].argmax())
        cancelled = self._energies[0] < CANCELLED**2 * self._energies[1 + loudest]
        chosen: Waveform = block[loudest] if cancelled else mean.astype(np.float32)
        return chosen


class RunningLevel:
    """Brings frames of a stream to about the usual level, by the frames so far."""

    def __init__(self) -> None:
        """Begin."""
        self._mean, self._square = _RunningMean(), _RunningMean()

    def __call__(self, frame: Waveform) -> Waveform:
        """A frame at the usual level, without DC; zeros where there is nothing to hear.

        Args:
            frame: float32 [some samples], 16 kHz, always as many.

        Returns:
            float32, as many, in [-1, 1].
        """
        kept = 1 - frame.size / SAMPLE_RATE_HZ / _REMEMBERED_SECONDS
        centred = frame - self._mean.update(float(frame.mean(dtype=np.float64)), kept)
        peak = float(np.abs(centred).max())
        if peak < 10 ** (SILENCE_DBFS / 20):  # a pause says nothing of how loud the speech around it is
            return np.zeros_like(frame)
        square = self._square.update(float(np.square(centred, dtype=np.float64).mean()), kept)
        gain = min(10 ** (TARGET_LEVEL_DBFS / 20) / math.sqrt(square), PEAK_LIMIT / peak)
        return (centred * gain).astype(np.float32)


class _RunningMean:
    """Of numbers that come one by one, the older counting less."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def update(self, number: float, kept: float) -> float:
        self._sum = kept * self._sum + number
        self._weight = kept * self._weight + 1
        return self._sum / self._weight
