"""From predictions to the numbers of `report/metrics.json`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.evaluation.classes import MEASURES, Decisions, decide
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.metrics.concordance import concordance, pearson
from pixel_mm.metrics.intervals import NUM_RESAMPLES, speaker_interval
from pixel_mm.metrics.recall import (
    accuracy,
    average_recalls,
    confusion_counts,
    majority_rate,
    precisions,
    recalls,
    unweighted_average_recall,
)


def number(value: float) -> float | None:
    """JSON has no NaN: what is undefined is null."""
    return float(value) if math.isfinite(value) else None


def score(
    decisions: Decisions | None, speakers: Sequence[str], num_resamples: int = NUM_RESAMPLES
) -> dict[str, Any] | None:
    """UA, accuracy, majority rate, and the 95 % interval of the UA over speakers.

    Args:
        decisions: about M of the rows; None where the corpus has no answers.
        speakers: [N], one for each row of the table.
        num_resamples: of the bootstrap; 0 leaves the interval out.

    Returns:
        `{"ua", "accuracy", "majority", "ci95": [low, high] or None}`, 0..1, or None.
    """
    if decisions is None:
        return None
    size = len(decisions.classes)
    counts = confusion_counts(decisions.called, decisions.true, size)
    interval = None
    if num_resamples:
        names, whose = np.unique([speakers[row] for row in decisions.rows], return_inverse=True)
        of_speaker = np.zeros((len(names), size, size))
        np.add.at(of_speaker, (whose, decisions.true, decisions.called), 1)
        interval = speaker_interval(
            lambda sums: average_recalls(sums.reshape(-1, size, size)),
            of_speaker.reshape(len(names), -1),
            num_resamples=num_resamples,
        )
    return {
        "ua": number(unweighted_average_recall(counts)),
        "accuracy": number(accuracy(counts)),
        "majority": number(majority_rate(counts)),
        "ci95": None if interval is None else list(interval),
    }


def concordances(table: Predictions) -> dict[str, Any]:
    """CCC of each dimension on the clips that have a rating, and where the ratings come from."""
    found: dict[str, Any] = {}
    ratings = table.ratings
    for column, name in enumerate(DIMENSIONS):
        rated = np.isfinite(ratings[:, column])
        found[name] = number(concordance(table.scores[rated, column], ratings[rated, column]))
    return {**found, "label_source": table.label_source}


def correlations(table: Predictions) -> dict[str, float | None]:
    """Pearson's r of each dimension."""
    ratings = table.ratings
    rated = np.isfinite(ratings)
    return {
        name: number(pearson(table.scores[rated[:, column], column], ratings[rated[:, column], column]))
        for column, name in enumerate(DIMENSIONS)
    }


def confusion(table: Predictions) -> dict[str, Any] | None:
    """`{"classes", "counts"}` of the emotions, rows true and columns called; None without categories."""
    decisions = decide("emotion", table)
    if decisions is None:
        return None
    counts = confusion_counts(decisions.called, decisions.true, len(decisions.classes))
    return {"classes": list(decisions.classes), "counts": counts.tolist()}


def per_class(table: Predictions) -> dict[str, Any]:
    """Number of rows, recall and precision of each emotion."""
    matrix = confusion(table)
    if matrix is None:
        return {}
    counts = np.array(matrix["counts"])
    columns = zip(matrix["classes"], counts.sum(axis=1), recalls(counts), precisions(counts), strict=True)
    return {
        name: {"num_clips": int(total), "recall": number(recall), "precision": number(precision)}
        for name, total, recall, precision in columns
    }


def per_group(table: Predictions, group_of: Sequence[str]) -> dict[str, Any]:
    """UA and accuracy of each measure for groups of rows, such as speakers or seeds.

    Args:
        table: N rows.
        group_of: [N], name of each row's group. A UA is over the classes that the group has.
    """
    whole: Mapping[str, Decisions | None] = {measure: decide(measure, table) for measure in MEASURES}
    names = np.asarray(group_of, dtype=str)
    found: dict[str, Any] = {}
    for name in sorted(set(group_of)):
        rows = np.flatnonzero(names == name)
        entry: dict[str, Any] = {"num_clips": len({_clip(table, int(row)) for row in rows})}
        for measure, decisions in whole.items():
            entry[measure] = None if decisions is None else _brief(decisions, rows)
        found[name] = entry
    return found


def num_clips(table: Predictions) -> int:
    """Clips in the table; several seeds predict the same ones."""
    return len({_clip(table, row) for row in range(len(table.utterances))})


def _clip(table: Predictions, row: int) -> tuple[Any, ...]:
    utterance = table.utterances[row]
    return utterance.path, utterance.start_seconds, utterance.end_seconds


def _brief(decisions: Decisions, rows: np.ndarray) -> dict[str, float | None]:
    inside = np.isin(decisions.rows, rows)
    counts = confusion_counts(decisions.called[inside], decisions.true[inside], len(decisions.classes))
    return {"ua": number(unweighted_average_recall(counts)), "accuracy": number(accuracy(counts))}
