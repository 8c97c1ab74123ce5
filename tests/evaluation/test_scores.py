"""Numbers of metrics.json, worked by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.classes import MEASURES, calibrations, decide, right_answers, yes_probability
from pixel_mm.evaluation.predictions import Predictions, join
from pixel_mm.evaluation.scores import concordances, num_clips, per_class, per_group, score
from pixel_mm.metrics.concordance import concordance


def table_of(emotions, labels, probabilities, scores=None):
    rows = tuple(Utterance(path=Path(f"/c/{n}.wav"), speaker=f"s{n % 2}", emotion=e) for n, e in enumerate(emotions))
    scores = np.full((len(rows), 3), 0.5) if scores is None else np.array(scores)
    return Predictions(rows, (0,) * len(rows), (1,) * len(rows), scores, np.array(probabilities, float), tuple(labels))


def test_binary_decisions_add_up_the_group():
    # Fear and happiness are high arousal; only happiness is positive. Neither has the largest single probability.
    table = table_of(["fear"], ["fear", "happiness", "sadness"], [[0.3, 0.3, 0.4]])
    assert yes_probability("arousal", table) == pytest.approx([0.6])
    assert yes_probability("valence", table) == pytest.approx([0.3])
    arousal, valence, emotion = (decide(measure, table) for measure in MEASURES)
    assert (arousal.called.tolist(), arousal.true.tolist()) == ([1], [1])
    assert (valence.called.tolist(), valence.true.tolist()) == ([0], [0])
    assert emotion.classes[emotion.called[0]] == "sadness"


def test_neutral_is_positive_and_calm_as_in_schuller_2009():
    table = table_of(["neutral", "disgust", "boredom"], ["boredom", "disgust", "neutral"], np.eye(3))
    assert right_answers("valence", table.utterances) == ["positive", "negative", "negative"]
    assert right_answers("arousal", table.utterances) == ["low", "low", "low"]


def test_other_says_nothing_about_arousal():
    table = table_of(["other", "anger"], ["anger", "other", "sadness"], [[0.2, 0.6, 0.2], [0.3, 0.6, 0.1]])
    assert right_answers("arousal", table.utterances) == [None, "high"]
    assert yes_probability("arousal", table)[1] == pytest.approx(0.75)
    assert decide("arousal", table).rows.tolist() == [1]
    assert decide("emotion", table).rows.tolist() == [0, 1]


def test_ratings_decide_where_there_are_no_categories():
    rows = tuple(
        Utterance(path=Path(f"/c/{n}.wav"), speaker="a", ratings={"arousal": rating}, label_source="rated")
        for n, rating in enumerate([0.5, 0.51, 0.9])
    )
    scores = np.array([[0.5, 0.2, 0.5], [0.5, 0.6, 0.5], [0.5, 0.4, 0.5]])
    table = Predictions(rows, (0,) * 3, (1,) * 3, scores, np.zeros((3, 0)), ())
    found = decide("arousal", table)
    assert (found.true.tolist(), found.called.tolist()) == ([0, 1, 1], [0, 1, 0])
    assert decide("valence", table) is None
    assert decide("emotion", table) is None
    assert calibrations(table) == dict.fromkeys(MEASURES)
    assert concordances(table)["label_source"] == "rated"
    assert concordances(table)["valence"] is None


def test_a_category_that_the_model_does_not_have_is_never_right():
    table = table_of(["anger", "disgust"], ["anger", "sadness"], [[0.9, 0.1], [0.9, 0.1]])
    assert score(decide("emotion", table), table.speakers)["ua"] == 0.5
    assert calibrations(table)["emotion"]["accuracy"] == 0.5


def test_score_against_sklearn(make_rows, make_table):
    table = make_table(make_rows(speakers=6, clips=5), skill=0.6)
    found = score(decide("emotion", table), table.speakers)
    true = [u.emotion for u in table.utterances]
    called = [table.emotion_labels[number] for number in table.probabilities.argmax(axis=1)]
    assert found["ua"] == pytest.approx(balanced_accuracy_score(true, called))
    assert found["accuracy"] == pytest.approx(np.mean(np.array(true) == np.array(called)))
    assert found["majority"] == pytest.approx(1 / 3)
    assert 0 <= found["ci95"][0] < found["ua"] < found["ci95"][1] <= 1
    assert found == score(decide("emotion", table), table.speakers)


def test_seeds_are_averaged_and_clips_counted_once(make_rows, make_table):
    rows = make_rows()
    parts = [make_table(rows, skill=0.5, seed=seed) for seed in (1, 2)]
    both = join(parts)
    single = [score(decide("emotion", part), part.speakers, 0)["ua"] for part in parts]
    assert score(decide("emotion", both), both.speakers, 0)["ua"] == pytest.approx(np.mean(single))
    assert num_clips(both) == len(rows)
    assert {key: entry["emotion"]["ua"] for key, entry in per_group(both, [str(s) for s in both.seed]).items()} == {
        "1": pytest.approx(single[0]),
        "2": pytest.approx(single[1]),
    }


def test_per_speaker_and_per_class(make_rows, make_table):
    table = make_table(make_rows(speakers=2, clips=1))
    # Speaker s1's sadness is called anger.
    probabilities = table.probabilities.copy()
    probabilities[5] = [0.8, 0.1, 0.1]
    table = dataclasses.replace(table, probabilities=probabilities)
    speakers = per_group(table, table.speakers)
    assert speakers["s0"]["emotion"] == {"ua": 1.0, "accuracy": 1.0}
    assert speakers["s1"]["emotion"]["ua"] == pytest.approx(2 / 3)
    assert speakers["s1"]["arousal"]["ua"] == pytest.approx(0.5)
    assert per_class(table)["sadness"] == {"num_clips": 2, "recall": 0.5, "precision": 1.0}
    assert per_class(table)["anger"]["precision"] == pytest.approx(2 / 3)


def test_concordance_leaves_unrated_clips_out(make_rows, make_table):
    rows = make_rows()
    rows[0] = dataclasses.replace(rows[0], ratings=None, label_source=None)
    table = make_table(rows, skill=0.7)
    expected = concordance(table.scores[1:, 0], table.ratings[1:, 0])
    assert concordances(table)["valence"] == pytest.approx(expected)
    assert concordances(table)["label_source"] == "mapped"
