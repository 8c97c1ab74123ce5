"""Measures of made-up folds, and a smoke run on the real recordings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fusion_agreement import Agreement
from benchmarks.fusion_folds import BASELINES, HEARD
from benchmarks.fusion_quality import answer_measures, further_measures, main, pair_measures, plan
from pixel_mm.data.fusion.written_sets import CrisisSuite
from pixel_mm.metrics.concordance import concordance

RANDOM = np.random.default_rng(0)


def made_up(number: int, noise: dict[str, float]) -> dict[str, Any]:
    """A fold of two speakers whose variants are as far from the truth as `noise` says."""
    targets = {name: RANDOM.random(60) for name in HEARD}
    distressed = np.arange(16) % 2 == 0
    counts = np.full(12, 5.0)
    return {
        "speakers": [f"s{number}{row % 2}" for row in range(60)],
        "groups": ["both" if row % 5 else "voice decides" for row in range(60)],
        "targets": {name: values.tolist() for name, values in targets.items()},
        "texts": [f"sentence {row}" for row in range(60)],
        "clips": [f"clip {number}.{row // 3}" for row in range(60)],
        "words": RANDOM.random(60).tolist(),
        "voices": {name: np.repeat(RANDOM.random(20), 3).tolist() for name in HEARD},
        "scores": {
            variant: {
                name: (targets[name][:, None] + size * RANDOM.standard_normal((60, 1))).tolist() for name in HEARD
            }
            for variant, size in noise.items()
        },
        "confidence": {"sure": [0.75] * 4, "right": [1.0, 1.0, 1.0, 0.0]},
        "distress": {
            "groups": np.where(distressed, "masked", "reverse").tolist(),
            "speakers": [f"s{number}{row % 2}" for row in range(16)],
            "valence": {"fused": np.where(distressed, 0.2, 0.8).tolist(), "text only": [0.2] * 16},
        },
        "answers": {
            "speakers": [f"s{number}{row % 2}" for row in range(12)],
            "counts": counts.tolist(),
            "right": counts.tolist(),
            "wrong": (counts + 1 + 0.1 * RANDOM.random(12)).tolist(),
            "none": (counts + 2).tolist(),
        },
        "reading": {"said": [0.1, 0.2, 0.4], "rated": [0.0, 0.2, 0.3]},
        "crisis": {"words alone": [row.scores["crisis"] for row in CrisisSuite().read()]},
    }


def made_up_folds(audio_only: float) -> list[dict[str, Any]]:
    noise = {"fused": 0.05, "text only": 0.6, "audio only": audio_only, "prosody in words": 0.5, "wrong voice": 0.6}
    return [made_up(number, noise) for number in range(5)]


def test_a_clear_gain_reaches_its_targets_and_a_small_one_does_not() -> None:
    for noise, reached in ((0.3, True), (0.05, False)):
        by_id = {measure.id: measure for measure in pair_measures(made_up_folds(noise), "pairs", judged=True)}
        assert by_id["2-above-text-only"].reached is True
        assert by_id["2-apart-text-only"].reached is True
        assert by_id["2-above-audio-only"].reached is reached
        assert by_id["2-apart-audio-only"].reached is reached
        assert by_id["2-fallback"].reached is True
        assert {f"2-above-{name.replace(' ', '-')}" for name in BASELINES} <= by_id.keys()
    assert {measure.target for measure in pair_measures(made_up_folds(0.3), "pairs", judged=False)} == {None}


def test_a_baseline_that_was_left_out_is_named_as_not_run() -> None:
    folds = made_up_folds(0.3)
    for fold in folds:
        del fold["scores"]["prosody in words"]
    by_id = {measure.id: measure for measure in pair_measures(folds, "pairs", judged=False)}
    assert by_id["2-above-prosody-in-words"].value is None
    assert "NOT RUN" in by_id["2-above-prosody-in-words"].what


def test_agreement_is_that_of_all_folds_together() -> None:
    folds = made_up_folds(0.2)
    joined = [
        concordance(
            np.concatenate([np.ravel(fold["scores"]["audio only"][name]) for fold in folds]),
            np.concatenate([fold["targets"][name] for fold in folds]),
        )
        for name in HEARD
    ]
    value, limits = Agreement(folds).mean("audio only")
    assert value == pytest.approx(np.mean(joined))
    assert limits is not None
    assert limits[0] < value < limits[1]
    assert Agreement(folds).by_name("audio only", "arousal")[0] == pytest.approx(joined[1])
    assert Agreement(folds).gain("audio only", "audio only")[0] == 0
    only = Agreement(folds, [group == "both" for fold in folds for group in fold["groups"]])
    assert only.mean("audio only")[0] != value


def test_draws_of_a_variant_count_alike() -> None:
    folds = made_up_folds(0.2)
    once, limits = Agreement(folds).mean("wrong voice")
    for fold in folds:
        for name in HEARD:
            fold["scores"]["wrong voice"][name] = [3 * said for said in fold["scores"]["wrong voice"][name]]
    thrice = Agreement(folds).mean("wrong voice")
    assert thrice[0] == pytest.approx(once)
    assert thrice[1] == pytest.approx(limits)
    for fold in folds:
        for name in HEARD:
            for said, target in zip(fold["scores"]["wrong voice"][name], fold["targets"][name], strict=True):
                said[1:] = [target, target]
    assert Agreement(folds).mean("wrong voice")[0] > once + 0.1


def test_answers_are_better_with_the_right_voice() -> None:
    by_id = {measure.id: measure for measure in answer_measures(made_up_folds(0.2), judged=True)}
    assert by_id["3-right"].value == 1
    assert by_id["3-wrong"].value == pytest.approx(0.21, abs=0.01)
    assert by_id["3-wrong-limit"].reached is True
    assert by_id["3-none"].value == pytest.approx(0.4)


def test_what_stands_beside_the_targets() -> None:
    by_id = {measure.id: measure for measure in further_measures(made_up_folds(0.2), None)}
    assert by_id["2-distress-all-fused"].value == 100
    assert by_id["2-distress-masked-text-only"].value == 100
    assert by_id["2-distress-reverse-text-only"].value == 0
    assert by_id["2-ece"].value == 0
    assert by_id["5-crisis-recall-words-alone"].value == 100
    assert by_id["5-crisis-false-alarms-words-alone"].value == 0
    assert by_id["5-crisis-auc-words-alone"].value == 1
    assert {measure.target for measure in by_id.values()} == {None}


def test_every_fold_is_tested_once_by_as_few_trainings_as_go() -> None:
    assert plan(5) == {1: {"test": 1, "validation": 2}, 3: {"test": 3, "validation": 4}, 0: {"test": 0}}
    assert plan(4) == {1: {"test": 1, "validation": 2}, 3: {"test": 3, "validation": 0}}
    for num_folds in range(3, 11):
        tested = [number for parts in plan(num_folds).values() for number in parts.values()]
        assert sorted(tested) == list(range(num_folds))


def test_nothing_to_train_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path / "x.json"), "--emodb-root", str(tmp_path / "nowhere")])
    assert "give --emodb-root" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.weights
def test_a_smoke_run_says_that_it_is_one(few_emodb: Path, tmp_path: Path) -> None:
    output = tmp_path / "quick.json"
    pairs = ("datamodule.sources.sentences=null", "datamodule.sources.pairs.sentences_per_clip=1")
    small = ("backbone=tiny_moe", "encoder=whisper_tiny_en", *pairs)
    roots = ("--emodb-root", str(few_emodb), "--hatecheck-root", str(tmp_path / "nowhere"))
    without = ("--without", "prosody in words", "--")  # to describe every voice takes a minute
    main(["--output", str(output), "--work", str(tmp_path / "work"), "--quick", *roots, *without, *small])
    report = json.loads(output.read_text())
    assert report["quick"] is True
    assert {measure["target"] for measure in report["measures"]} == {None}
    assert {"2-fused", "2-above-audio-only", "3-wrong", "2-ece"} <= {measure["id"] for measure in report["measures"]}
