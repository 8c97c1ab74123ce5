import json
from pathlib import Path

import pytest

from benchmarks.report import Measure, write_report


def test_a_target_is_judged_in_its_direction() -> None:
    assert Measure("4", "speed", 5.0, "times", ">= 5").reached is True
    assert Measure("4", "speed", 4.99, "times", ">= 5").reached is False
    assert Measure("5", "difference", 2e-4, "score", "<= 1e-4").reached is False
    assert Measure("5", "difference", None, "score", "<= 1e-4").reached is False
    assert Measure("5", "beside", 1.0, "ms").reached is None
    with pytest.raises(ValueError, match="neither"):
        Measure("5", "difference", 1.0, "score", "about 5")


def test_the_report_says_what_it_was_measured_with(tmp_path: Path) -> None:
    measure = Measure("4", "speed", 6.0, "times", ">= 5", (5.5, 6.5), "stock")
    write_report(tmp_path / "speed.json", "emotion_speed", [measure], quick=True)
    report = json.loads((tmp_path / "speed.json").read_text())
    assert list(report) == ["topic", "quick", "command", "commit", "date", "machine", "versions", "measures"]
    assert report["quick"] is True
    assert report["machine"]["cores"] >= 1
    assert "torch" in report["versions"]
    assert report["measures"] == [
        {
            "id": "4",
            "what": "speed",
            "value": 6.0,
            "unit": "times",
            "target": ">= 5",
            "reached": True,
            "interval": [5.5, 6.5],
            "against": "stock",
        }
    ]
