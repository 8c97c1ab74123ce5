"""Prosody in words: pitch, loudness, speed and pauses of a voice as a sentence in the prompt.

The cheap baseline that a network which hears has to beat: a language model that is only told how something was said.
What is usual is the median of the voices that are trained on, and how far a voice is from it is said in their spread.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform

_FRAME = round(0.04 * SAMPLE_RATE_HZ)
_STEP = round(0.01 * SAMPLE_RATE_HZ)
_PITCH_HZ = (60.0, 500.0)
_VOICED = 0.5  # of the autocorrelation at its best lag; noise stays well below
_PAUSE_DECIBELS = 25.0  # below the loud parts of the clip
_SHORTEST_PAUSE = 0.15  # seconds; less is a stop consonant
_LOUD = 95  # percentile of the frames' levels
_ENVELOPE_SECONDS = 0.1  # of the smoothing in which syllables are counted, and between two of them
_PEAK_DECIBELS = 2.0  # that a syllable rises above the dip before it
_SOME, _MUCH = 0.5, 1.5  # of the spread, standard deviations of a normal one
_NORMAL = 1.4826  # standard deviations of a normal distribution in its median absolute deviation


class Prosody(NamedTuple):
    """How something was said.

    Attributes:
        pitch: median over voiced frames, semitones above 60 Hz; NaN where no frame is voiced.
        liveliness: standard deviation of the pitch, semitones; NaN likewise.
        loudness: level of the recording, dB below full scale.
        speed: syllables (peaks of loudness) per second between pauses; NaN where there are none.
        pauses: share of the time between first and last sound, 0..1.
    """

    pitch: float
    liveliness: float
    loudness: float
    speed: float
    pauses: float


# Half of all clips may have no pause at all: a spread of 0 would make a single one remarkable.
_LEAST_SPREADS = Prosody(pitch=1.0, liveliness=0.5, loudness=1.0, speed=0.3, pauses=0.05)
_WORDS = {
    "pitch": ("much lower", "lower", "higher", "much higher"),
    "liveliness": ("much flatter", "flatter", "livelier", "much livelier"),
    "loudness": ("much quieter", "quieter", "louder", "much louder"),
    "speed": ("much slower", "slower", "faster", "much faster"),
    "pauses": ("with far fewer pauses", "with fewer pauses", "with more pauses", "with far more pauses"),
}


def measure_prosody(waveform: Waveform, level_dbfs: float) -> Prosody:
    """Measure a voice.

    Args:
        waveform: float32 [T], 16 kHz, any level.
        level_dbfs: of the recording before it was levelled.
    """
    frames = _frames(waveform)
    levels = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    sounding = levels > np.percentile(levels, _LOUD) - _PAUSE_DECIBELS
    pitch = _pitch(frames[sounding])
    pauses = _pause_frames(sounding)
    spoken = (np.ptp(np.flatnonzero(sounding)) + 1 - pauses) * _STEP / SAMPLE_RATE_HZ
    syllables = _count_syllables(levels, sounding)
    known = pitch.size > 0
    return Prosody(
        pitch=float(np.median(pitch)) if known else float("nan"),
        liveliness=float(pitch.std()) if known else float("nan"),
        loudness=level_dbfs,
        speed=syllables / spoken if syllables else float("nan"),
        pauses=pauses / (np.ptp(np.flatnonzero(sounding)) + 1),
    )


class ProsodyWords:
    """Says how a voice differs from what is usual."""

    def __init__(self, usual: Sequence[Prosody]) -> None:
        """Learn what is usual.

        Args:
            usual: of the voices that are trained on, and of no other.

        Raises:
            ValueError: there are none.
        """
        if not usual:
            raise ValueError("prosody in words needs voices to compare with; the training part has none")
        table = np.array(usual, dtype=np.float64)
        self.medians = np.array([_median(column) for column in table.T])
        spreads = [_NORMAL * _median(abs(column - _median(column))) for column in table.T]
        self.spreads = np.maximum(spreads, _LEAST_SPREADS)

    def describe(self, prosody: Prosody) -> str:
        """The sentence, such as "[The voice is higher, much louder, with fewer pauses than usual.]"."""
        away = (np.array(prosody) - self.medians) / self.spreads
        said = [
            words
            for name, distance in zip(Prosody._fields, away, strict=True)
            if (words := _in_words(name, distance)) is not None
        ]
        return f"[The voice is {', '.join(said)} than usual.]" if said else "[The voice is as usual.]"


def _in_words(name: str, distance: float) -> str | None:
    if not abs(distance) >= _SOME:  # also of NaN
        return None
    much = abs(distance) >= _MUCH
    return _WORDS[name][(3 if much else 2) if distance > 0 else (0 if much else 1)]


def _frames(waveform: Waveform) -> NDArray[np.float64]:
    """[F, 40 ms] every 10 ms, free of DC; a clip that is shorter is one frame."""
    padded = np.pad(waveform, (0, max(0, _FRAME - len(waveform)))).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_STEP]
    centred: NDArray[np.float64] = frames - frames.mean(axis=1, keepdims=True)
    return centred


def _pitch(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitch of the voiced ones of some frames, in semitones above 60 Hz.

    The highest peak of the normalised autocorrelation, computed through its spectrum: that of the frame by that of the
    window (Boersma, "Accurate short-term analysis of the fundamental frequency", 1993).
    """
    window = np.hanning(_FRAME)
    spectra = np.fft.rfft(frames * window, 2 * _FRAME, axis=1)
    found = np.fft.irfft(np.abs(spectra) ** 2, axis=1)[:, :_FRAME]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * _FRAME)) ** 2)[:_FRAME]
    shortest, longest = (round(SAMPLE_RATE_HZ / hertz) for hertz in reversed(_PITCH_HZ))
    normal = found / np.maximum(found[:, :1], 1e-12) / (own / own[0])
    # Every multiple of a period is a peak as high; a little less for longer lags chooses the period itself.
    lags = np.arange(shortest, longest + 1)
    strength = normal[:, shortest : longest + 1] - 0.02 * np.log2(lags / shortest)
    best = strength.argmax(axis=1)
    voiced = (normal[np.arange(len(frames)), best + shortest] > _VOICED) & (best > 0) & (best < len(lags) - 1)
    hertz = SAMPLE_RATE_HZ / (best[voiced] + shortest)
    semitones: NDArray[np.float64] = 12 * np.log2(hertz / _PITCH_HZ[0])
    return semitones


def _pause_frames(sounding: NDArray[np.bool_]) -> int:
    """Frames in silences that are long enough, between the first and the last sound."""
    places = np.flatnonzero(sounding)
    gaps = np.diff(places) - 1
    return int(gaps[gaps >= _SHORTEST_PAUSE * SAMPLE_RATE_HZ / _STEP].sum())


def _count_syllables(levels: NDArray[np.float64], sounding: NDArray[np.bool_]) -> int:
    """Peaks of the smoothed loudness that rise from a dip (after Mermelstein, JASA 58, 1975; de Jong & Wempe 2009)."""
    width = round(_ENVELOPE_SECONDS * SAMPLE_RATE_HZ / _STEP)
    kernel = np.hanning(width + 2)[1:-1]
    ends = np.pad(levels, (width // 2, width - 1 - width // 2), mode="edge")
    smooth = np.convolve(ends, kernel / kernel.sum(), mode="valid")
    count, dip, top = 0, float("inf"), float("-inf")
    for level, loud in zip(smooth, sounding, strict=True):
        dip = min(dip, level)
        if loud and level - dip >= _PEAK_DECIBELS:
            top = max(top, level)
        if top - level >= _PEAK_DECIBELS:  # the peak is over
            count, dip, top = count + 1, level, float("-inf")
    return count + (top > float("-inf"))


def _median(column: NDArray[np.float64]) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if known.size else 0.0
