"""Everything that `report/metrics.json` says, from the predictions of all folds."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.baselines import loudness_only, majority
from pixel_mm.evaluation.classes import MEASURES, THRESHOLD, calibrations, decide
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.evaluation.protocols import Fold
from pixel_mm.evaluation.scores import concordances, confusion, correlations, num_clips, per_class, per_group, score
from pixel_mm.reports.emotion_report import PlanePoints


class CorpusData(Protocol):
    """What a summary asks of a data module."""

    @property
    def utterances(self) -> Sequence[Utterance]:
        """All usable rows."""

    @property
    def levels_dbfs(self) -> np.ndarray:
        """Level of each of them as recorded, dBFS."""

    @property
    def bad_clips(self) -> Mapping[str, str]:
        """Why a clip couldn't be used, by its file."""


def summarise(
    table: Predictions,
    protocol: str,
    corpus: str,
    folds: Sequence[Fold],
    num_folds: int,
    data: CorpusData,
    config_hash: str,
    num_worst_clips: int,
) -> dict[str, Any]:
    """Content of `report/metrics.json`; docs/evaluation.md describes every key.

    Args:
        table: predictions on the test parts of `folds`.
        protocol: its name.
        corpus: its title.
        folds: those that were run.
        num_folds: how many the protocol has.
        data: the corpus.
        config_hash: of the evaluation.
        num_worst_clips: how many of the most confident mistakes to list.
    """
    scores = {measure: score(decide(measure, table), table.speakers) for measure in MEASURES}
    return {
        "protocol": protocol,
        "corpus": corpus,
        "num_clips": num_clips(table),
        "num_speakers": len(set(table.speakers)),
        "seeds": sorted(set(table.seed)),
        "folds": {"run": [fold.number for fold in folds], "of": num_folds},
        "scores": scores,
        "ccc": concordances(table),
        "pearson": correlations(table),
        "baselines": {
            "majority": majority(table),
            "loudness_only": loudness_only(folds, data.utterances, data.levels_dbfs),
        },
        "calibration": calibrations(table),
        "confusion": confusion(table),
        "per_class": per_class(table),
        "per_speaker": _per_speaker(table),
        "per_seed": per_group(table, [str(seed) for seed in table.seed]),
        "worst_clips": worst_clips(table, num_worst_clips),
        "bad_clips": {str(path): reason for path, reason in data.bad_clips.items()},
        "config_hash": config_hash,
    }


def plane_points(table: Predictions) -> PlanePoints:
    """Points of the valence/arousal figure."""
    columns = [DIMENSIONS.index("valence"), DIMENSIONS.index("arousal")]
    targets = table.ratings[:, columns]
    groups = [u.emotion or _quadrant(*targets[row]) for row, u in enumerate(table.utterances)]
    return PlanePoints(table.scores[:, columns], targets, groups)


def _quadrant(valence: float, arousal: float) -> str:
    """Name of the part of the plane that a label lies in; it stands in for a category."""
    if not np.isfinite([valence, arousal]).all():
        return "no label"
    return f"{'positive' if valence > THRESHOLD else 'negative'}, {'excited' if arousal > THRESHOLD else 'calm'}"


def worst_clips(table: Predictions, count: int) -> list[dict[str, Any]]:
    """The clips whose emotion the model got wrong with most confidence, worst first."""
    if not table.emotion_labels:
        return []
    confidence, called = table.probabilities.max(axis=1), table.probabilities.argmax(axis=1)
    wrong = [
        row
        for row, utterance in enumerate(table.utterances)
        if utterance.emotion is not None and utterance.emotion != table.emotion_labels[called[row]]
    ]
    return [
        {
            "clip": table.utterances[row].key,
            "speaker": table.utterances[row].speaker,
            "emotion": table.utterances[row].emotion,
            "called": table.emotion_labels[called[row]],
            "confidence": float(confidence[row]),
        }
        for row in sorted(wrong, key=lambda row: -confidence[row])[:count]
    ]


def _per_speaker(table: Predictions) -> dict[str, Any]:
    sex = {u.speaker: u.sex for u in table.utterances}
    return {who: {"sex": sex[who], **entry} for who, entry in per_group(table, table.speakers).items()}
