"""Scores of recognised speech, on utterances whose errors can be counted by hand."""

import pytest

from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.evaluation.recognition_scores import RecognisedClip, recognition_scores


def heard(clip, said, text, speaker="a", seconds=2.0, latency=None):
    return RecognisedClip(clip, speaker, seconds, said, text, latency)


def test_rates_are_shares_of_all_words() -> None:
    scores = recognition_scores([heard("1", "One two three.", "one two three"), heard("2", "four", "for", "b")])
    word = scores["scores"]["word"]
    assert (word["rate"], word["references"], word["errors"]) == (0.25, 4, 1)
    assert word["ci95"][0] < 0.25 < word["ci95"][1]
    assert scores["per_speaker"]["b"]["rate"] == 1.0
    assert scores["num_speakers"] == 2


def test_words_invented_in_silence_are_counted_and_listed() -> None:
    scores = recognition_scores([heard("hush", "", "thank you"), heard("2", "a b c d", "a b c d")])
    assert scores["scores"]["word"]["insertions"] == 2
    assert scores["scores"]["word"]["rate"] == 0.5
    assert scores["worst"][0]["clip"] == "hush"
    assert scores["worst"][0]["rate"] is None
    assert recognition_scores([heard("hush", "", "")])["scores"]["word"]["rate"] is None


def test_transcripts_of_the_wrong_clips_are_named() -> None:
    said = {"1": "one two three four five", "2": "six seven eight nine ten", "3": "all of this was heard well"}
    given = said | {"1": said["2"], "2": said["1"]}
    found = recognition_scores([heard(clip, given[clip], text) for clip, text in said.items()])
    assert found["suspect"] == ["1", "2"]


def test_a_limit_belongs_to_the_bucket_below() -> None:
    clips = [heard(str(seconds), "a", "a", seconds=seconds) for seconds in (2.9, 3.0, 3.1, 31.0)]
    limits = [(part["above_seconds"], part["up_to_seconds"]) for part in recognition_scores(clips)["by_length"]]
    assert limits == [(0.0, 3.0), (3.0, 6.0), (30.0, None)]


def test_the_worst_come_first_and_right_ones_not_at_all() -> None:
    clips = [heard("right", "a", "a"), heard("one", "a b", "a"), heard("three", "a b c", "x"), heard("short", "a", "")]
    assert [each["clip"] for each in recognition_scores(clips)["worst"]] == ["three", "short", "one"]
    assert len(recognition_scores(clips, num_worst=1)["worst"]) == 1


def test_speed_is_of_clips_recognised_alone() -> None:
    assert recognition_scores([heard("1", "a", "a")])["speed"] is None
    clips = [heard("1", "a", "a", latency=0.2), heard("2", "a", "a", latency=0.4), heard("3", "a", "a")]
    speed = recognition_scores(clips)["speed"]
    assert speed["num_clips"] == 2
    assert speed["real_time_factor"] == pytest.approx(0.15)
    assert speed["latency"]["p50"] == pytest.approx(0.3)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(EvaluateError, match="no transcribed clip"):
        recognition_scores([])
    with pytest.raises(EvaluateError, match="clip 1 is scored more than once"):
        recognition_scores([heard("1", "a", "a"), heard("1", "a", "a")])
