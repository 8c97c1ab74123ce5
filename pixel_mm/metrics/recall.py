"""Unweighted average recall (UA), accuracy and the majority rate beside them, and what each class got.

UA is the mean of the classes' recalls (Schuller et al., "The INTERSPEECH 2009 emotion challenge"): a rare
emotion counts as much as a frequent one, and guessing gives 1 / number of classes.
"""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from pixel_mm.metrics.local_metric import LocalMetric


def confusion_counts(predictions: ArrayLike, references: ArrayLike, num_classes: int) -> np.ndarray:
    """How often class i (row, reference) was called class j (column).

    Args:
        predictions: [N] class numbers, 0 to num_classes - 1.
        references: [N] class numbers.
        num_classes: C.

    Returns:
        int64 [C, C].

    Raises:
        ValueError: lengths differ or a class number is out of range.
    """
    called, true = np.asarray(predictions, np.int64), np.asarray(references, np.int64)
    if called.ndim != 1 or called.shape != true.shape:
        raise ValueError(f"predictions {called.shape} and references {true.shape} must be two lists of the same length")
    both = np.concatenate([called, true])
    if both.size and not (both.min() >= 0 and both.max() < num_classes):
        raise ValueError(
            f"class numbers run from {both.min()} to {both.max()}; with {num_classes} classes they must "
            f"lie in 0..{num_classes - 1}"
        )
    return np.bincount(true * num_classes + called, minlength=num_classes**2).reshape(num_classes, num_classes)


def recalls(counts: np.ndarray) -> np.ndarray:
    """Each class's recall from confusion counts [..., C, C]: float [..., C], NaN for a class without a clip."""
    right, totals = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)
    return np.divide(right, totals, out=np.full(totals.shape, np.nan), where=totals > 0)


def precisions(counts: np.ndarray) -> np.ndarray:
    """Each class's precision from confusion counts [..., C, C]: float [..., C], NaN for a class never called."""
    return recalls(np.swapaxes(counts, -2, -1))


def average_recalls(counts: np.ndarray) -> np.ndarray:
    """UA of each of several confusion counts [..., C, C]: float [...], see `unweighted_average_recall`."""
    recall = recalls(counts)
    present = np.isfinite(recall).sum(axis=-1)
    return np.divide(np.nansum(recall, axis=-1), present, out=np.full(present.shape, np.nan), where=present > 0)


def unweighted_average_recall(counts: np.ndarray) -> float:
    """Mean recall, 0..1, over the classes that have a clip; NaN without any clip. Confusion counts are [C, C]."""
    return float(average_recalls(counts))


def accuracy(counts: np.ndarray) -> float:
    """Share of clips called right, 0..1; NaN without any clip."""
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def majority_rate(counts: np.ndarray) -> float:
    """Accuracy of always naming the most frequent class, 0..1; NaN without any clip."""
    return float(counts.sum(axis=1).max() / counts.sum()) if counts.sum() else float("nan")


class UnweightedAverageRecall(LocalMetric):
    """`compute(predictions=[N], references=[N])` of class numbers gives `{"ua", "accuracy", "majority"}`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Unweighted average recall, accuracy and majority rate",
            citation="Schuller, Steidl & Batliner, INTERSPEECH 2009",
            inputs_description="predictions, references: class numbers from 0",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        num_classes = 1 + int(max(np.max(predictions), np.max(references)))
        counts = confusion_counts(predictions, references, num_classes)
        return {
            "ua": unweighted_average_recall(counts),
            "accuracy": accuracy(counts),
            "majority": majority_rate(counts),
        }
