"""Buckets that pad a corpus least."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixel_mm.audio import MAX_SAMPLES
from pixel_mm.exporters.length_buckets import STEP_SAMPLES, length_buckets


def padding(lengths: list[int], buckets: tuple[int, ...]) -> int:
    return sum(min(bucket for bucket in buckets if bucket >= length) - length for length in lengths)


def test_two_kinds_of_clips_get_a_bucket_each() -> None:
    lengths = [*range(15_000, 16_001, 100), *range(63_000, 64_001, 100)]
    assert length_buckets(lengths, 2) == (16_000, 64_000)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.integers(1, 4))
def test_no_other_choice_pads_less(steps: list[int], count: int) -> None:
    lengths = [step * STEP_SAMPLES for step in steps]
    found = length_buckets(lengths, count)
    assert len(found) <= count
    different = sorted(set(lengths))
    choices = combinations(different[:-1], min(count, len(different)) - 1)
    assert padding(lengths, found) == min(padding(lengths, (*choice, different[-1])) for choice in choices)


def test_every_clip_of_the_corpus_has_a_bucket() -> None:
    assert length_buckets([400, MAX_SAMPLES], 4) == (STEP_SAMPLES, MAX_SAMPLES)
    assert length_buckets([30_000], 1) == (32_000,)
    assert length_buckets([], 3) == (64_000, 160_000)
    lengths = np.random.default_rng(0).integers(400, MAX_SAMPLES, 100).tolist()
    buckets = length_buckets(lengths, 5)
    assert list(buckets) == sorted(set(buckets))
    assert len(buckets) == 5
    assert buckets[-1] >= max(lengths)


def test_no_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match=r"triton\.length_buckets is 0"):
        length_buckets([16_000], 0)
