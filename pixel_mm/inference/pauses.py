"""Where a recording is quiet, to 5 ms: in its pauses, however loud it is and whatever hums in the background."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform

HOP_SAMPLES = 80
_SMOOTHED_HOPS = 4  # 20 ms, more than a period of a low voice
_BACKGROUND_HOPS = 10  # 50 ms, so that one soft moment is no background
# Loudest and background are those of the neighbourhood: speakers, distance and noise change within a recording.
_LOUD_SECONDS, _BACKGROUND_SECONDS = 1.0, 2.0
_FAR_BELOW_DB = 20.0  # the loudest of a neighbourhood counts as speech if it is not so far below the whole's
_HEADROOM_DB = 3.0  # of a vowel's peak over what is loud
# Quiet is what is in the lower fifth between background and loud, at least 15 dB below loud; 35 dB below, all is.
_QUIET_SHARE, _LEAST_DB, _MOST_DB = 0.2, 15.0, 35.0
_SHORTEST_SECONDS = 0.03  # of a pause; stops of consonants are shorter, or all but silent


def levels(waveform: Waveform) -> NDArray[np.float64]:
    """Level of each 5 ms, over 20 ms, in dB.

    Args:
        waveform: float32 [T], 16 kHz.

    Returns:
        float64 [ceil(T / 80)].
    """
    padded = np.pad(waveform, (0, -waveform.size % HOP_SAMPLES)).reshape(-1, HOP_SAMPLES)
    energy = uniform_filter1d(np.square(padded, dtype=np.float64).mean(axis=1), _SMOOTHED_HOPS, mode="nearest")
    return 10 * np.log10(np.maximum(energy, 1e-10))


def find_pauses(waveform: Waveform) -> list[tuple[int, int]]:
    """Quiet stretches of 30 ms or longer, and at both ends of any length.

    Args:
        waveform: float32 [T], 16 kHz.

    Returns:
        (start, end) in samples, end exclusive, in order.
    """
    level = levels(waveform)
    hops_per_second = SAMPLE_RATE_HZ / HOP_SAMPLES
    loud = maximum_filter1d(level, _window(_LOUD_SECONDS * hops_per_second), mode="nearest") - _HEADROOM_DB
    loud = np.maximum(loud, np.percentile(level, 95) - _FAR_BELOW_DB)
    calm = uniform_filter1d(level, _BACKGROUND_HOPS, mode="nearest")
    background = minimum_filter1d(calm, _window(_BACKGROUND_SECONDS * hops_per_second), mode="nearest")
    limit = np.clip(background + _QUIET_SHARE * (loud - background), loud - _MOST_DB, loud - _LEAST_DB)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], level < limit, [False]])))
    shortest = _SHORTEST_SECONDS * hops_per_second
    return [
        (start * HOP_SAMPLES, min(end * HOP_SAMPLES, waveform.size))
        for start, end in turns.reshape(-1, 2).tolist()
        if end - start >= shortest or start == 0 or end == level.size
    ]


def _window(reach: float) -> int:
    return 2 * round(reach) + 1
