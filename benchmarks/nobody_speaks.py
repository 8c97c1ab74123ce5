"""Recordings in which nobody says a word that could be written down: silence, noise, babble, music-like tones."""

from collections.abc import Sequence

import numpy as np

from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform

KINDS = ("silence", "white noise", "babble", "tones")
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 30.0
_VOICES = 16  # of the babble, at once: so many that nobody can be followed


def recordings(voices: Sequence[Waveform], count: int = 100, seed: int = 0) -> dict[str, Waveform]:
    """Recordings of all kinds in turn, their lengths spread evenly.

    Args:
        voices: clips of speech, float32 [samples] at 16 kHz, which the babble is mixed from; 16 or more.
        count: of recordings.
        seed: of everything random.

    Returns:
        float32 [samples] by name, 1 to 30 s at 16 kHz.
    """
    rng = np.random.default_rng(seed)
    lengths = np.linspace(SHORTEST_SECONDS, LONGEST_SECONDS, count) * SAMPLE_RATE_HZ
    rng.shuffle(lengths)
    makers = (_silence, _white_noise, lambda size, rng: _babble(voices, size, rng), _tones)
    return {
        f"{KINDS[number % 4]} {number}": makers[number % 4](round(length), rng).astype(np.float32)
        for number, length in enumerate(lengths.tolist())
    }


def _silence(size: int, rng: np.random.Generator) -> np.ndarray:
    """A quiet room: 16-bit dither about -90 dBFS."""
    return np.round(rng.standard_normal(size)) / 32_768


def _white_noise(size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.01, 0.2) * rng.standard_normal(size).clip(-4, 4)


def _babble(voices: Sequence[Waveform], size: int, rng: np.random.Generator) -> np.ndarray:
    mixed = np.zeros(size)
    for row in rng.choice(len(voices), _VOICES, replace=False):
        start = rng.integers(voices[row].size)
        mixed += np.resize(np.roll(voices[row], -start), size)
    return 0.3 * mixed / np.abs(mixed).max()


def _tones(size: int, rng: np.random.Generator) -> np.ndarray:
    """Chords of three decaying harmonic tones, a new one every half second."""
    times = np.arange(size) / SAMPLE_RATE_HZ
    beat = np.floor(times * 2).astype(int)
    roots = 110 * 2 ** (rng.integers(0, 25, beat.max() + 1) / 12)
    envelope = np.exp(-4 * (times * 2 - beat))
    chord = sum(
        np.sin(2 * np.pi * np.cumsum(roots[beat] * interval * harmonic) / SAMPLE_RATE_HZ) / harmonic
        for interval in (1.0, 2 ** (4 / 12), 2 ** (7 / 12))
        for harmonic in (1, 2, 3)
    )
    return 0.1 * envelope * chord
