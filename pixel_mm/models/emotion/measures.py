"""Measures of a whole part of a corpus, logged while training. A report measures more: by speaker, with intervals."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pixel_mm.metrics.concordance import concordance
from pixel_mm.metrics.recall import confusion_counts, unweighted_average_recall
from pixel_mm.models.emotion.losses import EmotionLoss


def measure(
    losses: EmotionLoss,
    dimensions: Sequence[str],
    scores: Tensor,
    emotion_logits: Tensor,
    ratings: Tensor,
    emotion: Tensor,
) -> dict[str, float]:
    """Measure all predictions of a part.

    Args:
        losses: those that are trained on.
        dimensions: names of the K scores.
        scores: float32 [N, K], 0..1.
        emotion_logits: float32 [N, C].
        ratings: float32 [N, K], 0..1, NaN where there is none.
        emotion: int64 [N], class, -100 where there is none.

    Returns:
        `loss`, `rating_loss`, `emotion_loss`; `ccc_NAME` of each dimension whose ratings vary; `ua`, unweighted
        average recall 0..1, where a clip has a category.
    """
    terms = losses(scores, emotion_logits, ratings, emotion)
    measures = {
        "loss": terms.total.item(),
        "rating_loss": terms.ratings.item(),
        "emotion_loss": terms.emotion.item(),
    }
    for column, name in enumerate(dimensions):
        rated = ~ratings[:, column].isnan()
        truth = ratings[rated, column].double().cpu().numpy()
        if len(set(truth.tolist())) > 1:
            measures[f"ccc_{name}"] = concordance(scores[rated, column].double().cpu().numpy(), truth)
    labelled = emotion >= 0
    if torch.any(labelled):
        called = emotion_logits[labelled].argmax(1).cpu().numpy()
        counts = confusion_counts(called, emotion[labelled].cpu().numpy(), emotion_logits.shape[1])
        measures["ua"] = unweighted_average_recall(counts)
    return measures
