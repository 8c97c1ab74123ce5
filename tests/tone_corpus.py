"""A corpus of harmonic tones for tests: small, made in a moment, needs no weights.

Four "speakers" say six "emotions" by pitch and spectral tilt alone, so a small network learns something from it
and a reader, splitter or evaluation has everything it asks for. It is no speech: nothing measured on it means
anything about people.
"""

import csv
from pathlib import Path

import numpy as np
import soundfile

from pixel_mm.data.emotions import MAPPED_RATINGS

SAMPLE_RATE_HZ = 16_000
TONE_EMOTIONS = ("anger", "calm", "fear", "happiness", "neutral", "sadness")
TONE_SPEAKERS = {"t1": ("female", 210.0), "t2": ("male", 110.0), "t3": ("female", 235.0), "t4": ("male", 125.0)}
MANIFEST_COLUMNS = (
    *("path", "speaker", "start_seconds", "end_seconds", "sex", "language", "transcript", "emotion"),
    *("valence", "arousal", "dominance", "split"),
)


def tone(emotion: str, base_hz: float, duration_seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Harmonic tone, float32 [T] in -0.5..0.5, whose pitch and tilt follow the emotion's mapped ratings."""
    ratings = MAPPED_RATINGS[emotion]
    times = np.arange(round(duration_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch_hz = base_hz * 2 ** (ratings["arousal"] - 0.5) * rng.uniform(0.97, 1.03)
    vibrato = 1 + 0.08 * ratings["valence"] * np.sin(2 * np.pi * 3.0 * times)
    phase = 2 * np.pi * np.cumsum(pitch_hz * vibrato) / SAMPLE_RATE_HZ
    slope = 2.5 - 2 * ratings["arousal"]  # amplitude falls as harmonic ** -slope
    wave = sum(np.sin(k * phase + rng.uniform(0, 2 * np.pi)) * k**-slope for k in range(1, 16))
    wave = wave * np.hanning(times.size) + 0.003 * rng.standard_normal(times.size)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def write_tone_corpus(folder: Path, clips_per_emotion: int = 1, seed: int = 0) -> Path:
    """Write `manifest.csv` and its WAVs (4 speakers x 6 emotions x `clips_per_emotion`); returns `folder`."""
    rng = np.random.default_rng(seed)
    (folder / "wav").mkdir(parents=True)
    rows = []
    for speaker, (sex, base_hz) in TONE_SPEAKERS.items():
        for emotion in TONE_EMOTIONS:
            for take in range(clips_per_emotion):
                name = f"wav/{speaker}_{emotion}_{take}.wav"
                soundfile.write(folder / name, tone(emotion, base_hz, rng.uniform(0.5, 1.5), rng), SAMPLE_RATE_HZ)
                labels = {"emotion": emotion, **MAPPED_RATINGS[emotion]}
                rows.append({"path": name, "speaker": speaker, "sex": sex, "language": "en", **labels})
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, MANIFEST_COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder
