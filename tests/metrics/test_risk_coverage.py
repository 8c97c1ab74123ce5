import numpy as np
import pytest

from pixel_mm.metrics.risk_coverage import RiskCoverageArea, risk_coverage


def test_the_curve_by_hand() -> None:
    found = risk_coverage([0.9, 0.5, 0.8, 0.1], [0, 1, 0, 1])
    np.testing.assert_allclose(found.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found.risk, [0, 0, 1 / 3, 1 / 2])
    assert found.aurc == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert found.excess_aurc == pytest.approx(0)


def test_whoever_is_surest_of_mistakes_has_the_largest_area() -> None:
    random = np.random.default_rng(0)
    losses = random.random(200)
    best, guess, worst = (risk_coverage(sure, losses) for sure in (-losses, random.random(200), losses))
    assert best.excess_aurc == pytest.approx(0)
    assert best.aurc < guess.aurc < worst.aurc
    assert guess.risk[-1] == pytest.approx(losses.mean())


def test_the_order_of_equally_sure_predictions_does_not_matter() -> None:
    sure, losses = np.array([0.5, 0.5, 0.5, 0.9]), np.array([1.0, 0.0, 0.0, 0.0])
    for order in ([0, 1, 2, 3], [1, 2, 0, 3], [3, 2, 1, 0]):
        np.testing.assert_allclose(risk_coverage(sure[order], losses[order]).risk, [0, 1 / 6, 2 / 9, 1 / 4])


def test_what_cannot_be_measured() -> None:
    assert np.isnan(risk_coverage([], []).aurc)
    for sure, losses in (([1, 2], [1]), ([np.nan], [1]), ([1], [-1]), ([1], [np.inf])):
        with pytest.raises(ValueError, match=r"same length|finite"):
            risk_coverage(sure, losses)


def test_the_metric_by_name() -> None:
    found = RiskCoverageArea().compute(predictions=[0.9, 0.1], references=[1.0, 0.0])
    assert found == pytest.approx({"aurc": 0.75, "excess_aurc": 0.5})
