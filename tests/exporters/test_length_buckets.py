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
    assert length_buckets(lengths, 3) == (16_000, 64_000, MAX_SAMPLES)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.integers(1, 3))
def test_no_other_choice_pads_less(steps: list[int], count: int) -> None:
    lengths = [step * STEP_SAMPLES for step in steps]
    found = length_buckets(lengths, count + 1)
    assert len(found) <= count + 1
    choices = combinations(sorted(set(lengths)), min(count, len(set(lengths))))
    least = min(padding(lengths, (*choice, MAX_SAMPLES)) for choice in choices)
    assert padding(lengths, found) == least


def test_every_length_that_a_model_takes_has_a_bucket() -> None:
    assert length_buckets([400, MAX_SAMPLES], 4)[-1] == MAX_SAMPLES
    assert length_buckets([30_000], 1) == (MAX_SAMPLES,)
    assert length_buckets([], 3) == (64_000, 160_000, MAX_SAMPLES)
    buckets = length_buckets(np.random.default_rng(0).integers(400, MAX_SAMPLES, 100).tolist(), 5)
    assert list(buckets) == sorted(set(buckets))
    assert len(buckets) == 5


def test_no_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match=r"triton\.length_buckets is 0"):
        length_buckets([16_000], 0)
