import math
from dataclasses import replace
from pathlib import Path

import pytest

from pixel_mm.data.fusion.row import FusionRow, check_disjoint, sentence_key
from pixel_mm.data.splits import SplitError
from pixel_mm.data.utterance import Utterance

ROW = FusionRow(key="a", speaker="s1", text="Good morning.", split="train")


def test_words_audio_or_both_are_a_row() -> None:
    clip = Utterance(path=Path("a.wav"), speaker="s1")
    assert FusionRow(key="a", speaker="s1", clip=clip).text is None
    assert FusionRow(key="a", speaker="s1", clip=clip, text="Yes", scores={"crisis": 0}, label_source="constructed")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": None}, "neither 'clip' nor 'text'"),
        ({"text": " \n"}, "'text' is blank"),
        ({"response": ""}, "'response' is blank"),
        ({"speaker": ""}, "'key' and 'speaker'"),
        ({"scores": {"joy": 0.5}, "label_source": "rated"}, "score 'joy' is not one of valence, .*, crisis, bias"),
        ({"scores": {"crisis": 1.5}, "label_source": "rated"}, "a: score 'crisis' is 1.5; scale it"),
        ({"scores": {"crisis": math.nan}, "label_source": "rated"}, "score 'crisis' is nan"),
        ({"scores": {"crisis": 1.0}}, "go together"),
        ({"label_source": "rated"}, "go together"),
        ({"scores": {"crisis": 1.0}, "label_source": "guessed"}, "'label_source' is 'guessed'; it is one of rated"),
        ({"split": "dev"}, "'split' is 'dev'; it is one of train, validation, test"),
    ],
)
def test_a_row_that_nothing_can_be_learnt_from_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ROW, **change)


def test_sentences_are_the_same_whatever_their_dress() -> None:
    assert sentence_key("It's FINE,  really!") == sentence_key("it's fine - really") != sentence_key("its fine really")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"key": "b", "split": None}, "1 of 2 rows have no split"),
        ({"split": "train"}, "1 keys are used by several rows"),
        ({"key": "b", "text": "Bye.", "split": "test"}, "1 speakers are in several parts .*'s1' in test and train"),
        ({"key": "b", "speaker": "s2", "text": "good morning", "split": "test"}, "1 sentences .*'good morning'"),
    ],
)
def test_parts_that_share_something_are_refused(other: dict, message: str) -> None:
    check_disjoint([ROW, replace(ROW, key="b"), replace(ROW, key="c", speaker="s2", text="Bye.", split="test")])
    with pytest.raises(SplitError, match=message):
        check_disjoint([ROW, replace(ROW, **other)])
