"""The three questions asked of every clip: which emotion, is arousal high, is valence positive?

Arousal and valence are decided from the categories where a corpus has them: the probabilities of the categories of the
group (`HIGH_AROUSAL`, `POSITIVE_VALENCE`) are added up, and above 0.5 the clip is called high or positive. Where a
corpus has ratings only, score and rating are both held against 0.5, the middle of the scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pixel_mm.data.emotions import DIMENSIONS, HIGH_AROUSAL, POSITIVE_VALENCE
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.metrics.calibration import calibration

THRESHOLD = 0.5
MEASURES = ("arousal", "valence", "emotion")
GROUPS: Mapping[str, frozenset[str]] = MappingProxyType({"arousal": HIGH_AROUSAL, "valence": POSITIVE_VALENCE})
BINARY_CLASSES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"arousal": ("low", "high"), "valence": ("negative", "positive")}
)
_NO_GROUP = "other"  # a category that says nothing about either dimension


@dataclass(frozen=True)
class Decisions:
    """What was decided about the clips that have an answer to one question.

    Attributes:
        classes: [K] names of the answers.
        called: int64 [M], number of the answer given.
        true: int64 [M], number of the right answer.
        rows: int64 [M], rows of the table the decisions were made from, ascending.
    """

    classes: tuple[str, ...]
    called: np.ndarray
    true: np.ndarray
    rows: np.ndarray


def has_categories(utterances: Sequence[Utterance]) -> bool:
    """Whether arousal and valence are decided from categories (any clip has one) or from ratings."""
    return any(u.emotion is not None for u in utterances)


def right_answers(measure: str, utterances: Sequence[Utterance]) -> list[str | None]:
    """Name of the right answer for each clip, None where the corpus doesn't give one.

    Args:
        measure: one of `MEASURES`.
        utterances: [N], all of one corpus.
    """
    if measure == "emotion":
        return [u.emotion for u in utterances]
    no, yes = BINARY_CLASSES[measure]
    if has_categories(utterances):
        return [
            None if u.emotion in (None, _NO_GROUP) else yes if u.emotion in GROUPS[measure] else no for u in utterances
        ]
    ratings = [(u.ratings or {}).get(measure) for u in utterances]
    return [None if rating is None else yes if rating > THRESHOLD else no for rating in ratings]


def yes_probability(measure: str, table: Predictions) -> np.ndarray:
    """How sure the model is that arousal is high or valence positive, float64 [N], 0..1.

    Of a corpus with categories it is a probability; of one with ratings only it is the score itself.
    """
    if not has_categories(table.utterances) or not table.emotion_labels:
        return table.scores[:, DIMENSIONS.index(measure)]
    known = np.array([label != _NO_GROUP for label in table.emotion_labels])
    inside = np.array([label in GROUPS[measure] for label in table.emotion_labels])
    total = table.probabilities[:, known].sum(axis=1)
    return table.probabilities[:, inside].sum(axis=1) / np.maximum(total, np.finfo(float).tiny)


def decide(measure: str, table: Predictions) -> Decisions | None:
    """The model's decisions; None where the corpus has no answers or the model no categories.

    Args:
        measure: one of `MEASURES`.
        table: predictions on clips that were not learnt from.
    """
    answers = right_answers(measure, table.utterances)
    if measure != "emotion":
        called = [BINARY_CLASSES[measure][int(p > THRESHOLD)] for p in yes_probability(measure, table)]
        return make_decisions(called, answers, BINARY_CLASSES[measure])
    if not table.emotion_labels:
        return None
    called = [table.emotion_labels[number] for number in table.probabilities.argmax(axis=1)]
    return make_decisions(called, answers, tuple(sorted({*table.emotion_labels, *(a for a in answers if a)})))


def make_decisions(called: Sequence[str], answers: Sequence[str | None], classes: tuple[str, ...]) -> Decisions | None:
    """Decisions by name to `Decisions`, without the rows that have no answer; None where none has."""
    rows = np.array([row for row, answer in enumerate(answers) if answer is not None], np.int64)
    if not rows.size:
        return None
    number = {name: index for index, name in enumerate(classes)}
    return Decisions(
        classes=classes,
        called=np.array([number[called[row]] for row in rows]),
        true=np.array([number[answer] for answer in answers if answer is not None]),
        rows=rows,
    )


def calibrations(table: Predictions) -> dict[str, dict[str, float] | None]:
    """Calibration by measure; None where there are no probabilities (a score is not one) or no answers."""
    found: dict[str, dict[str, float] | None] = dict.fromkeys(MEASURES)
    if not has_categories(table.utterances) or not table.emotion_labels:
        return found
    for measure in MEASURES:
        answers = right_answers(measure, table.utterances)
        rows = [row for row, answer in enumerate(answers) if answer is not None]
        classes = table.emotion_labels if measure == "emotion" else BINARY_CLASSES[measure]
        number = {name: index for index, name in enumerate(classes)}
        yes = table.probabilities if measure == "emotion" else yes_probability(measure, table)
        probabilities = yes if measure == "emotion" else np.stack([1 - yes, yes], axis=1)
        found[measure] = calibration(probabilities[rows], [number.get(str(answers[row]), -1) for row in rows])
    return found
