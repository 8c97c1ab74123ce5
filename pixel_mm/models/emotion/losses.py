"""Losses of the emotion regressor: how far scores are from ratings, and categories from labels."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-8


class ConcordanceLoss(nn.Module):
    """1 - concordance correlation coefficient (Lin, Biometrics 45, 1989), mean over dimensions; for rated labels.

    CCC = 2 cov(x, y) / (var x + var y + (mean x - mean y)^2), with the variances of the batch itself: the larger the
    batch, the closer to the coefficient of the whole set.
    """

    def forward(self, scores: Tensor, ratings: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            scores: float32 [B, K], 0..1.
            ratings: float32 [B, K], 0..1, NaN where there is none.

        Returns:
            float32 scalar, 0..2. Dimensions with fewer than two ratings, or only equal ones, don't count.
        """
        rated = ~ratings.isnan()
        number = rated.sum(0).clamp(min=1)
        truth = torch.where(rated, ratings, 0.0)
        score = torch.where(rated, scores, 0.0)
        truth_mean, score_mean = truth.sum(0) / number, score.sum(0) / number
        truth_off = torch.where(rated, truth - truth_mean, 0.0)
        score_off = torch.where(rated, score - score_mean, 0.0)
        covariance = (truth_off * score_off).sum(0) / number
        spread = (truth_off.square() + score_off.square()).sum(0) / number + (truth_mean - score_mean).square()
        counts = truth_off.square().sum(0) > _EPSILON
        losses = torch.where(counts, 1 - 2 * covariance / (spread + _EPSILON), 0.0)
        return losses.sum() / counts.sum().clamp(min=1)


class RobustLoss(nn.Module):
    """Huber's loss, mean over what is rated; for mapped labels, whose values are one per category and partly wrong."""

    def __init__(self, threshold: float = 0.2) -> None:
        """Choose where it turns from square to linear.

        Args:
            threshold: difference of score and rating, above 0.
        """
        super().__init__()
        self.threshold = threshold

    def forward(self, scores: Tensor, ratings: Tensor) -> Tensor:
        """Loss of a batch, float32 scalar, its slope at most 1. Arguments as in `ConcordanceLoss`."""
        rated = ~ratings.isnan()
        losses = F.huber_loss(scores, torch.where(rated, ratings, 0.0), reduction="none", delta=self.threshold)
        return torch.where(rated, losses, 0.0).sum() / rated.sum().clamp(min=1) / self.threshold


class LossTerms(NamedTuple):
    """Losses of a batch, float32 scalars: the weighted sum that is minimised, and its terms unweighted."""

    total: Tensor
    ratings: Tensor
    emotion: Tensor


class EmotionLoss(nn.Module):
    """Weighted sum of the loss of ratings, which depends on who made them, and of cross-entropy over categories."""

    def __init__(
        self,
        label_source: str,
        rating_losses: Mapping[str, nn.Module],
        rating_weight: float = 1.0,
        emotion_weight: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> None:
        """Choose the losses.

        Args:
            label_source: "rated" or "mapped", of the corpus.
            rating_losses: loss of scores and ratings, by label source.
            rating_weight: of the ratings' loss.
            emotion_weight: of the cross-entropy.
            label_smoothing: share of the target spread over all categories, 0..1 (Szegedy et al., CVPR 2016).

        Raises:
            ValueError: no loss for this label source.
        """
        super().__init__()
        if label_source not in rating_losses:
            raise ValueError(
                f"module.losses.rating_losses has none for label_source '{label_source}'; it has "
                f"{', '.join(rating_losses)}"
            )
        self.rating_loss = rating_losses[label_source]
        self.rating_weight = rating_weight
        self.emotion_weight = emotion_weight
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, emotion_logits: Tensor, ratings: Tensor, emotion: Tensor) -> LossTerms:
        """Losses of a batch; a clip without a label counts only where it has one.

        Args:
            scores: float32 [B, K], 0..1.
            emotion_logits: float32 [B, C].
            ratings: float32 [B, K], 0..1, NaN where there is none.
            emotion: int64 [B], class, -100 where there is none.
        """
        labelled = emotion >= 0
        rating = self.rating_loss(scores, ratings)
        # Of clips with a category alone: the mean over none would be NaN, and over no classes even their sum is.
        category = emotion_logits.sum() * 0.0
        if labelled.any():
            category = F.cross_entropy(
                emotion_logits[labelled], emotion[labelled], label_smoothing=self.label_smoothing
            )
        return LossTerms(self.rating_weight * rating + self.emotion_weight * category, rating, category)
