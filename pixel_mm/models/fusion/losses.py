"""Losses of the fusion network: of the answer's tokens, of the scores, and of the confidence in them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.models.emotion.losses import ConcordanceLoss
from pixel_mm.models.fusion.heads import Readings
from pixel_mm.models.fusion.reading import FusionOutput


class FusionTerms(NamedTuple):
    """Losses of a batch, float32 scalars: the weighted sum that is minimised, and its terms unweighted."""

    total: Tensor
    response: Tensor
    scores: Tensor
    confidence: Tensor


class FusionLoss(nn.Module):
    """Weighted sum of three losses; a row counts in each for which it has labels."""

    def __init__(
        self,
        response_weight: float = 1.0,
        score_weight: float = 1.0,
        concordance_weight: float = 1.0,
        confidence_weight: float = 0.1,
        tolerance: float = 0.15,
    ) -> None:
        """Choose weights.

        Args:
            response_weight: of the cross-entropy of answer tokens.
            score_weight: of the scores' losses, of each reader's.
            concordance_weight: of 1 - CCC beside the cross-entropy, for valence, arousal and dominance.
            confidence_weight: of the cross-entropy of being right.
            tolerance: being right is a mean absolute error of valence, arousal and dominance of at most so much.
        """
        super().__init__()
        self.response_weight, self.score_weight = response_weight, score_weight
        self.concordance_weight, self.confidence_weight = concordance_weight, confidence_weight
        self.tolerance = tolerance
        self.concordance = ConcordanceLoss()

    def forward(
        self, output: FusionOutput, response: Tensor, targets: Tensor, names: tuple[str, ...], has_text: Tensor
    ) -> FusionTerms:
        """Losses of a batch, or of a whole part.

        Args:
            output: of the network; its logits are not looked at.
            response: float32 scalar, loss of the answers' tokens.
            targets: float32 [B, K + E], scores of the person, then of the answer; NaN where there is none.
            names: of the K scores of the person.
            has_text: bool [B].
        """
        count, rows = len(names), output.rows
        scores = confidence = response.new_zeros(())
        readers: list[tuple[Readings | None, Tensor]] = [
            (output.text, targets[:, :count].masked_fill(~has_text[:, None], torch.nan)),
            (output.audio, targets[rows, :count]),
            (output.both, targets[rows, :count].masked_fill(~has_text[rows][:, None], torch.nan)),
        ]
        for readings, wanted in readers:
            if readings is not None:
                scores = scores + self._of_scores(readings.logits, wanted, names)
                confidence = confidence + self._of_confidence(readings, wanted, names)
        if output.answer is not None:
            scores = scores + _cross_entropy(output.answer.logits, targets[:, count:])
        total = self.response_weight * response + self.score_weight * scores + self.confidence_weight * confidence
        return FusionTerms(total, response.detach(), scores.detach(), confidence.detach())

    def _of_scores(self, logits: Tensor, targets: Tensor, names: tuple[str, ...]) -> Tensor:
        columns = [column for column, name in enumerate(names) if name in DIMENSIONS]
        agreement = self.concordance(logits[:, columns].sigmoid(), targets[:, columns])
        return _cross_entropy(logits, targets) + self.concordance_weight * agreement

    def _of_confidence(self, readings: Readings, targets: Tensor, names: tuple[str, ...]) -> Tensor:
        right = is_right(readings.logits.detach().sigmoid(), targets, names, self.tolerance)
        known = ~right.isnan()
        losses = F.binary_cross_entropy_with_logits(readings.confidence, right.nan_to_num(), reduction="none")
        return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)


class Answers(NamedTuple):
    """What is to be said next, where anything is.

    Attributes:
        columns: int64 [C], at least one, of the tokens that a token of an answer follows in some row.
        tokens: int64 [B, C], that follow them; -100 where none is to be learnt.
    """

    columns: Tensor
    tokens: Tensor


def following_of(labels: Tensor) -> Tensor:
    """The token to be learnt after each, int64 [B, S], -100 where there is none; `labels` as those of `answers_of`."""
    following = labels.roll(-1, 1)
    following[:, -1] = -100
    return following


def answers_of(labels: Tensor) -> Answers:
    """Where logits are wanted, and what they are compared with.

    Args:
        labels: int64 [B, S], the answers' own tokens, -100 elsewhere.
    """
    following = following_of(labels)
    columns = (following >= 0).any(0).nonzero().flatten()
    if not len(columns):
        columns = columns.new_zeros(1)
    return Answers(columns, following[:, columns])


class ResponseLoss(NamedTuple):
    """Cross-entropy of answers in nats, summed.

    Attributes:
        sums: float32 [B], over a row's tokens.
        counts: int64 [B], of them.
    """

    sums: Tensor
    counts: Tensor

    @classmethod
    def of_tokens(cls, losses: Tensor, answers: Answers) -> "ResponseLoss":
        """Of the losses of single tokens, float32 [B, S], 0 where none is learnt."""
        return cls(losses.sum(1), (answers.tokens >= 0).sum(1))

    def mean(self) -> Tensor:
        """Mean over all tokens, float32 scalar; 0 where there are none."""
        return self.sums.sum() / self.counts.sum().clamp(min=1)


def response_loss(logits: Tensor, answers: Tensor) -> ResponseLoss:
    """Loss of answer tokens.

    Args:
        logits: float [B, C, V].
        answers: int64 [B, C], the token that follows each column; -100 counts nothing.
    """
    learnt = answers >= 0
    losses = F.cross_entropy(logits[learnt].float(), answers[learnt], reduction="none")
    rows = learnt.nonzero()[:, 0]
    return ResponseLoss(losses.new_zeros(len(answers)).index_add(0, rows, losses), learnt.sum(1))


def is_right(scores: Tensor, targets: Tensor, names: tuple[str, ...], tolerance: float) -> Tensor:
    """Whether a row's feeling is estimated well: 1.0, 0.0, or NaN where it is not labelled; float32 [R].

    Args:
        scores: float32 [R, K].
        targets: float32 [R, K], NaN where there is none.
        names: of the K scores.
        tolerance: largest mean absolute error of valence, arousal and dominance that counts as right.
    """
    columns = [column for column, name in enumerate(names) if name in DIMENSIONS]
    error = (scores[:, columns] - targets[:, columns]).abs().nanmean(1)
    return torch.where(error.isnan(), error, (error <= tolerance).float())


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy with targets in 0..1, less what no estimate could avoid.

    Mean over the labels of each score, then over the scores that have any: one with few labels counts as much.
    """
    known = ~targets.isnan()
    wanted = targets.nan_to_num()
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    least = F.binary_cross_entropy(wanted, wanted, reduction="none")
    counts = known.sum(0)
    means = torch.where(known, losses - least, 0.0).sum(0) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum().clamp(min=1)
