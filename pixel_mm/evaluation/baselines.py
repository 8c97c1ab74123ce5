"""What a score must beat: the majority rate, and what loudness alone gives away.

Recording levels follow the emotion in many corpora (in RAVDESS angry clips are 27 dB louder than calm ones), so a model
that was let hear the level can score well having learnt nothing. These baselines get one number per clip, its
level before normalisation, and the same folds as the model.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.classes import BINARY_CLASSES, MEASURES, make_decisions, right_answers
from pixel_mm.evaluation.predictions import Predictions, single_label_source
from pixel_mm.evaluation.protocols import Fold
from pixel_mm.evaluation.scores import number, score
from pixel_mm.metrics.concordance import concordance


def loudness_only(folds: Sequence[Fold], utterances: Sequence[Utterance], level_dbfs: ArrayLike) -> dict[str, Any]:
    """Scores of a model that knows nothing but each clip's level.

    Categories and binary answers: logistic regression, classes weighted alike. Ratings: ridge regression.

    Args:
        folds: the model's own; each baseline learns from the training part alone.
        utterances: [N] rows of the corpus.
        level_dbfs: [N] RMS level of each clip as recorded, dBFS; NaN for a clip that couldn't be used.

    Returns:
        `{"scores": {measure: as `scores.score` gives it}, "ccc": as `scores.concordances` gives it}`.
    """
    level = np.asarray(level_dbfs, np.float64)
    tested = [row for fold in folds for row in fold.test if np.isfinite(level[row])]
    speakers = [utterances[row].speaker for row in tested]
    found: dict[str, Any] = {}
    for measure in MEASURES:
        answers = right_answers(measure, utterances)
        called = _called(folds, answers, level)
        known = tuple(sorted({answer for answer in answers if answer is not None}))
        decisions = make_decisions(
            [called.get(row, "") for row in tested],
            [answers[row] if row in called else None for row in tested],
            BINARY_CLASSES.get(measure, known),
        )
        found[measure] = score(decisions, speakers)
    return {"scores": found, "ccc": _concordances(folds, utterances, level)}


def _called(folds: Sequence[Fold], answers: Sequence[str | None], level: np.ndarray) -> dict[int, str]:
    """Answer of the baseline for every test row."""
    called: dict[int, str] = {}
    for fold in folds:
        train = [row for row in fold.train if np.isfinite(level[row]) and answers[row] is not None]
        test = [row for row in fold.test if np.isfinite(level[row])]
        classes = {str(answers[row]) for row in train}
        if not test or not classes:
            continue
        if len(classes) == 1:  # nothing to tell apart
            called.update(dict.fromkeys(test, classes.pop()))
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        model.fit(level[train, None], [str(answers[row]) for row in train])
        called.update(zip(test, (str(name) for name in model.predict(level[test, None])), strict=True))
    return called


def _concordances(folds: Sequence[Fold], utterances: Sequence[Utterance], level: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in DIMENSIONS:
        rating = np.array([(u.ratings or {}).get(name, np.nan) for u in utterances])
        usable = np.isfinite(rating) & np.isfinite(level)
        predicted: dict[int, float] = {}
        for fold in folds:
            train, test = ([row for row in rows if usable[row]] for rows in (fold.train, fold.test))
            if train and test:
                model = make_pipeline(StandardScaler(), Ridge()).fit(level[train, None], rating[train])
                predicted.update(zip(test, model.predict(level[test, None]), strict=True))
        rows = list(predicted)
        found[name] = number(concordance(list(predicted.values()), rating[rows]))
    return {**found, "label_source": single_label_source(utterances)}


def majority(table: Predictions) -> dict[str, Any]:
    """What always naming the most frequent class gets: its accuracy is the majority rate, its UA 1 / number of classes.

    Args:
        table: whose clips; the classes are those that have one.
    """
    found: dict[str, Any] = {}
    for measure in MEASURES:
        answers = [answer for answer in right_answers(measure, table.utterances) if answer is not None]
        counts = Counter(answers)
        found[measure] = {"ua": 1 / len(counts), "accuracy": max(counts.values()) / len(answers)} if answers else None
    return found
