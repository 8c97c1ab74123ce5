import json

import matplotlib.image
import numpy as np
import pytest

from pixel_mm.reports.behaviour_report import write_behaviour_report
from pixel_mm.reports.emotion_report import PlanePoints, write_emotion_report
from pixel_mm.reports.figures import confusion_figure, plane_figure, save_figure, speaker_figure
from pixel_mm.reports.tables import decimal, interval, markdown_table, percent


def entry(ua):
    return {"ua": ua, "accuracy": 0.8, "majority": 0.5, "ci95": [ua - 0.1, ua + 0.05]}


def metrics(**changes):
    concordance = {"valence": 0.7, "arousal": 0.8, "dominance": None, "label_source": "mapped"}
    brief = {"ua": 0.75, "accuracy": 0.8}
    return {
        "protocol": "leave_one_speaker_out",
        "corpus": "Made up",
        "num_clips": 4,
        "num_speakers": 2,
        "seeds": [1],
        "folds": {"run": [0, 1], "of": 2},
        "scores": {"arousal": entry(0.9), "valence": entry(0.7), "emotion": entry(0.85)},
        "ccc": concordance,
        "pearson": {"valence": 0.75, "arousal": 0.85, "dominance": None},
        "baselines": {
            "majority": {key: {"ua": 0.5, "accuracy": 0.5} for key in ("arousal", "valence", "emotion")},
            "loudness_only": {
                "scores": {"arousal": entry(0.6), "valence": entry(0.5), "emotion": None},
                "ccc": concordance,
            },
        },
        "calibration": {
            "arousal": None,
            "valence": None,
            "emotion": {"ece": 0.05, "confidence": 0.9, "accuracy": 0.85},
        },
        "confusion": {"classes": ["anger", "sadness"], "counts": [[2, 0], [1, 1]]},
        "per_class": {name: {"num_clips": 2, "recall": 0.5, "precision": None} for name in ("anger", "sadness")},
        "per_speaker": {
            who: {"sex": sex, "num_clips": 2, "arousal": brief, "valence": brief, "emotion": brief}
            for who, sex in (("a", "female"), ("b", None))
        },
        "worst_clips": [
            {"clip": "a|b.wav", "speaker": "a", "emotion": "sadness", "called": "anger", "confidence": 0.99}
        ],
        "bad_clips": {"c.wav": "silent"},
        "config_hash": "0123456789abcdef" * 4,
        **changes,
    }


PLANE = PlanePoints(np.random.default_rng(0).random((4, 2)), np.full((4, 2), np.nan), ["anger"] * 2 + ["sadness"] * 2)


def test_report_has_every_number_and_its_figures(tmp_path):
    write_emotion_report(tmp_path, metrics(), PLANE)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics()
    text = (tmp_path / "report.md").read_text()
    for wanted in (
        "| emotion | 85.0 % | 75.0 to 90.0 % | 80.0 % | 50.0 % | 50.0 % | - |",
        "nobody rated these clips",
        "| dominance | - | - | - |",
        "| b | unknown | 2 |",
        r"a\|b.wav",
        "| c.wav | silent |",
        "leave_one_speaker_out, 2 of 2 folds",
    ):
        assert wanted in text
    assert "Only some folds" not in text
    for name in ("plane", "confusion", "speakers"):
        assert f"](figures/{name}.png)" in text
        image = matplotlib.image.imread(tmp_path / "figures" / f"{name}.png")
        assert image[..., :3].std() > 0.05  # not a blank sheet


def test_some_folds_are_not_passed_off_as_the_protocol(tmp_path):
    write_emotion_report(tmp_path, metrics(folds={"run": [0], "of": 10}), PLANE)
    text = (tmp_path / "report.md").read_text()
    assert "1 of 10 folds" in text
    assert "Only some folds were run" in text


def test_a_corpus_with_ratings_only(tmp_path):
    rated = {"valence": 0.7, "arousal": 0.8, "dominance": 0.1, "label_source": "rated"}
    made = metrics(
        scores={"arousal": entry(0.9), "valence": entry(0.7), "emotion": None},
        ccc=rated,
        confusion=None,
        per_class={},
        calibration=dict.fromkeys(("arousal", "valence", "emotion")),
        worst_clips=[],
        bad_clips={},
    )
    for who in made["per_speaker"].values():
        who["emotion"] = None
    write_emotion_report(tmp_path, made, PLANE)
    text = (tmp_path / "report.md").read_text()
    assert "ratings by people" in text
    assert "mapped" not in text
    assert not (tmp_path / "figures" / "confusion.png").exists()


def test_figures_say_whose_labels_they_show():
    figure = plane_figure(PLANE.scores, PLANE.targets, PLANE.groups, "mapped", "title")
    assert "mapped" in figure.axes[0].get_title()
    assert confusion_figure(np.array([[1, 0], [0, 0]]), ["a", "b"], "t").axes[0].get_xlabel() == "called"


def test_many_speakers_and_a_speaker_without_an_answer(tmp_path):
    speakers = {f"s{n}": {"emotion": n / 60 if n else None, "arousal": 1.0} for n in range(60)}
    figure = speaker_figure(speakers, {"emotion": 0.5, "arousal": 1.0}, "t", {"emotion": 7, "arousal": 2})
    save_figure(figure, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 5000


def test_behaviour_report(tmp_path):
    check = {"kind": "fairness", "name": "gap", "value": 0.2, "limit": 0.1, "sense": "at most", "passed": False}
    untested = {**check, "name": "other", "value": None, "passed": None}
    findings = {
        "num_clips": 9,
        "num_speakers": 3,
        "label_source": "rated",
        "bad_clips": {},
        "checks": [check, untested],
    }
    write_behaviour_report(tmp_path, findings, "model", "Corpus")
    text = (tmp_path / "report.md").read_text()
    assert "| gap | 0.200 | at most 0.100 | FAIL |" in text
    assert "| other | - | at most 0.100 | not tested |" in text
    assert "0 checks passed, 1 failed, 1 not tested" in text
    assert json.loads((tmp_path / "behaviour.json").read_text())["checks"][0]["passed"] is False


def test_numbers_as_text():
    assert (percent(0.923), percent(None)) == ("92.3 %", "-")
    assert interval([0.88, 0.951]) == "88.0 to 95.1 %"
    assert decimal(0.12345) == "0.123"
    with pytest.raises(ValueError, match="1 cells"):
        markdown_table(("a", "b"), [("x",)])
