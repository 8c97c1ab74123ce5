"""Train on one part of a fold and predict the other, without the one reaching the other.

While a model is trained, its data module's test part is empty: no loader it can ask for yields a test clip. Only when
training is over does the data module get the test part, and then it has no other.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from omegaconf import DictConfig, open_dict

from pixel_mm.data.batching import Batch, StateBatch, WaveformBatch
from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.evaluation.protocols import Fold

if TYPE_CHECKING:
    from pixel_mm.models.emotion.network import EmotionOutput, EmotionRegressor


class FoldData(Protocol):
    """What an evaluation asks of a data module."""

    @property
    def utterances(self) -> Sequence[Utterance]:
        """All usable rows; splits are given by their numbers."""

    def use_split(self, train: Sequence[int], validation: Sequence[int], test: Sequence[int]) -> None:
        """Take these rows for the parts from now on."""

    def test_dataloader(self) -> Iterable[Batch]:
        """Batches of the test part, not augmented."""


Trainer = Callable[[DictConfig, Any], "EmotionRegressor"]
"""Trains on a data module's train (and validation) part by a configuration; gives the trained network."""


class FoldTrainer:
    """Trains and tests folds: what `folds.run_folds` calls."""

    def __init__(self, config: DictConfig, make_data: Callable[[int], FoldData], train: Trainer) -> None:
        """Prepare.

        Args:
            config: of the evaluation; each fold trains by it, in its own folder and with its own seed.
            make_data: of a training seed, gives the data module of all its folds: the same rows for every seed.
            train: see `Trainer`.
        """
        self.config = config
        self.make_data = make_data
        self.train = train

    def __call__(self, fold: Fold, seed: int, folder: Path) -> Predictions:
        """Predictions on the fold's test part by a model that was trained on its training part.

        Args:
            fold: checked to be speaker-disjoint.
            seed: of initialisation, dropout, batches and augmentation.
            folder: the fold's run folder.

        Raises:
            RuntimeError: what was predicted is not exactly the test part.
        """
        config = self.config.copy()
        with open_dict(config):
            config.paths.run = str(folder)
            config.seed = seed
            config.test = False
        data = self.make_data(seed)
        data.use_split(fold.train, fold.validation, ())
        network = self.train(config, data)
        data.use_split((), (), fold.test)
        accelerator = str(config.get("trainer", {}).get("accelerator", "auto"))
        device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
        predicted = predict(network.to(device), data.test_dataloader(), device)
        return _table(predicted, network, data, fold, seed)


def predict(
    network: "EmotionRegressor", batches: Iterable[Batch], device: str = "cpu"
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """What a network says about each row.

    A clip that comes in several windows gets their mean, weighted by length.

    Args:
        network: trained; it is put into evaluation mode.
        batches: waveforms, or states of its frozen trunk.
        device: where the network is.

    Returns:
        For each row number its scores float64 [3], in the order of `DIMENSIONS`, and emotion probabilities float64 [C].
    """
    network.eval()
    order = [network.dimensions.index(name) for name in DIMENSIONS]
    windows: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = defaultdict(list)
    with torch.inference_mode():
        for batch in batches:
            output, lengths = _forward(network, batch.to(device))
            scores = output.scores[:, order].double().cpu().numpy()
            probabilities = output.emotion_logits.double().softmax(dim=-1).cpu().numpy()
            for place, row in enumerate(batch.index.tolist()):
                windows[row].append((lengths[place], scores[place], probabilities[place]))
    return {row: (_mean(parts, 1), _mean(parts, 2)) for row, parts in windows.items()}


def _forward(network: "EmotionRegressor", batch: Batch) -> tuple["EmotionOutput", list[int]]:
    if isinstance(batch, StateBatch):
        return network.from_trunk(batch.states, batch.num_frames), batch.num_frames.tolist()
    if not isinstance(batch, WaveformBatch):
        raise TypeError(f"a batch is a WaveformBatch or a StateBatch, not {type(batch).__name__}")
    return network(batch.waveform, batch.num_samples), batch.num_samples.tolist()


def _mean(windows: Sequence[tuple[int, np.ndarray, np.ndarray]], column: int) -> np.ndarray:
    weights = np.array([window[0] for window in windows], np.float64)
    return np.average(np.stack([window[column] for window in windows]), axis=0, weights=weights)


def _table(
    predicted: Mapping[int, tuple[np.ndarray, np.ndarray]],
    network: "EmotionRegressor",
    data: FoldData,
    fold: Fold,
    seed: int,
) -> Predictions:
    rows = sorted(predicted)
    if rows != sorted(fold.test):
        wrong = sorted(set(rows) ^ set(fold.test))
        raise RuntimeError(
            f"fold {fold.number}: {len(wrong)} clips were predicted that are not of its test part, or "
            f"not predicted that are; the first is {data.utterances[wrong[0]].key}"
        )
    return Predictions(
        utterances=tuple(data.utterances[row] for row in rows),
        fold=(fold.number,) * len(rows),
        seed=(seed,) * len(rows),
        scores=np.stack([predicted[row][0] for row in rows]),
        probabilities=np.stack([predicted[row][1] for row in rows]),
        emotion_labels=tuple(network.emotion_labels),
    )
