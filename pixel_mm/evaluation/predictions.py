"""`Predictions`: what a model said about clips it had not learnt from, beside what is true of them. Stored as CSV."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.utterance import LabelSource, Utterance
from pixel_mm.runs import atomic_path

_TEXT_COLUMNS = ("key", "path", "speaker", "sex", "emotion", "label_source")
_NUMBER_COLUMNS = ("fold", "seed")


@dataclass(frozen=True)
class Predictions:
    """A table of N rows; one clip has one row per seed.

    Attributes:
        utterances: [N], what is true.
        fold: [N], number of the fold whose test part the row is of.
        seed: [N], seed of the training.
        scores: float64 [N, 3], predicted valence, arousal, dominance (the order of `DIMENSIONS`), 0..1.
        probabilities: float64 [N, C], one column per `emotion_labels`; each row sums to 1. C may be 0.
        emotion_labels: [C], the categories the model tells apart.

    Raises:
        ValueError: columns of different length, a score that is not finite, or rated beside mapped labels.
    """

    utterances: tuple[Utterance, ...]
    fold: tuple[int, ...]
    seed: tuple[int, ...]
    scores: np.ndarray
    probabilities: np.ndarray
    emotion_labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse tables that would give wrong numbers later."""
        rows = len(self.utterances)
        shapes = (len(self.fold), len(self.seed), self.scores.shape, self.probabilities.shape)
        if shapes != (rows, rows, (rows, len(DIMENSIONS)), (rows, len(self.emotion_labels))):
            raise ValueError(
                f"columns of unequal length: {rows} utterances, and fold, seed, scores, probabilities "
                f"{shapes} with {len(self.emotion_labels)} emotion labels"
            )
        broken = ~(np.isfinite(self.scores).all(axis=1) & np.isfinite(self.probabilities).all(axis=1))
        if broken.any():
            raise ValueError(
                f"the model gave NaN or infinity for {broken.sum()} clips, the first of them "
                f"{self.utterances[int(broken.argmax())].key}; it has diverged, lower the learning rate"
            )
        single_label_source(self.utterances)

    @property
    def label_source(self) -> LabelSource | None:
        """Where the ratings come from, "rated" or "mapped"; None where no clip has any."""
        return single_label_source(self.utterances)

    @property
    def speakers(self) -> list[str]:
        """[N] speaker of each row."""
        return [utterance.speaker for utterance in self.utterances]

    @property
    def ratings(self) -> np.ndarray:
        """True valence, arousal, dominance, float64 [N, 3], 0..1; NaN where there is none."""
        rows = [[(u.ratings or {}).get(name, np.nan) for name in DIMENSIONS] for u in self.utterances]
        return np.array(rows, np.float64).reshape(-1, len(DIMENSIONS))

    def write(self, path: Path) -> None:
        """Write as CSV, whole or not at all. Numbers are read back to the last bit."""
        ratings = self.ratings
        with atomic_path(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(_header(self.emotion_labels))
            for row, u in enumerate(self.utterances):
                text = (u.key, u.path, u.speaker, u.sex or "", u.emotion or "", u.label_source or "")
                times = (
                    "" if u.start_seconds is None else u.start_seconds,
                    "" if u.end_seconds is None else u.end_seconds,
                )
                numbers = [*ratings[row], *self.scores[row], *self.probabilities[row]]
                table.writerow(
                    [
                        *text,
                        *times,
                        self.fold[row],
                        self.seed[row],
                        *("" if x != x else repr(float(x)) for x in numbers),
                    ]
                )

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read what `write` wrote.

        Raises:
            ValueError: the file's columns are not those `write` writes.
        """
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            header = tuple(table.fieldnames or ())
            labels = tuple(name.removeprefix("probability_") for name in header if name.startswith("probability_"))
            if header != _header(labels):
                raise ValueError(f"{path} has other columns than a table of predictions; delete it to predict again")
            rows = list(table)
        numbers = [[float(row[f"{kind}{name}"]) for kind, name in _scored(labels)] for row in rows]
        values = np.array(numbers, np.float64).reshape(len(rows), len(DIMENSIONS) + len(labels))
        return cls(
            utterances=tuple(_utterance(row) for row in rows),
            fold=tuple(int(row["fold"]) for row in rows),
            seed=tuple(int(row["seed"]) for row in rows),
            scores=values[:, : len(DIMENSIONS)],
            probabilities=values[:, len(DIMENSIONS) :],
            emotion_labels=labels,
        )


def single_label_source(utterances: Iterable[Utterance]) -> LabelSource | None:
    """The one label source of all utterances that have ratings; None where none has.

    Raises:
        ValueError: there are both. A figure over both would mean nothing.
    """
    sources = {u.label_source for u in utterances if u.label_source is not None}
    if len(sources) > 1:
        raise ValueError(
            "rated and mapped labels in one table; evaluate the corpora apart, or give the data one "
            "label_source (data.label_source=mapped maps the categories of all clips)"
        )
    return next(iter(sources), None)


def join(parts: Sequence[Predictions]) -> Predictions:
    """One table of several, e.g. of all folds.

    Raises:
        ValueError: no tables, models with different categories, or a clip predicted twice with one seed.
    """
    if not parts:
        raise ValueError("no fold has predictions; protocol.folds selects none")
    if len({part.emotion_labels for part in parts}) > 1:
        raise ValueError("the folds' models have different emotion labels; train them on the same vocabulary")
    whole = Predictions(
        utterances=tuple(u for part in parts for u in part.utterances),
        fold=tuple(number for part in parts for number in part.fold),
        seed=tuple(number for part in parts for number in part.seed),
        scores=np.concatenate([part.scores for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        emotion_labels=parts[0].emotion_labels,
    )
    rows = [
        (u.path, u.start_seconds, u.end_seconds, seed) for u, seed in zip(whole.utterances, whole.seed, strict=True)
    ]
    if len(set(rows)) < len(rows):
        raise ValueError("a clip was predicted twice with the same seed; the folds' test parts overlap")
    return whole


def _scored(labels: Sequence[str]) -> list[tuple[str, str]]:
    return [("score_", name) for name in DIMENSIONS] + [("probability_", name) for name in labels]


def _header(labels: Sequence[str]) -> tuple[str, ...]:
    rated = [f"rating_{name}" for name in DIMENSIONS]
    scored = [kind + name for kind, name in _scored(labels)]
    return (*_TEXT_COLUMNS, "start_seconds", "end_seconds", *_NUMBER_COLUMNS, *rated, *scored)


def _utterance(row: dict[str, str]) -> Utterance:
    ratings = {name: float(row[f"rating_{name}"]) for name in DIMENSIONS if row[f"rating_{name}"]}
    return Utterance(
        path=Path(row["path"]),
        speaker=row["speaker"],
        start_seconds=float(row["start_seconds"]) if row["start_seconds"] else None,
        end_seconds=float(row["end_seconds"]) if row["end_seconds"] else None,
        sex=row["sex"] or None,  # type: ignore[arg-type]  # checked by Utterance
        emotion=row["emotion"] or None,
        ratings=ratings or None,
        label_source=row["label_source"] or None,  # type: ignore[arg-type]  # checked by Utterance
    )
