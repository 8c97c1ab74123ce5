import logging
from pathlib import Path

import numpy as np
import pytest

from pixel_mm.audio import Waveform
from pixel_mm.data.corpora.divided import DividedCorpus, Division, DivisionError
from tests.data.listed_corpus import ListedCorpus, utterance, write_clip


def halves(waveform: Waveform, transcript: str) -> list[Division]:
    """At the middle of audio and text; not if the text says so."""
    if transcript == "no":
        raise DivisionError("it says no")
    words, middle = transcript.split(), waveform.size // 2
    return [
        Division(0, middle, words[0]),
        Division(middle, waveform.size, words[1]),
    ]


def test_long_transcribed_clips_alone_are_divided(tmp_path: Path) -> None:
    long, short = (write_clip(tmp_path / f"{seconds}.wav", seconds, seed=seconds) for seconds in (40, 3))
    clips = [
        utterance(long, transcript="left right"),
        utterance(short, transcript="one two"),
        utterance(long, transcript=None),
        utterance(long, transcript="one two", start_seconds=2.0, end_seconds=36.0),
        utterance(long, transcript="one two", start_seconds=11.0),
        utterance(tmp_path / "missing.wav", transcript="one two"),
    ]
    found = DividedCorpus(ListedCorpus(clips), halves).read()
    assert [(each.start_seconds, each.end_seconds, each.transcript) for each in found] == [
        (0.0, 20.0, "left"),
        (20.0, 40.0, "right"),
        (None, None, "one two"),
        (None, None, None),
        (2.0, 19.0, "one"),
        (19.0, 36.0, "two"),
        (11.0, None, "one two"),
        (None, None, "one two"),
    ]
    assert {each.speaker for each in found} == {"s"}
    assert np.unique([each.key for each in found[:2]]).size == 2


def test_what_cannot_be_divided_stays_whole_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = utterance(write_clip(tmp_path / "a.wav", 31), transcript="no")
    with caplog.at_level(logging.WARNING):
        assert DividedCorpus(ListedCorpus([clip]), halves).read() == [clip]
    assert "a.wav was not divided: it says no" in caplog.text
