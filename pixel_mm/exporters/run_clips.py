"""Clips of the corpus that a run learnt from, for what an export measures on speech: metric, calibration, lengths.

Calibration sees training clips only; the metric is measured on the run's test clips, or on its validation clips where
it had no test part.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from torch import Tensor

from pixel_mm.audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE_HZ
from pixel_mm.data.batching import NO_EMOTION
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.exporters.emotion_graph import PROBABILITIES
from pixel_mm.exporters.parity import Arrays, RunnableModel
from pixel_mm.metrics.concordance import concordance
from pixel_mm.metrics.recall import confusion_counts, unweighted_average_recall


class RunClips:
    """Clips of a run's corpus.

    Args:
        data: split as the run was.
        max_measured: clips that the metric is measured on; chosen by the seed where there are more.
        max_calibration: clips that a quantised file is calibrated on.
        seed: of the choice.
    """

    def __init__(self, data: SpeechDataModule, max_measured: int, max_calibration: int, seed: int = 0) -> None:
        """Take the settings; no audio is read yet."""
        self._data, self._seed = data, seed
        self._max_measured, self._max_calibration = max_measured, max_calibration

    @property
    def part(self) -> str:
        """Which part the metric is measured on: "test", "validation", or "" where the run had neither."""
        parts = self._data.parts
        return "test" if parts.test else "validation" if parts.validation else ""

    @cached_property
    def num_samples(self) -> np.ndarray:
        """Lengths of the training clips at 16 kHz, int64, between what a graph takes at least and at most."""
        seconds = self._data.durations_seconds[self._data.parts.train]
        return np.rint(np.clip(seconds, MIN_SECONDS, MAX_SECONDS) * SAMPLE_RATE_HZ).astype(np.int64)

    def calibration(self) -> Iterator[Arrays]:
        """Training clips, one at a time: no padding is calibrated on."""
        for batch in self._data.loader(self._chosen(self._data.parts.train, self._max_calibration)):
            for row, length in enumerate(batch.num_samples.tolist()):
                yield _inputs(batch.waveform[row : row + 1, :length], batch.num_samples[row : row + 1])

    def measure(self, model: RunnableModel) -> dict[str, float]:
        """CCC of each score and UA of the categories, on the part of `part`.

        A clip over 30 s counts once per window.

        Args:
            model: the network or an exported file.

        Returns:
            `num_clips`; `ccc_NAME` where ratings vary; where the model tells categories apart and a clip has one, `ua`
            and `ua_of_one_clip`, by how much a single clip can change it.
        """
        parts = self._data.parts
        rows = self._chosen(parts.test or parts.validation, self._max_measured)
        outputs, ratings, emotions = [], [], []
        for batch in self._data.loader(rows):
            outputs.append(model(_inputs(batch.waveform, batch.num_samples)))
            ratings.append(batch.ratings.numpy())
            emotions.append(batch.emotion.numpy())
        if not outputs:
            return {}
        joined = {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
        return _scores(joined, np.concatenate(ratings), np.concatenate(emotions))

    def _chosen(self, rows: Sequence[int], most: int) -> list[int]:
        if len(rows) <= most:
            return list(rows)
        return sorted(np.random.default_rng(self._seed).choice(rows, most, replace=False).tolist())


def _inputs(waveform: Tensor, num_samples: Tensor) -> Arrays:
    return {"waveform": waveform.numpy(), "num_samples": num_samples.numpy()}


def _scores(outputs: Mapping[str, np.ndarray], ratings: np.ndarray, emotions: np.ndarray) -> dict[str, float]:
    """Measures of N clips; `outputs` by name, `ratings` [N, 3] with NaN for none, `emotions` [N] classes."""
    found = {"num_clips": float(len(ratings))}
    for column, name in enumerate(DIMENSIONS):
        rated = np.isfinite(ratings[:, column])
        if name in outputs and len(np.unique(ratings[rated, column])) > 1:
            found[f"ccc_{name}"] = concordance(outputs[name][rated], ratings[rated, column])
    labelled = emotions != NO_EMOTION
    if PROBABILITIES in outputs and labelled.any():
        called = outputs[PROBABILITIES][labelled].argmax(1)
        counts = confusion_counts(called, emotions[labelled], outputs[PROBABILITIES].shape[1])
        found["ua"] = unweighted_average_recall(counts)
        totals = counts.sum(axis=1)
        found["ua_of_one_clip"] = float(1 / (np.count_nonzero(totals) * totals[totals > 0].min()))
    return found
