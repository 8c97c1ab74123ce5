"""Expected calibration error (ECE): is a model that says 80 % right eight times in ten?

Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3: predictions are put into bins of equal
width by the probability of the class they name, and the gaps between a bin's accuracy and its mean
confidence are averaged, weighted by the bins' sizes.
"""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from pixel_mm.metrics.local_metric import LocalMetric

NUM_BINS = 15  # as in the paper


def calibration(probabilities: ArrayLike, references: ArrayLike, num_bins: int = NUM_BINS) -> dict[str, float]:
    """How far confidence is from accuracy.

    Args:
        probabilities: [N, C], each row sums to 1.
        references: [N] class numbers, 0 to C - 1; -1 for a class the model doesn't have (never right).
        num_bins: bins of equal width over 0..1, each open below and closed above.

    Returns:
        `ece`, `confidence` (mean probability of the class named) and `accuracy`, all 0..1; NaN without clips.

    Raises:
        ValueError: shapes don't fit, or rows are not probabilities.
    """
    probability, true = np.asarray(probabilities, np.float64), np.asarray(references, np.int64)
    if true.size == 0:
        return dict.fromkeys(("ece", "confidence", "accuracy"), float("nan"))
    if probability.ndim != 2 or true.shape != probability.shape[:1]:
        raise ValueError(f"probabilities {probability.shape} must be [N, C] and references {true.shape} [N]")
    # Written so that NaN fails too.
    if not (probability.min() >= 0 and np.allclose(probability.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("every row of probabilities must be >= 0 and sum to 1; apply the softmax first")
    return _gaps(probability.max(axis=1), probability.argmax(axis=1) == true, num_bins)


def confidence_calibration(confidences: ArrayLike, right: ArrayLike, num_bins: int = NUM_BINS) -> dict[str, float]:
    """How far a probability of being right is from how often it is right, whatever the classes are.

    Args:
        confidences: [N], 0..1.
        right: [N], 1 or 0.
        num_bins: see `calibration`.

    Returns:
        As `calibration`; NaN without rows.

    Raises:
        ValueError: shapes differ, or values are not in 0..1.
    """
    confidence, correct = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError(f"confidences {confidence.shape} and right {correct.shape} must be two lists of one length")
    if confidence.size == 0:
        return dict.fromkeys(("ece", "confidence", "accuracy"), float("nan"))
    both = np.stack([confidence, correct])
    if not (both.min() >= 0 and both.max() <= 1):  # written so that NaN fails too
        raise ValueError("confidences and right must lie in 0..1; leave rows without labels out")
    return _gaps(confidence, correct, num_bins)


def _gaps(confidence: np.ndarray, right: np.ndarray, num_bins: int) -> dict[str, float]:
    which = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = np.bincount(which, weights=right - confidence, minlength=num_bins)
    return {
        "ece": float(np.abs(gaps).sum() / confidence.size),
        "confidence": float(confidence.mean()),
        "accuracy": float(right.mean()),
    }


class CalibrationError(LocalMetric):
    """`compute(predictions=[N, C] probabilities, references=[N])` gives `{"ece", "confidence", "accuracy"}`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Expected calibration error over bins of equal width",
            citation="Guo et al., ICML 2017",
            inputs_description="predictions: a list of C probabilities each; references: class numbers from 0",
            features=datasets.Features(
                {"predictions": datasets.List(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: ArrayLike, references: ArrayLike, num_bins: int = NUM_BINS) -> dict[str, float]:
        return calibration(predictions, references, num_bins)
