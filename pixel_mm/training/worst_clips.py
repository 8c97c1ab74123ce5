"""The clips that a trained model gets most wrong, to be listened to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixel_mm.data.batching import NO_EMOTION, Batch, StateBatch, WaveformBatch
from pixel_mm.data.emotions import DIMENSIONS


@dataclass(frozen=True)
class ScoredClip:
    """What a model said about one clip.

    Attributes:
        index: the data module's row.
        key: name of the clip.
        emotion: true category or None.
        predicted_emotion: most probable category, or None of a model without a categorical head.
        ratings: true valence, arousal, dominance in 0..1 by name, those that are known.
        scores: predicted ones.
        error: mean absolute error of the known ratings plus 1 - probability of the true category; 0 best.
    """

    index: int
    key: str
    emotion: str | None
    predicted_emotion: str | None
    ratings: dict[str, float]
    scores: dict[str, float]
    error: float

    @property
    def cells(self) -> dict[str, object]:
        """What a table says of it, by column."""
        cells: dict[str, object] = {
            "error": self.error,
            "emotion": self.emotion,
            "predicted": self.predicted_emotion,
        }
        for name in DIMENSIONS:
            cells |= {f"true {name}": self.ratings.get(name), f"predicted {name}": self.scores[name]}
        return cells


@torch.inference_mode()
def worst_clips(network: Any, batches: Iterable[Batch], count: int, device: torch.device) -> list[ScoredClip]:
    """The `count` clips with the largest error, worst first.

    Args:
        network: an `EmotionRegressor` in evaluation mode, on `device`.
        batches: of waveforms or trunk states.
        count: how many clips to give.
        device: where the network is.
    """
    scored: list[ScoredClip] = []
    for batch in batches:
        batch = batch.to(device)
        scored += _score(network, batch)
    return sorted(scored, key=lambda clip: (-clip.error, clip.key))[:count]


def _score(network: Any, batch: Batch) -> list[ScoredClip]:
    if isinstance(batch, StateBatch):
        output = network.from_trunk(batch.states, batch.num_frames)
    else:
        assert isinstance(batch, WaveformBatch)
        output = network(batch.waveform, batch.num_samples)
    probabilities = output.emotion_logits.float().softmax(dim=-1)
    labels = network.emotion_labels
    rows = []
    for row in range(len(batch)):
        emotion = int(batch.emotion[row])
        rows.append(
            ScoredClip(
                index=int(batch.index[row]),
                key=batch.keys[row],
                emotion=labels[emotion] if emotion != NO_EMOTION else None,
                predicted_emotion=labels[int(probabilities[row].argmax())] if labels else None,
                ratings={n: float(v) for n, v in zip(DIMENSIONS, batch.ratings[row], strict=True) if not v.isnan()},
                scores={n: float(v) for n, v in zip(DIMENSIONS, output.scores[row], strict=True)},
                error=_error(output.scores[row], batch.ratings[row], probabilities[row], emotion),
            )
        )
    return rows


def _error(scores: Tensor, ratings: Tensor, probabilities: Tensor, emotion: int) -> float:
    known = ~ratings.isnan()
    error = float((scores[known] - ratings[known]).abs().mean()) if known.any() else 0.0
    return error + (1 - float(probabilities[emotion]) if emotion != NO_EMOTION else 0.0)
