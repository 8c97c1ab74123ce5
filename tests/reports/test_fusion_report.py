import json
import re
from pathlib import Path

import numpy as np
import pytest

from pixel_mm.reports.fusion_figures import attention_figure, gate_figure
from pixel_mm.reports.fusion_report import write_fusion_report

AGREEMENT = {"ccc": 0.612, "pearson": 0.7, "ci95": (0.5, 0.7)}
UNKNOWN = {"ccc": None, "pearson": None, "ci95": None}
ALARMS = {"recall": 0.75, "false_alarms": None, "groups": {"slur_h": {"alarmed": 0.5, "num_rows": 2}}}
HEADS = {
    "recall": 0.75, "recall_ci95": (0.5, 1.0), "false_alarms": 0.25, "false_alarms_ci95": None,
    "groups": {"implied": {"alarmed": 0.5, "num_rows": 4, "ci95": (0.25, 0.75)}},
}  # fmt: skip
METRICS = {
    "model": "tiny",
    "num_rows": 12,
    "num_speakers": 3,
    "label_source": "constructed",
    "scores": {"valence": {"fused": AGREEMENT, "text only": UNKNOWN}, "arousal": {"fused": AGREEMENT}},
    "gains": {"valence": {"text only": {"difference": 0.2, "ci95": (0.1, 0.3)}}},
    "masked_distress": {"fused": {"all": {"accuracy": 0.9, "num_rows": 4}}, "text only": {}},
    "response_loss": {"right": {"loss": 1.5}, "wrong": {"loss": 1.75, "above_right": 0.25, "ci95": (0.1, 0.4)}},
    "confidence": {
        "overall": {
            "num_rows": 12, "accuracy": 0.5, "confidence": 0.75, "ece": 0.25, "aurc": 0.3, "excess_aurc": 0.1,
        }
    },
    "heads": {"crisis": {"words alone": HEADS}},
    "hatecheck": {"before": ALARMS, "after": ALARMS},
    "crows_pairs": {"before": {"all": {"rate": 0.5, "num_pairs": 9}, "age": {"rate": 0.625, "num_pairs": 8}}},
}  # fmt: skip
CURVES = {"overall": (np.array([0.5, 1.0]), np.array([0.0, 0.5]))}


def test_every_number_is_in_the_report(tmp_path: Path) -> None:
    pictures = {"Gates": gate_figure({20: {"attention": 0.3}, 22: {"attention": -0.1, "feed-forward": 0.2}}, "tiny")}
    write_fusion_report(tmp_path, METRICS, CURVES, pictures)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for line in (
        "12 test rows of 3 speakers, constructed labels",
        "| valence | fused | 0.612 | 0.500 to 0.700 | 0.700 |",
        "| valence | text only | - | - | - |",
        "| valence | text only | 0.200 | 0.100 to 0.300 |",
        "| fused | 90.0 % |",
        "| wrong | 1.750 | 0.250 | 0.100 to 0.400 |",
        "| overall | 12 | 50.0 % | 75.0 % | 25.0 % | 0.300 | 0.100 |",
        "| before | 75.0 % | - | - |",
        "| slur_h | 50.0 % | 50.0 % |",
        "| age | 62.5 % |",
        "| crisis | words alone | 75.0 % | 50.0 % to 100.0 % | 25.0 % | - |",
        "| crisis | words alone | implied | 4 | 50.0 % | 25.0 % to 75.0 % |",
    ):
        assert line in text
    for file in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / file).read_bytes().startswith(b"\x89PNG")
    assert text.count("![") == 3
    assert json.loads((tmp_path / "metrics.json").read_text())["gains"] == json.loads(json.dumps(METRICS["gains"]))


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    bare = {key: METRICS[key] for key in ("model", "num_rows", "num_speakers")} | {"label_source": None}
    write_fusion_report(tmp_path, bare, {}, {})
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("Not measured in this run.") == 9
    assert "no labels" in text


def test_attention_pictures_name_every_word() -> None:
    weights = np.full((3, 8), 1 / 8)
    figure = attention_figure(weights, ["I", " am", "\n"], 2.0, "a $5 clip", np.zeros(100))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["I", "am", "↵"]
    assert figure.axes[0].get_images()[0].get_extent()[:2] == [0, 2.0]
    long = attention_figure(np.full((90, 4), 0.25), ["a"] * 90, 1.0, "long")
    assert len(long.axes[0].get_yticks()) == 60
    with pytest.raises(ValueError, match="a row for each of 2 words"):
        attention_figure(weights, ["a", "b"], 2.0, "broken")
