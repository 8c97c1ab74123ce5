"""The metrics against hand-worked numbers, scikit-learn and the formulas they cite."""

import socket

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from pixel_mm.metrics.calibration import CalibrationError, calibration, confidence_calibration
from pixel_mm.metrics.concordance import Concordance, concordance, pearson
from pixel_mm.metrics.intervals import speaker_interval, speaker_totals
from pixel_mm.metrics.recall import (
    UnweightedAverageRecall,
    accuracy,
    confusion_counts,
    majority_rate,
    precisions,
    recalls,
    unweighted_average_recall,
)


def test_concordance_by_hand():
    # Means 2 and 3, variances 2/3 both, covariance 2/3: 2 * 2/3 / (4/3 + 1) = 4/7.
    assert concordance([1, 2, 3], [2, 3, 4]) == pytest.approx(4 / 7)
    assert pearson([1, 2, 3], [2, 3, 4]) == pytest.approx(1)
    assert concordance([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
    assert concordance([3, 2, 1], [1, 2, 3]) == pytest.approx(-1)


def test_concordance_is_rho_times_bias_correction():
    random = np.random.default_rng(0)
    x, y = random.random(200), random.random(200)
    y = 0.3 * x + 0.5 * y
    scale, shift = x.std() / y.std(), (x.mean() - y.mean()) / np.sqrt(x.std() * y.std())
    correction = 2 / (scale + 1 / scale + shift**2)  # Lin 1989, equation 3
    assert concordance(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1] * correction)
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_concordance_without_spread():
    assert concordance([0.5, 0.5], [0.2, 0.8]) == 0
    assert np.isnan(concordance([0.5, 0.5], [0.5, 0.5]))
    assert np.isnan(pearson([0.5, 0.5], [0.2, 0.8]))
    assert np.isnan(concordance([], []))


@pytest.mark.parametrize(("x", "y", "what"), [([1, 2], [1], "same length"), ([1, float("nan")], [1, 2], "NaN")])
def test_concordance_refuses(x, y, what):
    with pytest.raises(ValueError, match=what):
        concordance(x, y)


def test_recall_against_sklearn():
    random = np.random.default_rng(1)
    true, called = random.choice(5, 300, p=[0.5, 0.2, 0.1, 0.1, 0.1]), random.integers(5, size=300)
    counts = confusion_counts(called, true, 5)
    assert (counts == confusion_matrix(true, called)).all()
    assert unweighted_average_recall(counts) == pytest.approx(balanced_accuracy_score(true, called))
    assert accuracy(counts) == pytest.approx(accuracy_score(true, called))
    assert majority_rate(counts) == pytest.approx(np.bincount(true).max() / 300)


def test_recall_by_hand_with_an_absent_class():
    # Class 0: 2 of 3 right. Class 1: 1 of 1. Class 2 has no clip and doesn't count, but was called once.
    counts = confusion_counts([0, 0, 2, 1], [0, 0, 0, 1], 3)
    assert unweighted_average_recall(counts) == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(recalls(counts)[2])
    assert precisions(counts)[2] == 0
    assert majority_rate(counts) == 0.75


def test_recall_refuses_class_numbers_out_of_range():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        confusion_counts([0, 2], [0, 1], 2)


def test_calibration_by_hand():
    # Confidences 0.9 (right), 0.9 (wrong), 0.6 (right): gaps |1 - 1.8| and |1 - 0.6|, over 3.
    result = calibration([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4]], [0, 0, 0], num_bins=10)
    assert result["ece"] == pytest.approx((0.8 + 0.4) / 3)
    assert result["confidence"] == pytest.approx(0.8)
    assert result["accuracy"] == pytest.approx(2 / 3)


def test_calibration_ends():
    assert calibration([[1.0, 0.0]] * 4, [0] * 4)["ece"] == pytest.approx(0)
    assert calibration([[1.0, 0.0]] * 4, [1] * 4)["ece"] == pytest.approx(1)
    assert calibration([[1.0, 0.0]] * 4, [-1] * 4)["accuracy"] == 0
    with pytest.raises(ValueError, match="softmax"):
        calibration([[2.0, -1.0]], [0])
    with pytest.raises(ValueError, match="softmax"):
        calibration([[float("nan"), 1.0]], [0])


def test_metric_classes_work_without_a_network_and_leave_no_file(monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    made = {"cache_dir": str(tmp_path)}
    assert Concordance(**made).compute(predictions=[1.0, 2.0, 3.0], references=[2.0, 3.0, 4.0])["ccc"] == pytest.approx(
        4 / 7
    )
    assert UnweightedAverageRecall(**made).compute(predictions=[0, 0, 1], references=[0, 1, 1])["ua"] == pytest.approx(
        0.75
    )
    found = CalibrationError(**made).compute(predictions=[[0.9, 0.1]], references=[0], num_bins=10)
    assert found["ece"] == pytest.approx(0.1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def means(sums):
    """Of resamples' sums [R, 2]: of values, and of ones."""
    return sums[:, 0] / sums[:, 1]


def totals_of(values, speakers):
    return speaker_totals(np.stack([values, np.ones(len(values))], axis=1), speakers)


def test_interval_is_seeded_and_ignores_the_order_of_rows():
    random = np.random.default_rng(2)
    speakers = np.repeat([f"{number:02d}" for number in range(8)], 10)
    values = random.random(80)
    one = speaker_interval(means, totals_of(values, speakers), seed=3)
    order = random.permutation(80)
    assert one == pytest.approx(speaker_interval(means, totals_of(values[order], speakers[order]), seed=3))
    assert one != speaker_interval(means, totals_of(values, speakers), seed=4)
    assert one[0] < values.mean() < one[1]


def test_interval_draws_whole_speakers():
    # Two speakers, one always right and one always wrong: a resample is 0, 0.5 or 1 right, and the 95 % limits
    # are 0 and 1. Drawing 200 single clips would give about 0.43 to 0.57.
    right = np.repeat([1.0, 0.0], 100)
    assert speaker_interval(means, totals_of(right, ["a"] * 100 + ["b"] * 100)) == (0.0, 1.0)


def test_interval_is_that_of_drawing_speakers_one_by_one():
    random = np.random.default_rng(7)
    speakers, values = np.repeat(np.arange(12), 4), random.random(48)
    drawn = [
        np.concatenate([values[speakers == number] for number in random.integers(12, size=12)]).mean()
        for _ in range(4000)
    ]
    interval = speaker_interval(means, totals_of(values, speakers), num_resamples=20000)
    assert interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)


def test_interval_covers_the_truth_as_often_as_it_says():
    random, covered = np.random.default_rng(5), 0
    for trial in range(200):
        values = np.repeat(random.normal(size=30), 5) + 0.3 * random.normal(size=150)
        low, high = speaker_interval(means, totals_of(values, np.repeat(np.arange(30), 5)), seed=trial)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_interval_needs_two_speakers():
    assert speaker_interval(means, totals_of(np.ones(2), ["a", "a"])) is None
    with pytest.raises(ValueError, match="level"):
        speaker_interval(means, totals_of(np.ones(2), ["a", "b"]), level=95)


def test_confidence_is_held_against_how_often_it_is_right() -> None:
    found = confidence_calibration([0.05, 0.05, 0.95, 0.95], [1, 0, 1, 1])
    assert found == pytest.approx({"ece": 0.25, "confidence": 0.5, "accuracy": 0.75})
    assert np.isnan(confidence_calibration([], [])["ece"])
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        confidence_calibration([0.5, np.nan], [1, 0])
    with pytest.raises(ValueError, match="two lists of one length"):
        confidence_calibration([0.5], [1, 0])
