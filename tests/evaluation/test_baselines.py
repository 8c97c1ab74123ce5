import numpy as np
import pytest

from pixel_mm.evaluation.baselines import loudness_only, majority
from pixel_mm.evaluation.protocols import Fold, LeaveOneSpeakerOut


def test_loudness_that_tells_the_emotion_is_found_out(make_rows):
    rows = make_rows(speakers=5, clips=4)
    loudness = {"anger": -10, "happiness": -25, "sadness": -40}
    levels = [loudness[u.emotion] + 0.5 * np.sin(n) for n, u in enumerate(rows)]
    found = loudness_only(LeaveOneSpeakerOut().folds(rows), rows, levels)
    assert found["scores"]["emotion"]["ua"] > 0.9
    assert found["scores"]["arousal"]["ua"] == 1
    assert found["ccc"]["arousal"] > 0.5
    assert found["ccc"]["label_source"] == "mapped"


def test_loudness_that_tells_nothing_is_at_chance(make_rows):
    rows = make_rows(speakers=6, clips=20)
    levels = np.random.default_rng(0).normal(-26, 3, len(rows))
    found = loudness_only(LeaveOneSpeakerOut().folds(rows), rows, levels)
    assert abs(found["scores"]["emotion"]["ua"] - 1 / 3) < 0.12
    assert abs(found["ccc"]["valence"]) < 0.15


def test_the_baseline_learns_from_training_rows_alone(make_rows):
    # The test speaker's loudness runs the other way, in ten times as many clips: a baseline that peeked at them
    # would get them all right, an honest one gets them all wrong.
    few = [u for u in make_rows(speakers=2, clips=2) if u.speaker == "s0"]
    many = [u for u in make_rows(speakers=2, clips=20) if u.speaker == "s1"]
    rows = few + many
    levels = [-10 if (u.emotion == "sadness") == (u.speaker == "s1") else -40 for u in rows]
    fold = LeaveOneSpeakerOut().folds(rows)[1]
    assert loudness_only([fold], rows, levels)["scores"]["arousal"]["ua"] == 0
    assert loudness_only([fold], rows, levels)["ccc"]["arousal"] < 0


def test_clips_without_a_level_and_one_class_are_survived(make_rows):
    rows = make_rows(speakers=2, clips=2)
    levels = np.full(len(rows), -20.0)
    levels[0] = np.nan
    angry = tuple(row for row, u in enumerate(rows) if u.speaker == "s0" and u.emotion == "anger")
    test = tuple(row for row, u in enumerate(rows) if u.speaker == "s1")
    found = loudness_only([Fold(0, angry, (), test)], rows, levels)
    assert found["scores"]["emotion"]["ua"] == pytest.approx(1 / 3)


def test_majority(make_rows, make_table):
    found = majority(make_table(make_rows()))
    assert found["emotion"] == {"ua": pytest.approx(1 / 3), "accuracy": pytest.approx(1 / 3)}
    assert found["arousal"] == {"ua": 0.5, "accuracy": pytest.approx(2 / 3)}
