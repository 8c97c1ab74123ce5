"""Few lengths that clips are padded to, so that clips of different lengths share a batch of a Triton server.

Triton's dynamic batcher joins requests of one shape only and closes a batch at the first request of another, so that
clips of many lengths hardly ever share one. Each bucket more costs batches, each bucket less costs padding.
"""

from collections.abc import Sequence

import numpy as np

from pixel_mm.audio import MAX_SAMPLES, SAMPLE_RATE_HZ

STEP_SAMPLES = SAMPLE_RATE_HZ // 4
"""Buckets are multiples of a quarter of a second, which hide what single clip was the longest."""
_USUAL_SECONDS = (4, 10)


def length_buckets(num_samples: Sequence[int], count: int) -> tuple[int, ...]:
    """The lengths that pad a corpus least. Longer clips are sent as they are: padded to 30 s they would cost far more.

    Args:
        num_samples: lengths of the corpus's clips at 16 kHz; none takes 4 and 10 seconds for usual.
        count: of buckets, at most.

    Returns:
        Samples, ascending; the last holds the corpus's longest clip.

    Raises:
        ValueError: no bucket.
    """
    if count < 1:
        raise ValueError(f"triton.length_buckets is {count}; clips that are not padded share no batch, give 1 or more")
    usual = num_samples if len(num_samples) else [seconds * SAMPLE_RATE_HZ for seconds in _USUAL_SECONDS]
    stepped = np.ceil(np.asarray(usual) / STEP_SAMPLES).astype(np.int64) * STEP_SAMPLES
    lengths, clips = np.unique(np.minimum(stepped, MAX_SAMPLES), return_counts=True)
    return tuple(_least_padding(lengths, clips, count))


def _least_padding(lengths: np.ndarray, clips: np.ndarray, count: int) -> list[int]:
    """Ends of at most `count` stretches of ascending `lengths`, such that padding each to its end adds least.

    Dynamic programming over the number of stretches: `least[i]` is the least padding of the first i lengths.
    """
    least = np.full(len(lengths) + 1, np.inf)
    least[0] = 0
    chosen: list[list[int]] = [[] for _ in range(len(lengths) + 1)]
    for _ in range(min(count, len(lengths))):
        previous, before = least.copy(), [list(ends) for ends in chosen]
        for end in range(1, len(lengths) + 1):
            for start in range(end):
                padding = float(((lengths[end - 1] - lengths[start:end]) * clips[start:end]).sum())
                if previous[start] + padding < least[end]:
                    least[end], chosen[end] = previous[start] + padding, [*before[start], int(lengths[end - 1])]
    return chosen[-1]
