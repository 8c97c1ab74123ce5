"""Pitch of the synthesis voice, whose fundamental is filtered out of its recordings.

WORLD's own trackers (DIO, Harvest) look for the fundamental and mistake the harmonics above it for the pitch of this
voice. The autocorrelation sees the period whichever harmonics are there.
"""

import numpy as np
from scipy.signal import medfilt

FLOOR_HZ = 55.0
CEILING_HZ = 200.0
_WINDOW_SECONDS = 0.050  # 2.75 periods at the floor
_VOICING_STRENGTH = 0.5
_VOICING_FRAMES = 7
_SILENCE_DB = -45.0  # below the loudest frame
_STEP_COST = 2.0  # strength given up for the path to move by one octave from one frame to the next


def track_pitch(waveform: np.ndarray, sample_rate_hz: int, frame_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Pitch by the normalised autocorrelation of Boersma (1993), and the best path through it.

    P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled
    sound", IFA Proceedings 17 (1993). The path is Viterbi's, over all lags, with a cost for octaves moved.

    Args:
        waveform: float [T].
        sample_rate_hz: its rate.
        frame_seconds: hop between frames.

    Returns:
        Pitch in Hz, float64 [N], 0 where unvoiced, and the frames' times in seconds, float64 [N]; N = T / hop + 1.
    """
    size = round(_WINDOW_SECONDS * sample_rate_hz)
    times = np.arange(int(waveform.size / sample_rate_hz / frame_seconds) + 1) * frame_seconds
    padded = np.pad(np.asarray(waveform, np.float64), size)
    starts = np.round(times * sample_rate_hz).astype(int) + size - size // 2
    frames = padded[starts[:, None] + np.arange(size)]
    frames -= frames.mean(axis=1, keepdims=True)
    lags = np.arange(int(sample_rate_hz / CEILING_HZ), int(sample_rate_hz / FLOOR_HZ) + 1)
    strength = _autocorrelation(frames, np.hanning(size))[:, lags]
    path = _best_path(strength, np.log2(lags))
    rows = np.arange(times.size)
    level_db = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    voiced = (strength[rows, path] > _VOICING_STRENGTH) & (level_db > level_db.max() + _SILENCE_DB)
    voiced = medfilt(voiced.astype(float), _VOICING_FRAMES) > 0  # without specks and pinholes
    return np.where(voiced, sample_rate_hz / _refined(strength, path, lags), 0.0), times


def _autocorrelation(frames: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Autocorrelation of windowed frames over that of the window, float64 [N, size], 1 at lag 0."""
    bins = 2 * window.size

    def correlate(signal: np.ndarray) -> np.ndarray:
        return np.fft.irfft(np.abs(np.fft.rfft(signal, bins)) ** 2, bins)[..., : window.size]

    signal, own = correlate(frames * window), correlate(window)
    return signal / (signal[:, :1] + 1e-9) / np.maximum(own / own[0], 1e-3)


def _best_path(strength: np.ndarray, log_lags: np.ndarray) -> np.ndarray:
    """Index of a lag per frame, int [N]: the path of greatest strength less the cost of its steps."""
    cost = _STEP_COST * np.abs(log_lags[:, None] - log_lags[None, :])
    score, back = strength[0], np.zeros(strength.shape, int)
    for frame in range(1, len(strength)):
        reached = score[:, None] - cost
        back[frame] = reached.argmax(axis=0)
        score = strength[frame] + reached.max(axis=0)
    path = np.empty(len(strength), int)
    path[-1] = score.argmax()
    for frame in range(len(strength) - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path


def _refined(strength: np.ndarray, path: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Lag in samples, float [N], at the top of the parabola through the neighbours of the path's lag."""
    rows, inner = np.arange(len(path)), np.clip(path, 1, len(lags) - 2)
    left, centre, right = (strength[rows, inner + step] for step in (-1, 0, 1))
    curve = left - 2 * centre + right
    offset = np.where(curve < -1e-9, 0.5 * (left - right) / np.where(curve < -1e-9, curve, -1.0), 0.0)
    return lags[inner] + np.clip(offset, -0.5, 0.5)
