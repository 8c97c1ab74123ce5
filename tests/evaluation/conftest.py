"""A small made-up corpus, as rows and as files, and tables of predictions on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pixel_mm.data.emotions import DIMENSIONS, MAPPED_RATINGS
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.predictions import Predictions

EMOTIONS = ("anger", "happiness", "sadness")


@pytest.fixture
def make_rows() -> Callable[..., list[Utterance]]:
    """Rows of `speakers` (alternately female and male), each saying every emotion `clips` times, in `folder`."""

    def make(speakers: int = 4, clips: int = 2, folder: Path = Path("/corpus")) -> list[Utterance]:
        return [
            Utterance(
                path=folder / f"s{speaker}_{emotion}_{clip}.wav",
                speaker=f"s{speaker}",
                sex="male" if speaker % 2 else "female",
                emotion=emotion,
                ratings=dict(MAPPED_RATINGS[emotion]),
                label_source="mapped",
            )
            for speaker in range(speakers)
            for emotion in EMOTIONS
            for clip in range(clips)
        ]

    return make


@pytest.fixture
def make_table() -> Callable[..., Predictions]:
    """Predictions on rows: right with probability `skill`, else any emotion."""

    def make(rows: list[Utterance], skill: float = 1.0, seed: int = 1, fold: int = 0) -> Predictions:
        random = np.random.default_rng(seed)
        labels = tuple(sorted({u.emotion for u in rows if u.emotion}))
        called = [u.emotion if random.random() < skill and u.emotion else str(random.choice(labels)) for u in rows]
        probabilities = np.array(
            [[0.7 if label == name else 0.3 / (len(labels) - 1) for label in labels] for name in called]
        )
        scores = np.array([[MAPPED_RATINGS[name][d] for d in DIMENSIONS] for name in called])
        return Predictions(tuple(rows), (fold,) * len(rows), (seed,) * len(rows), scores, probabilities, labels)

    return make


@pytest.fixture
def recorded_rows(tmp_path: Path, make_rows: Callable[..., list[Utterance]]) -> list[Utterance]:
    """Rows of three speakers with real files: tones whose pitch tells the speaker, a third of a second each."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = make_rows(speakers=3, clips=1, folder=folder)
    for number, row in enumerate(rows):
        times = np.arange(5000 + 100 * number) / 16000
        tone = 0.1 * np.sin(2 * np.pi * (200 + 100 * int(row.speaker[1:])) * times)
        soundfile.write(row.path, tone, 16000)
    return rows
