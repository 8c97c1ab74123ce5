"""Concordance correlation coefficient (CCC): do two scales agree in rank, spread and level?

Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45 (1989), pp. 255-268.
"""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from pixel_mm.metrics.local_metric import LocalMetric


def _pair(predictions: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(predictions, np.float64), np.asarray(references, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"predictions {x.shape} and references {y.shape} must be two lists of the same length")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("predictions or references hold NaN or infinity; leave unrated clips out before measuring")
    return x, y


def concordance(predictions: ArrayLike, references: ArrayLike) -> float:
    """Lin's CCC, 2 cov(x, y) / (var x + var y + (mean x - mean y)^2), with population moments.

    Args:
        predictions: [N] finite floats.
        references: [N] finite floats.

    Returns:
        -1..1; 1 only where every prediction equals its reference. NaN where it is undefined: no clips, or both
        constant and equal.

    Raises:
        ValueError: shapes differ, or a value is not finite.
    """
    x, y = _pair(predictions, references)
    if x.size == 0:
        return float("nan")
    distance = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / distance) if distance > 0 else float("nan")


def pearson(predictions: ArrayLike, references: ArrayLike) -> float:
    """Pearson's r, -1..1; NaN where either side is constant. Arguments and errors as in `concordance`."""
    x, y = _pair(predictions, references)
    if x.size == 0:
        return float("nan")
    spread = x.std() * y.std()
    return float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else float("nan")


class Concordance(LocalMetric):
    """`compute(predictions=[N], references=[N])` gives `{"ccc", "pearson"}`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Concordance correlation coefficient and Pearson's r",
            citation="Lin, Biometrics 45 (1989), 255-268",
            inputs_description="predictions, references: one float each",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        return {"ccc": concordance(predictions, references), "pearson": pearson(predictions, references)}
