"""Bounds that follow from the definition of constructed pairs, on pairs made up by that definition."""

from typing import Any

import numpy as np
import pytest

from benchmarks.fusion_bounds import bounds, expected_valence, misled
from pixel_mm.data.fusion.constructed_pairs import joint_valence
from pixel_mm.metrics.concordance import concordance, pearson


@pytest.fixture(scope="module")
def pairs() -> dict[str, Any]:
    random = np.random.default_rng(0)
    clips = np.repeat(np.arange(200), 3)
    levels = random.choice([0.1, 0.3, 0.6, 0.9], 200)
    words = np.clip(0.5 + 0.25 * random.standard_normal(600), 0, 1)
    voices = {"valence": levels[clips], "arousal": random.random(200)[clips]}
    joint = [joint_valence(word, voice) for word, voice in zip(words, voices["valence"], strict=True)]
    return {
        "texts": [f"sentence {row}" for row in range(600)],
        "clips": [f"clip {number}" for number in clips],
        "words": words,
        "voices": voices,
        "targets": {"valence": np.array(joint), "arousal": voices["arousal"]},
    }


def expected(pairs: dict[str, Any], said: np.ndarray) -> np.ndarray:
    return expected_valence(pairs["voices"]["valence"], said, pairs["words"], np.array(pairs["texts"]))


def test_who_knows_everything_is_nearly_always_right(pairs: dict[str, Any]) -> None:
    assert pearson(expected(pairs, pairs["words"]), pairs["targets"]["valence"]) > 0.97


def test_no_estimate_from_the_voice_is_above_its_bound(pairs: dict[str, Any]) -> None:
    voice, target = pairs["voices"]["valence"], pairs["targets"]["valence"]
    bound = pearson(expected(pairs, np.zeros(600)), target)
    best = {level: target[voice == level].mean() for level in np.unique(voice)}
    fitted = np.array([best[level] for level in voice])
    assert bound == pytest.approx(pearson(fitted, target), abs=0.01)
    for estimate in (voice, fitted, np.sqrt(voice)):
        assert concordance(estimate, target) < bound + 0.01


def test_a_better_reader_gains_more(pairs: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).standard_normal(600)
    gains = []
    for size in (0.0, 0.25, 5.0):
        by_id = {measure.id: measure for measure in bounds(pairs, pairs["words"] + size * noise, 0.2)}
        gains.append(by_id["2-bound-gain"].value)
    assert gains[0] > gains[1] > gains[2]
    assert gains[2] == pytest.approx(0, abs=0.01)
    assert by_id["2-bound-fallback"].value == pytest.approx(np.mean([misled(pairs, s) for s in range(20)]) - 0.2)


def test_a_wrong_voice_misleads_and_never_is_the_own_one(pairs: dict[str, Any]) -> None:
    same = pairs | {"voices": {name: np.full(600, 0.5) for name in ("valence", "arousal")}}
    same["targets"] = {"valence": pairs["words"] / 2 + 0.25, "arousal": pairs["voices"]["arousal"]}
    assert misled(same, 0) == pytest.approx(0.5)  # all voices are alike: valence is right, arousal tells nothing
    assert misled(pairs, 0) < 0.3
