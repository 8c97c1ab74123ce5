"""Word and character error rates, on texts whose errors can be counted by hand."""

import math

import pytest

from pixel_mm.metrics.error_rates import ErrorCounts, ErrorRate, count_errors, normaliser, rate_interval, total


def test_each_kind_of_error_is_counted() -> None:
    assert count_errors("a b c d", "a x c d e") == ErrorCounts(hits=3, substitutions=1, deletions=0, insertions=1)
    assert count_errors("a b c d", "a d") == ErrorCounts(hits=2, substitutions=0, deletions=2, insertions=0)
    assert count_errors("kitten", "sitting", "character").errors == 3


def test_empty_texts_are_defined() -> None:
    assert count_errors("", "") == ErrorCounts(0, 0, 0, 0)
    assert count_errors("", "thank you") == ErrorCounts(0, 0, 0, 2)
    assert count_errors("thank you", " ") == ErrorCounts(0, 0, 2, 0)
    assert count_errors("", "abc", "character").insertions == 3
    assert math.isnan(count_errors("", "thank you").rate)
    both = total([count_errors("", "thank you"), count_errors("one two three four", "one two three four")])
    assert both.rate == 0.5


def test_any_white_space_parts_words() -> None:
    assert count_errors("a\tb\nc  d", "a b c d") == ErrorCounts(hits=4, substitutions=0, deletions=0, insertions=0)
    assert count_errors("a \n b", "a b", "character").errors == 0


def test_rates_are_of_all_words_not_means_of_rates() -> None:
    counts = [count_errors("a", "b"), count_errors("a b c d e f g h i", "a b c d e f g h i")]
    assert total(counts).rate == pytest.approx(0.1)
    assert total([]).errors == 0


def test_the_metric_normalises_both_sides() -> None:
    given = {"predictions": ["Don't, Mister Hale!"], "references": ["don't mister hale"]}
    assert ErrorRate().compute(**given)["rate"] == 0
    assert ErrorRate().compute(**given, normaliser="none")["rate"] > 0
    english = {"predictions": ["I will pay twenty dollars"], "references": ["I'll pay $20"]}
    assert ErrorRate().compute(**english, normaliser="english")["rate"] == 0
    assert ErrorRate().compute(**english, normaliser="basic")["rate"] > 0
    with pytest.raises(ValueError, match="normaliser is 'french'; it is one of basic, english, none"):
        normaliser("french")  # type: ignore[arg-type]


def test_the_metric_gives_shares_of_what_was_said() -> None:
    found = ErrorRate().compute(predictions=["a x c d e", ""], references=["a b c d", ""], unit="word")
    assert found == {"rate": 0.5, "substitutions": 0.25, "deletions": 0.0, "insertions": 0.25, "references": 4.0}


def test_the_interval_is_over_speakers() -> None:
    counts = [count_errors("a b c d", text) for text in ("a b c d", "a b c x", "x x x x", "a b c d")]
    low, high = rate_interval(counts, ["1", "2", "3", "4"])  # type: ignore[misc]
    assert low < total(counts).rate < high
    assert rate_interval(counts, ["1"] * 4) is None
    same = [counts[1]] * 4
    assert rate_interval(same, ["1", "2", "3", "4"]) == pytest.approx((0.25, 0.25))
