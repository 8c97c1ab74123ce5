"""Bootstrap intervals over speakers.

Clips of one speaker resemble each other, so drawing single clips again makes intervals too narrow. Whole
speakers are drawn, with all their clips: the cluster bootstrap (Davison & Hinkley, "Bootstrap methods and their
application", 1997, section 3.8), with percentile limits.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

NUM_RESAMPLES = 2000


def speaker_totals(amounts: ArrayLike, speakers: Sequence[str]) -> np.ndarray:
    """Sums over each speaker's clips, which is all that a resample of speakers needs.

    Args:
        amounts: [N, K], what each clip adds, such as the cells of a confusion matrix.
        speakers: [N], whose clip each row is.

    Returns:
        float64 [S, K], speakers by name, so that the order of clips doesn't change what is drawn.
    """
    names, whose = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    added = np.asarray(amounts, np.float64)
    totals = np.zeros((len(names), added.shape[1]))
    np.add.at(totals, whose, added)
    return totals


def speaker_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    totals: np.ndarray,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of a statistic had the speakers been others.

    Args:
        statistic: of R resamples' sums, float64 [R, K], as float [R]; a resample that gives NaN is left out.
        totals: float64 [S, K], see `speaker_totals`.
        level: share of resamples inside the interval, 0..1.
        num_resamples: how many times S speakers are drawn.
        seed: the same seed and totals give the same interval.

    Returns:
        Lower and upper limit, or None where there are fewer than two speakers: nothing can be said then.

    Raises:
        ValueError: `level` outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    num_speakers = len(totals)
    if num_speakers < 2:
        return None
    random = np.random.default_rng(seed)
    times_drawn = random.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), size=num_resamples)
    values = statistic(times_drawn @ totals)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
