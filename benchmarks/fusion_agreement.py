"""How well each variant of `benchmarks.fusion_quality` agrees with the targets, over the rows of all folds together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.fusion_folds import HEARD
from pixel_mm.evaluation.fusion_scores import concordance_moments, concordances
from pixel_mm.metrics.intervals import speaker_interval, speaker_totals


def pooled(folds: Sequence[Mapping[str, Any]], *path: str) -> Any:
    """A list of every fold, joined."""
    joined: list[Any] = []
    for fold in folds:
        value: Any = fold
        for name in path:
            value = value[name]
        joined += value
    return joined


class Agreement:
    """Mean CCC of valence and arousal over rows, by what a model was given."""

    def __init__(self, folds: Sequence[Mapping[str, Any]], rows: Sequence[bool] | None = None) -> None:
        """Take the rows that are chosen, or all."""
        self.folds, speakers = folds, np.array(pooled(folds, "speakers"))
        self.chosen = np.ones(len(speakers), bool) if rows is None else np.array(rows, bool)
        self.speakers = speakers[self.chosen].tolist()

    def sums(self, variant: str) -> np.ndarray:
        """What each speaker adds to the CCCs, [S, 12]."""
        return speaker_totals(np.concatenate([self._moments(variant, name) for name in HEARD], axis=1), self.speakers)

    def _moments(self, variant: str, name: str) -> np.ndarray:
        """Of each row, [N, 6]; the mean over draws, so that each counts alike."""
        said = np.array(pooled(self.folds, "scores", variant, name))[self.chosen]
        targets = np.array(pooled(self.folds, "targets", name))[self.chosen]
        moments: np.ndarray = np.mean([concordance_moments(draw, targets) for draw in said.T], axis=0)
        return moments

    def mean(self, variant: str) -> tuple[float, tuple[float, float] | None]:
        """Mean CCC and its interval."""
        sums = self.sums(variant)
        return float(_mean(sums.sum(0, keepdims=True))[0]), speaker_interval(_mean, sums)

    def by_name(self, variant: str, name: str) -> tuple[float, tuple[float, float] | None]:
        """CCC of one score and its interval."""
        start = 6 * HEARD.index(name)
        sums = self.sums(variant)[:, start : start + 6]
        return float(concordances(sums.sum(0, keepdims=True))[0]), speaker_interval(concordances, sums)

    def gain(self, ours: str, other: str) -> tuple[float, tuple[float, float] | None]:
        """Mean CCC of one above another's, on the same draws of speakers."""
        both = np.concatenate([self.sums(ours), self.sums(other)], axis=1)

        def difference(sums: np.ndarray) -> np.ndarray:
            above: np.ndarray = _mean(sums[:, :12]) - _mean(sums[:, 12:])
            return above

        return float(difference(both.sum(0, keepdims=True))[0]), speaker_interval(difference, both)


def _mean(sums: np.ndarray) -> np.ndarray:
    mean: np.ndarray = (concordances(sums[:, :6]) + concordances(sums[:, 6:])) / 2
    return mean
