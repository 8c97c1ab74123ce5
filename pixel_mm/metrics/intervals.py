"""Bootstrap intervals over speakers.

Clips of one speaker resemble each other, so drawing single clips again makes intervals too narrow. Whole
speakers are drawn, with all their clips: the cluster bootstrap (Davison & Hinkley, "Bootstrap methods and their
application", 1997, section 3.8), with percentile limits.
"""

from collections.abc import Callable, Sequence

import numpy as np

NUM_RESAMPLES = 2000


def speaker_interval(
    statistic: Callable[[np.ndarray], float],
    speakers: Sequence[str],
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of a statistic when the speakers had been others.

    Args:
        statistic: of row numbers, int64 [M] with repeats, as a float; a NaN resample is left out.
        speakers: [N], whose clip each row is.
        level: share of resamples inside the interval, 0..1.
        num_resamples: how many times the speakers are drawn.
        seed: the same seed and rows give the same interval.

    Returns:
        Lower and upper limit, or None where there are fewer than two speakers: nothing can be said then.

    Raises:
        ValueError: `level` outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    names, whose = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    if len(names) < 2:
        return None
    # Sorted by name, so that the order in which rows come in doesn't change what is drawn.
    rows_of = [np.flatnonzero(whose == number) for number in range(len(names))]
    random = np.random.default_rng(seed)
    values = [
        statistic(np.concatenate([rows_of[number] for number in random.integers(len(names), size=len(names))]))
        for _ in range(num_resamples)
    ]
    finite = np.asarray(values)[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
