from dataclasses import replace

import pytest

from pixel_mm.data.fusion.row import check_disjoint
from pixel_mm.data.fusion.spoken_turns import SpokenTurns
from pixel_mm.data.splits import SplitError
from tests.data.fusion.voices import VOICES, Given

SPOKEN = [replace(clip, transcript=f"{clip.speaker} says {number}.") for number, clip in enumerate(VOICES)]


def test_every_clip_is_a_row_with_its_own_words_and_ratings() -> None:
    rows = SpokenTurns(Given(SPOKEN)).read()
    assert [row.clip for row in rows] == SPOKEN
    assert [row.text for row in rows] == [clip.transcript for clip in SPOKEN]
    assert (rows[0].scores, rows[0].label_source, rows[0].group) == (SPOKEN[0].ratings, "mapped", SPOKEN[0].emotion)
    assert {row.split for row in rows} == {"train", "validation", "test"}
    check_disjoint(rows)


def test_a_sentence_of_everybody_keeps_its_words_in_the_test_part_alone() -> None:
    rows = SpokenTurns(Given([replace(clip, transcript="Yes.") for clip in VOICES])).read()
    assert {row.split for row in rows if row.text == "Yes."} == {"test"}
    assert {row.split for row in rows if row.text is None} == {"train", "validation"}
    assert len(rows) == len(VOICES)


def test_clips_without_words_or_ratings_are_rows_too() -> None:
    rows = SpokenTurns(Given([replace(clip, ratings=None, label_source=None) for clip in VOICES])).read()
    assert all(row.text is None and not row.scores and row.label_source is None for row in rows)


def test_mixed_ratings_are_refused() -> None:
    with pytest.raises(SplitError, match="given has rated and mapped ratings; set its label_source"):
        SpokenTurns(Given([*SPOKEN[1:], replace(SPOKEN[0], label_source="rated")])).read()
