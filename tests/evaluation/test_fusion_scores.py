import numpy as np
import pytest

from pixel_mm.data.fusion.bias_sets import SentencePair
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.fusion.written_sets import CrisisSuite, MaskedDistress
from pixel_mm.evaluation.fusion_scores import agreement, alarms, distress_accuracy, gain, stereotype_rates
from pixel_mm.metrics.concordance import concordance
from tests.data.fusion.voices import VOICES, Given

RANDOM = np.random.default_rng(0)
TARGETS = RANDOM.random(400)
SPEAKERS = [f"s{number % 20}" for number in range(400)]
NEAR, FAR = (TARGETS + noise * RANDOM.standard_normal(400) for noise in (0.1, 0.4))


def test_agreement_has_an_interval_over_speakers() -> None:
    near, far = agreement(NEAR, TARGETS, SPEAKERS), agreement(FAR, TARGETS, SPEAKERS)
    assert near["ccc"] == pytest.approx(concordance(NEAR, TARGETS))
    for found in (near, far):
        assert found["ci95"][0] < found["ccc"] < found["ci95"][1]
    assert far["ci95"][1] < near["ci95"][0]
    assert agreement(NEAR, TARGETS, ["one"] * 400)["ci95"] is None
    assert agreement(np.full(400, 0.5), TARGETS, SPEAKERS)["pearson"] is None


def test_the_interval_covers_the_value_that_more_speakers_would_give() -> None:
    def one_study(random: np.random.Generator) -> tuple[float, float]:
        level = np.repeat(random.standard_normal(30), 10)  # what is right about a speaker's clips is right about all
        targets = level + random.standard_normal(300)
        noise = np.repeat(random.standard_normal(30), 10)
        return agreement(targets + noise, targets, [str(row // 10) for row in range(300)])["ci95"]

    true = 2 * 2 / (2 + 3)  # covariance 2, variances 2 and 3, equal means
    studies = [one_study(np.random.default_rng(seed)) for seed in range(60)]
    assert np.mean([low <= true <= high for low, high in studies]) > 0.85


def test_gains_are_paired() -> None:
    found = gain(NEAR, FAR, TARGETS, SPEAKERS)
    assert found["difference"] == pytest.approx(concordance(NEAR, TARGETS) - concordance(FAR, TARGETS))
    assert 0 < found["ci95"][0] < found["difference"] < found["ci95"][1]
    assert gain(NEAR, NEAR, TARGETS, SPEAKERS)["ci95"] == pytest.approx((0, 0))


def test_who_goes_by_the_words_is_right_about_half_of_the_masked_set() -> None:
    rows = MaskedDistress(Given(VOICES)).read()
    by_voice = [row.clip.ratings["valence"] for row in rows]
    assert {entry["accuracy"] for entry in distress_accuracy(by_voice, rows).values()} == {1.0}
    by_words = [float("fine:" in row.key) for row in rows]
    found = distress_accuracy(by_words, rows)
    assert (found["all"]["accuracy"], found["masked"]["accuracy"], found["both fine"]["accuracy"]) == (0.5, 0.0, 1.0)
    assert found["all"]["num_rows"] == len(rows)
    with pytest.raises(ValueError, match=r"valences \(3,\) must be"):
        distress_accuracy([0.1, 0.2, 0.3], rows)


def test_alarms_where_they_belong_and_where_they_do_not() -> None:
    rows = CrisisSuite().read()
    perfect = alarms([row.scores["crisis"] for row in rows], rows, "crisis")
    assert (perfect["recall"], perfect["false_alarms"]) == (1.0, 0.0)
    words = alarms([float("die" in row.text or "kill" in row.text) for row in rows], rows, "crisis")
    assert words["false_alarms"] > 0 < words["groups"]["figure_of_speech"]["alarmed"]
    assert words["groups"]["implied"]["alarmed"] == 0 < words["recall"] < 1
    assert "all" not in words["groups"]
    assert words["recall_ci95"][0] < words["recall"] < words["recall_ci95"][1]
    assert words["groups"]["implied"]["ci95"] == (0.0, 0.0)
    one = alarms([float(number % 2) for number in range(len(rows))], rows, "crisis", families=["all"] * len(rows))
    assert one["recall_ci95"] is None
    with pytest.raises(ValueError, match="1 rows have no score 'crisis'"):
        alarms([0.5], [FusionRow(key="x", speaker="y", text="z")], "crisis")
    with pytest.raises(ValueError, match="not NaN"):
        alarms([float("nan")], rows[:1], "crisis")


def test_an_even_handed_model_prefers_either_sentence_as_often() -> None:
    pairs = [SentencePair(str(number), "a", "b", "age" if number < 2 else "gender") for number in range(4)]
    found = stereotype_rates([-1, -2, -3, -1], [-2, -1, -3, -9], pairs)
    assert found["all"] == {"rate": 0.625, "num_pairs": 4}
    assert (found["age"]["rate"], found["gender"]["rate"]) == (0.5, 0.75)
