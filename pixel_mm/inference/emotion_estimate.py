"""What scoring gives, and what goes into it: shared by the model that runs here and the one on a server."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import SILENCE_DBFS, AudioError, Waveform, prepare, windows
from pixel_mm.model_folder import ModelSpec

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class EmotionEstimate:
    """How a stretch of speech sounds.

    Attributes:
        scores: 0..1 by name: valence (0 negative, 1 positive), arousal (0 calm, 1 excited), dominance (0 submissive,
            1 dominant).
        emotions: probability by category, summing to 1; empty for a model without categories.
        start_seconds: where the stretch begins in the audio given.
        end_seconds: where it ends.
        model_version: that scored it on a server; None for a model folder.
    """

    scores: Mapping[str, float]
    emotions: Mapping[str, float]
    start_seconds: float
    end_seconds: float
    model_version: str | None = None

    @property
    def emotion(self) -> str | None:
        """The most probable category, None for a model without categories."""
        return max(self.emotions, key=lambda name: self.emotions[name]) if self.emotions else None

    def moved(self, seconds: float) -> "EmotionEstimate":
        """The same, that much later."""
        return replace(self, start_seconds=self.start_seconds + seconds, end_seconds=self.end_seconds + seconds)


def prepared_clip(waveform: NDArray[Any], sample_rate_hz: float, spec: ModelSpec) -> Waveform:
    """A clip as a model takes it, float32 [T] at the model's rate.

    Raises:
        AudioError: it cannot be scored at once.
    """
    prepared = prepare(waveform, sample_rate_hz).waveform
    seconds = prepared.size / spec.sample_rate_hz
    if seconds > spec.max_seconds:
        raise AudioError(
            f"{seconds:.2f} s long; at most {spec.max_seconds:g} s go at once, timeline() takes any length"
        )
    return prepared


def speech_windows(
    waveform: Waveform, spec: ModelSpec, window_seconds: float, overlap_seconds: float
) -> list[tuple[int, int]]:
    """First sample and end of each window of a prepared waveform in which there is something to hear.

    Raises:
        ValueError: impossible windows.
    """
    if not spec.min_seconds <= window_seconds <= spec.max_seconds:
        raise ValueError(f"window_seconds={window_seconds}; it must be {spec.min_seconds} to {spec.max_seconds:g}")
    silence = 10 ** (SILENCE_DBFS / 20)
    return [
        (start, end)
        for start, end in windows(waveform.size, window_seconds, overlap_seconds)
        if np.abs(waveform[start:end]).max() >= silence
    ]


def estimate_of(
    spec: ModelSpec, outputs: Arrays, row: int, start: int, end: int, version: str | None = None
) -> EmotionEstimate:
    """One row of a model's outputs by name.

    Args:
        spec: of the model.
        outputs: float32 [B] per score, float32 [B, C] of probabilities.
        row: which of B.
        start: first sample of the stretch, at the model's rate.
        end: its end.
        version: of a server's model.
    """
    scores, emotions = {}, {}
    for tensor in spec.outputs:
        if tensor.labels:
            emotions = {
                label: float(value) for label, value in zip(tensor.labels, outputs[tensor.name][row], strict=True)
            }
        else:
            scores[tensor.name] = float(outputs[tensor.name][row])
    rate = spec.sample_rate_hz
    return EmotionEstimate(scores, emotions, start / rate, end / rate, version)
