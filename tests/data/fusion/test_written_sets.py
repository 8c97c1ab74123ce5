import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from pixel_mm.data.corpora.emodb import EmoDB
from pixel_mm.data.emotions import EQ_DIMENSIONS
from pixel_mm.data.fusion.row import FusionRow, check_disjoint, sentence_key
from pixel_mm.data.fusion.written_sets import CrisisSuite, EmpathyAnswers, MaskedDistress, WrittenResponses
from pixel_mm.data.splits import SplitError
from tests.data.fusion.voices import VOICES, Given


def distressed_voice(row: FusionRow) -> bool:
    return row.clip is not None and row.clip.emotion in ("sadness", "fear")


def test_masked_distress_is_right_for_nobody_who_only_reads() -> None:
    rows = MaskedDistress(Given(VOICES)).read()
    assert set(Counter(row.group for row in rows)) == {"masked", "reverse", "both fine", "both distressed"}
    assert len(set(Counter(row.group for row in rows).values())) == 1
    assert {row.split for row in rows} == {"test"}
    kinds = defaultdict(set)
    for row in rows:
        kinds[row.text].add(distressed_voice(row))
        assert (row.scores["valence"] < 0.5) == distressed_voice(row), row
        assert (row.group in ("masked", "both distressed")) == distressed_voice(row)
    assert set(map(frozenset, kinds.values())) == {frozenset({True, False})}


def test_the_same_words_are_answered_by_the_voice() -> None:
    rows = WrittenResponses(Given(VOICES)).read()
    check_disjoint(rows)
    answers = defaultdict(set)
    for row in rows:
        assert row.clip is not None
        assert row.clip.emotion == row.group
        answers[row.text].add((row.group, row.response))
    assert {len(found) for found in answers.values()} == {4}
    assert len({answer for found in answers.values() for _, answer in found}) == 4 * len(answers)
    assert {row.split for row in rows} == {"train", "validation", "test"}
    assert rows == WrittenResponses(Given(VOICES)).read()


def test_voices_that_are_not_there_are_named() -> None:
    sad = [clip for clip in VOICES if clip.emotion == "sadness"]
    with pytest.raises(SplitError, match=r"given has 0 clips with the category calm or exc.* in the test part"):
        MaskedDistress(Given(sad)).read()
    with pytest.raises(SplitError, match=r"given has 0 clips with the category happ.* in the train part, 4 are needed"):
        WrittenResponses(Given(sad)).read()


def test_the_crisis_suite_has_both_kinds_and_no_text_twice() -> None:
    rows = CrisisSuite().read()
    check_disjoint(rows)
    counts = Counter(row.scores["crisis"] for row in rows)
    assert set(counts) == {0.0, 1.0}
    assert min(counts.values()) >= 20
    assert len({sentence_key(row.text or "") for row in rows}) == len(rows)
    assert {row.group for row in rows} >= {"stated", "implied", "figure_of_speech", "denied", "sorrow"}


@pytest.mark.data
@pytest.mark.skipif("PIXEL_MM_DATA" not in os.environ, reason="PIXEL_MM_DATA is not set")
def test_real_voices_are_enough() -> None:
    voices = EmoDB(Path(os.environ["PIXEL_MM_DATA"], "emodb"))
    assert len(MaskedDistress(voices).read()) == 32 * 4
    assert len(WrittenResponses(voices).read()) == 18 * 4 * 4


def test_answers_have_every_level_of_every_eq_dimension_in_training_and_test() -> None:
    rows = EmpathyAnswers().read()
    check_disjoint(rows)
    for part in ("train", "test"):
        levels = np.array([[row.scores[name] for name in EQ_DIMENSIONS] for row in rows if row.split == part])
        assert all(set(column) == {0.0, 0.5, 1.0} for column in levels.T)
        assert (abs(np.corrcoef(levels.T) - np.eye(3)) < 0.4).all()
    assert not any(row.imitated for row in rows)
    lengths = [len(row.response or "") for row in rows]
    assert all(abs(np.corrcoef(lengths, [row.scores[name] for row in rows])[0, 1]) < 0.4 for name in EQ_DIMENSIONS)
