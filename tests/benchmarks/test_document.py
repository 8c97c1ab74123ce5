import json
from pathlib import Path

import pytest

from benchmarks.document import DOCUMENT, RESULTS, DocumentError, main, make_document, read_results
from benchmarks.report import Measure, write_report

MEASURES = [
    Measure("1-emodb-emotion-ua", "UA of emotion | pooled", 95.26, "%", ">= 95", (92.1, 97.3), "92.6 %, published"),
    Measure("1-emodb-valence-ua", "UA of valence", 91.0, "%", ">= 92"),
    Measure("1-emodb-emotion-majority", "majority rate", 23.74, "%"),
    Measure("1-ravdess-emotion-ua", "NOT RUN here", None, "%"),
]


def test_the_committed_document_is_what_the_committed_results_give() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == make_document(read_results(RESULTS)), "run: make benchmark-docs"


def test_the_document_shows_targets_and_what_stands_beside_them(tmp_path: Path) -> None:
    write_report(tmp_path / "emotion_accuracy.json", "emotion_accuracy", MEASURES)
    text = make_document(read_results(tmp_path))
    assert "| 1-emodb-emotion-ua | UA of emotion \\| pooled | 95.3 % | 92.1 to 97.3 | >= 95 | yes |" in text
    assert "| 1-emodb-valence-ua | UA of valence | 91.0 % | - | >= 92 | **no** |" in text
    assert "| 1-emodb-emotion-majority | majority rate | 23.7 % | - |" in text
    assert "| 1-ravdess-emotion-ua | NOT RUN here | - | - |" in text
    assert "- 1-emodb-emotion-ua: 92.6 %, published" in text


def test_the_order_is_the_topics_and_the_same_each_time(tmp_path: Path) -> None:
    for topic in ("zebra", "emotion_speed", "emotion_accuracy"):
        write_report(tmp_path / f"{topic}.json", topic, MEASURES)
    main(["--results", str(tmp_path), "--output", str(tmp_path / "one.md")])
    main(["--results", str(tmp_path), "--output", str(tmp_path / "two.md")])
    text = (tmp_path / "one.md").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.md").read_text(encoding="utf-8")
    assert text.index("Emotion: accuracy") < text.index("Emotion: speed") < text.index("## Zebra")


def test_smoke_runs_and_foreign_files_are_refused(tmp_path: Path) -> None:
    write_report(tmp_path / "a.json", "emotion_speed", MEASURES, quick=True)
    with pytest.raises(DocumentError, match=r"a\.json is of a smoke run"):
        read_results(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"other": 1}), encoding="utf-8")
    with pytest.raises(DocumentError, match="written by no benchmark"):
        read_results(tmp_path)
