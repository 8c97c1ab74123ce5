"""Small changes that a listener would not let change their mind about how somebody sounds.

Each takes float32 [T] in [-1, 1] at a sample rate and gives the changed clip; those that draw take a random
generator, so that a clip is changed alike each time.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

Waveform = NDArray[np.float32]


def gain(waveform: Waveform, sample_rate_hz: int, random: np.random.Generator, decibels: float) -> Waveform:
    """Louder (as far as it goes without clipping) or quieter by `decibels`."""
    louder = waveform * 10 ** (decibels / 20)
    return (louder / max(1.0, float(np.abs(louder).max()))).astype(np.float32)


def white_noise(waveform: Waveform, sample_rate_hz: int, random: np.random.Generator, snr_decibels: float) -> Waveform:
    """White noise whose power is `snr_decibels` below the clip's."""
    noise = random.standard_normal(waveform.size)
    power = float(np.square(waveform, dtype=np.float64).mean()) / 10 ** (snr_decibels / 10)
    noisy = waveform + noise * np.sqrt(power / np.square(noise).mean())
    return (noisy / max(1.0, float(np.abs(noisy).max()))).astype(np.float32)


def low_pass(waveform: Waveform, sample_rate_hz: int, random: np.random.Generator, cutoff_hz: float) -> Waveform:
    """Fourth-order Butterworth low-pass: -3 dB at `cutoff_hz`.

    Raises:
        ValueError: the cutoff is not below half the sample rate.
    """
    if not 0 < cutoff_hz < sample_rate_hz / 2:
        raise ValueError(f"cutoff_hz={cutoff_hz} must lie below half the sample rate, {sample_rate_hz / 2:g} Hz")
    sections = butter(4, cutoff_hz, fs=sample_rate_hz, output="sos")
    return sosfilt(sections, waveform).astype(np.float32)


def pad_silence(waveform: Waveform, sample_rate_hz: int, random: np.random.Generator, seconds: float) -> Waveform:
    """Digital silence of that length before and after the clip."""
    return np.pad(waveform, round(seconds * sample_rate_hz))


def crop(waveform: Waveform, sample_rate_hz: int, random: np.random.Generator, share: float) -> Waveform:
    """The clip without `share` (0..1) of its length, half of it at each end."""
    cut = round(waveform.size * share / 2)
    return waveform[cut : waveform.size - cut]
