"""What the crisis score learns from: apart from what it is tested on, in every voice, without any method."""

import re
from collections import defaultdict
from difflib import SequenceMatcher
from functools import partial

import pytest

from pixel_mm.data.fusion.crisis_texts import CrisisTexts
from pixel_mm.data.fusion.row import check_disjoint
from pixel_mm.data.fusion.written_sets import CrisisSuite, MaskedDistress, WrittenResponses
from pixel_mm.data.splits import SplitError, fold
from tests.data.fusion.voices import VOICES, Given

NEAR_WORDS, NEAR_LETTERS = 0.4, 0.65


def near(one: str, other: str) -> bool:
    """Whether a text is a copy of another in all but a word or two."""
    words, others = (set(re.findall(r"[a-z']+", text.lower())) for text in (one, other))
    shared = len(words & others) / len(words | others)
    return shared >= NEAR_WORDS or SequenceMatcher(None, one.lower(), other.lower()).ratio() >= NEAR_LETTERS


def test_near_copies_are_found() -> None:
    assert near("This traffic is killing me.", "The suspense is killing me.")
    assert near("I have decided to end my life.", "I've decided to end my life.")
    assert not near("I have decided to end my life.", "This traffic is killing me.")


def test_no_text_is_a_near_copy_of_one_that_tests() -> None:
    suite = {str(row.text) for row in CrisisSuite().read()}
    parts = defaultdict(set)
    for row in CrisisTexts(Given([]), 0, split=lambda _: ([], [], [])).read():
        parts[row.split].add(str(row.text))
    assert set(parts) == {"train", "validation"}
    assert len(parts["train"]) > 120
    pairs = [(one, other) for one in suite | parts["validation"] for other in parts["train"]]
    pairs += [(one, other) for one in suite for other in parts["validation"]]
    assert [pair for pair in pairs if near(*pair)] == []


def test_every_text_is_read_alone_and_heard_without_a_look_at_the_words() -> None:
    rows = CrisisTexts(Given(VOICES)).read()
    check_disjoint([*rows, *WrittenResponses(Given(VOICES)).read(), *MaskedDistress(Given(VOICES)).read()])
    heard = defaultdict(set)
    for row in rows:
        heard[row.text].add(None if row.clip is None else row.clip.key)
        assert row.label_source == "constructed"
    assert {len(voices) for voices in heard.values()} == {3}
    assert all(None in voices for voices in heard.values())
    for label in (0.0, 1.0):
        assert len({row.clip.emotion for row in rows if row.clip and row.scores["crisis"] == label}) == 5
    groups = {row.group: row.scores["crisis"] for row in rows}
    assert set(groups) == {row.group for row in CrisisSuite().read()}
    assert set(groups.values()) == {0.0, 1.0}


def test_speakers_are_held_out_as_elsewhere() -> None:
    split = partial(fold, number=1, num_folds=5)
    sources = (CrisisTexts(Given(VOICES), split=split), WrittenResponses(Given(VOICES), split=split))
    check_disjoint([row for source in sources for row in source.read()])
    test = {row.speaker for row in MaskedDistress(Given(VOICES), split=split).read()}
    assert test == {VOICES[row].speaker for row in split(VOICES).test}
    with pytest.raises(SplitError, match="given has 0 clips in the train part"):
        CrisisTexts(Given(VOICES), split=lambda clips: ([], [], list(range(len(clips))))).read()
