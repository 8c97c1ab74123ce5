"""Risk-coverage curve: how wrong is a model on what it is surest of?

Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017, section 2: predictions are
taken in order of confidence; coverage is the share taken, risk their mean loss. The area under the curve (AURC) is
compared with that of the best possible order, since a model that is often wrong has a large area however well it knows
it (excess AURC: Geifman, Uziel & El-Yaniv, ICLR 2019).
"""

from typing import NamedTuple

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from pixel_mm.metrics.local_metric import LocalMetric


class RiskCoverage(NamedTuple):
    """The curve, by falling confidence.

    Attributes:
        coverage: float64 [N], ascending, ends with 1.
        risk: float64 [N], mean loss of that share.
        aurc: area under it, the mean of `risk`; NaN without predictions.
        excess_aurc: how much larger it is than if the predictions were ordered by their losses; at least 0.
    """

    coverage: np.ndarray
    risk: np.ndarray
    aurc: float
    excess_aurc: float


def risk_coverage(confidences: ArrayLike, losses: ArrayLike) -> RiskCoverage:
    """The curve of some predictions.

    Args:
        confidences: [N] finite, larger is surer. Of equally sure predictions each counts as their mean, so that their
            order doesn't matter.
        losses: [N] finite, at least 0: 1 for a wrong decision and 0 for a right one, or the size of an error.

    Raises:
        ValueError: shapes differ, or a value is not finite or a loss negative.
    """
    sure, lost = np.asarray(confidences, np.float64), np.asarray(losses, np.float64)
    if sure.ndim != 1 or sure.shape != lost.shape:
        raise ValueError(f"confidences {sure.shape} and losses {lost.shape} must be two lists of the same length")
    if not (np.isfinite(sure).all() and np.isfinite(lost).all() and (lost >= 0).all()):
        raise ValueError("confidences and losses must be finite, and losses at least 0; leave unanswered rows out")
    if not sure.size:
        return RiskCoverage(sure, lost, float("nan"), float("nan"))
    _, level, size = np.unique(-sure, return_inverse=True, return_counts=True)
    shared = (np.bincount(level, weights=lost) / size)[np.sort(level)]
    counts = np.arange(1, sure.size + 1)
    risk, best = np.cumsum(shared) / counts, np.cumsum(np.sort(lost)) / counts
    return RiskCoverage(counts / sure.size, risk, float(risk.mean()), float(risk.mean() - best.mean()))


class RiskCoverageArea(LocalMetric):
    """`compute(predictions=[N] confidences, references=[N] losses)` gives `{"aurc", "excess_aurc"}`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Area under the risk-coverage curve, and how far it is from the best order's",
            citation="Geifman & El-Yaniv, NeurIPS 2017",
            inputs_description="predictions: confidences; references: losses, 0 for a right decision",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        found = risk_coverage(predictions, references)
        return {"aurc": found.aurc, "excess_aurc": found.excess_aurc}
