"""A corpus that is a list of utterances, and clips for it: noise under a swell, each of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.utterance import Utterance

RATINGS = {"valence": 0.25, "arousal": 0.75, "dominance": 0.5}


class ListedCorpus(Corpus):
    """Gives the utterances that it was made with, and counts how often it is read."""

    title = "listed"
    url = "https://example.org"
    licence = "none"
    language = None
    expected = "nothing"

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        super().__init__("unused")
        self.utterances = list(utterances)
        self.times_read = 0

    def read(self) -> list[Utterance]:
        self.times_read += 1
        return list(self.utterances)


def write_clip(path: Path, seconds: float, rate_hz: int = 16_000, amplitude: float = 0.1, seed: int = 0) -> Path:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(times.size)
    soundfile.write(path, amplitude * noise * (1 + 0.5 * np.sin(2 * np.pi * 2 * times)) / 4, rate_hz)
    return path


def utterance(path: str | Path = "a.wav", speaker: str = "s", **labels: Any) -> Utterance:
    """An utterance with an emotion and mapped ratings, unless told otherwise."""
    given = {"emotion": "anger", "ratings": RATINGS, "label_source": "mapped"} | labels
    return Utterance(path=Path(path), speaker=speaker, **given)


def write_corpus(folder: Path, num_speakers: int = 4, clips_each: int = 6) -> ListedCorpus:
    """A corpus of short clips of different lengths, emotions and loudness."""
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number in range(num_speakers * clips_each):
        path = folder / f"clip_{number:03d}.wav"
        write_clip(path, 0.1 + 0.03 * (number % 7), amplitude=0.05 * (1 + number % 5), seed=number)
        speaker = f"s{number // clips_each}"
        sex = "female" if number // clips_each % 2 else "male"
        utterances.append(utterance(path, speaker, sex=sex, emotion=("anger", "calm", "fear")[number % 3]))
    return ListedCorpus(utterances)
