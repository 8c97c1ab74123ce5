import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixel_mm.data.splits import (
    Parts,
    SplitError,
    check_speaker_disjoint,
    fold,
    hold_out,
    published,
    published_or_hold_out,
)
from pixel_mm.data.utterance import Utterance
from tests.data.listed_corpus import utterance

FRACTIONS = {"validation": 0.2, "test": 0.2}


def speakers(utterances: list[Utterance], rows: list[int]) -> set[str]:
    return {utterances[row].speaker for row in rows}


@given(
    clips=st.lists(st.integers(0, 11), min_size=3, max_size=80).filter(lambda drawn: len(set(drawn)) >= 3),
    seed=st.integers(0, 1000),
)
def test_a_hold_out_deals_every_clip_once_and_no_speaker_twice(clips: list[int], seed: int) -> None:
    utterances = [utterance(speaker=f"s{number}") for number in clips]
    parts = hold_out(utterances, FRACTIONS, seed)
    assert sorted(row for part in parts for row in part) == list(range(len(utterances)))
    assert all(part for part in parts)
    check_speaker_disjoint(*([utterances[row] for row in part] for part in parts))
    assert parts == hold_out(utterances, FRACTIONS, seed)


def test_a_hold_out_comes_near_the_fractions_and_takes_women_and_men_in_turn() -> None:
    utterances = [
        utterance(speaker=f"s{number}", sex="female" if number < 10 else "male")
        for number in range(20)
        for _ in range(5)
    ]
    for seed in range(10):
        parts = hold_out(utterances, FRACTIONS, seed)
        assert [len(part) for part in parts] == [60, 20, 20]
        for part in (parts.validation, parts.test):
            assert sorted(utterances[row].sex or "" for row in part[::5]) == ["female"] * 2 + ["male"] * 2
    assert len({tuple(hold_out(utterances, FRACTIONS, seed).test) for seed in range(10)}) > 5


def test_a_part_may_stay_empty() -> None:
    utterances = [utterance(speaker="a"), utterance(speaker="b")]
    parts = hold_out(utterances, {"validation": 0.0, "test": 0.5}, 0)
    assert (len(parts.train), parts.validation, len(parts.test)) == (1, [], 1)


def test_too_few_speakers_are_refused() -> None:
    with pytest.raises(SplitError, match="2 speakers cannot be split into train, test and validation"):
        hold_out([utterance(speaker="a"), utterance(speaker="b")], FRACTIONS, 0)


@pytest.mark.parametrize("fractions", [{"test": 1.0}, {"test": -0.1}, {"test": 0.6, "validation": 0.4}, {"tset": 0.1}])
def test_impossible_fractions_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="fractions"):
        hold_out([utterance(speaker=name) for name in "abc"], fractions, 0)


def test_shared_speakers_are_named() -> None:
    with pytest.raises(SplitError, match=r"shares 2 speakers.*\(b, c\)"):
        check_speaker_disjoint(
            [utterance(speaker=name) for name in "abc"], [utterance(speaker="b")], [utterance(speaker="c")]
        )


def test_the_published_split_is_used_where_there_is_one() -> None:
    utterances = [
        utterance(speaker=name, split=split)
        for name, split in (("a", "test"), ("b", "train"), ("c", "validation"), ("b", "train"))
    ]
    assert published(utterances) == Parts([1, 3], [2], [0])
    assert published_or_hold_out(utterances, FRACTIONS, 0) == Parts([1, 3], [2], [0])
    utterances.append(utterance(speaker="d"))
    with pytest.raises(SplitError, match="1 of 5 utterances have no published split"):
        published(utterances)
    assert sorted(row for part in published_or_hold_out(utterances, FRACTIONS, 0) for row in part) == [0, 1, 2, 3, 4]


def test_a_published_split_that_shares_a_speaker_is_refused() -> None:
    utterances = [utterance(speaker="a", split=split) for split in ("train", "test")]
    with pytest.raises(SplitError, match=r"\(a\)"):
        published_or_hold_out(utterances, FRACTIONS, 0)


def test_folds_test_everybody_once_and_validate_each_other() -> None:
    utterances = [utterance(speaker=f"s{number % 10}") for number in range(60)]
    for num_folds in (4, 5):
        folds = [fold(utterances, number, num_folds) for number in range(num_folds)]
        assert sorted(row for parts in folds for row in parts.test) == list(range(60))
        for parts in folds:
            assert sorted(row for part in parts for row in part) == list(range(60))
            check_speaker_disjoint(*([utterances[row] for row in part] for part in parts))
            assert parts.validation
        assert folds[1].train == folds[2].train
        assert (folds[1].test, folds[1].validation) == (folds[2].validation, folds[2].test)
    assert fold(utterances, 0, 5, seed=1) != fold(utterances, 0, 5)


@pytest.mark.parametrize(("number", "num_folds"), [(-1, 5), (5, 5), (0, 2), (0, 11)])
def test_folds_that_there_are_not_are_refused(number: int, num_folds: int) -> None:
    with pytest.raises(SplitError, match="num_folds"):
        fold([utterance(speaker=f"s{number}") for number in range(10)], number, num_folds)
