import dataclasses

import pytest

from pixel_mm.data.splits import SplitError
from pixel_mm.evaluation.protocols import (
    CrossCorpus,
    Fold,
    HoldOut,
    KFold,
    LeaveOneSpeakerOut,
    ProtocolError,
    check_fold,
)


def speakers_of(rows, numbers):
    return {rows[number].speaker for number in numbers}


@pytest.mark.parametrize(
    "protocol", [LeaveOneSpeakerOut(), KFold(num_folds=3), LeaveOneSpeakerOut(validation_speakers=2)]
)
def test_every_clip_is_tested_once_by_strangers(make_rows, protocol):
    rows = make_rows(speakers=7)
    folds = protocol.folds(rows)
    tested = [number for fold in folds for number in fold.test]
    assert sorted(tested) == list(range(len(rows)))
    for fold in folds:
        parts = [speakers_of(rows, part) for part in (fold.train, fold.validation, fold.test)]
        assert len(set.union(*parts)) == sum(len(part) for part in parts)
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(rows)
        assert len(parts[1]) == protocol.validation_speakers


def test_leave_one_speaker_out_has_a_fold_per_speaker_by_name(make_rows):
    rows = make_rows(speakers=4)
    assert [speakers_of(rows, fold.test) for fold in LeaveOneSpeakerOut().folds(rows)] == [
        {"s0"},
        {"s1"},
        {"s2"},
        {"s3"},
    ]


def test_k_fold_spreads_the_sexes_and_is_deterministic(make_rows):
    rows = make_rows(speakers=8)
    folds = KFold(num_folds=4, seed=3).folds(rows)
    for fold in folds:
        assert {rows[number].sex for number in fold.test} == {"female", "male"}
    assert folds == KFold(num_folds=4, seed=3).folds(list(rows))
    assert folds != KFold(num_folds=4, seed=4).folds(rows)


def test_folds_are_the_same_whatever_order_the_rows_come_in(make_rows):
    rows = make_rows(speakers=8)
    backwards = rows[::-1]
    one = [speakers_of(rows, fold.test) for fold in KFold(num_folds=3).folds(rows)]
    assert one == [speakers_of(backwards, fold.test) for fold in KFold(num_folds=3).folds(backwards)]


def test_hold_out_and_the_publishers_split(make_rows):
    rows = make_rows(speakers=6)
    (fold,) = HoldOut(test_share=0.34).folds(rows)
    assert len(speakers_of(rows, fold.test)) == 2
    split = {"s0": "train", "s1": "train", "s2": "validation", "s3": "test", "s4": "test", "s5": "train"}
    published = [dataclasses.replace(u, split=split[u.speaker]) for u in rows]
    (fold,) = HoldOut(publisher_split=True).folds(published)
    assert (speakers_of(rows, fold.validation), speakers_of(rows, fold.test)) == ({"s2"}, {"s3", "s4"})


def test_a_publishers_split_that_shares_a_speaker_is_refused(make_rows):
    rows = [dataclasses.replace(u, split="test" if number % 2 else "train") for number, u in enumerate(make_rows())]
    with pytest.raises(SplitError, match="s0"):
        HoldOut(publisher_split=True).folds(rows)


def test_a_shared_speaker_raises_whoever_made_the_fold(make_rows):
    rows = make_rows(speakers=2, clips=1)
    with pytest.raises(SplitError, match="s1"):
        check_fold(Fold(0, train=(0, 1, 2, 3), validation=(), test=(4, 5)), rows)

    class Careless(LeaveOneSpeakerOut):
        def _fold(self, number, test, utterances):
            return Fold(number, train=(0, 1, 2), validation=(), test=(2, 3))

    with pytest.raises(SplitError, match="s0"):
        Careless().folds(rows)


def test_cross_corpus_tests_all_of_the_other(make_rows):
    rows = [dataclasses.replace(u, split="test" if u.speaker == "s3" else "train") for u in make_rows()]
    (fold,) = CrossCorpus().folds(rows)
    assert speakers_of(rows, fold.test) == {"s3"}
    with pytest.raises(SplitError, match="no published split"):
        CrossCorpus().folds(make_rows())


def test_some_folds(make_rows):
    folds = LeaveOneSpeakerOut().folds(make_rows())
    assert [fold.number for fold in LeaveOneSpeakerOut(folds=[3, 0]).select(folds)] == [0, 3]
    for wrong in ([4], [-1], []):
        with pytest.raises(ProtocolError, match="0 to 3"):
            LeaveOneSpeakerOut(folds=wrong).select(folds)


@pytest.mark.parametrize(
    ("protocol", "what"),
    [
        (KFold(num_folds=5), "num_folds"),
        (KFold(num_folds=1), "num_folds"),
        (HoldOut(test_share=1.0), "test_share"),
        (LeaveOneSpeakerOut(validation_speakers=3), "validation_speakers"),
    ],
)
def test_impossible_protocols_name_the_option(make_rows, protocol, what):
    with pytest.raises(ProtocolError, match=what):
        protocol.folds(make_rows(speakers=4))
