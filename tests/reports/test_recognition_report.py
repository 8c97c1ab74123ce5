"""The recognition report, from numbers that are there."""

import json

from pixel_mm.reports.recognition_report import write_recognition_report


def entry(rate):
    limits = None if rate is None else [rate / 2, rate * 2]
    kinds = {"substitutions": 1, "deletions": 0, "insertions": 0}
    return {"rate": rate, "ci95": limits, "references": 8, "errors": 1, **kinds}


def metrics(**changes):
    speed = {"num_clips": 2, "real_time_factor": 0.1, "latency": {"p50": 0.2, "p90": 0.3, "p95": 0.31, "p99": 0.33}}
    return {
        "num_clips": 2,
        "num_speakers": 2,
        "seconds": 90.0,
        "normaliser": "basic",
        "scores": {"word": entry(0.125), "character": entry(0.04)},
        "by_length": [
            {"above_seconds": 0.0, "up_to_seconds": 3.0, "num_clips": 1, **entry(None), "speed": speed},
            {"above_seconds": 30.0, "up_to_seconds": None, "num_clips": 1, **entry(0.125), "speed": None},
        ],
        "per_speaker": {
            "ann": {"num_clips": 1, "rate": 0.0, "references": 4, "errors": 0},
            "bob": {"num_clips": 1, "rate": 0.25, "references": 4, "errors": 1},
            "hush": {"num_clips": 1, "rate": None, "references": 0, "errors": 0},
        },
        "speed": speed,
        "batch": {"size": 8, "num_clips": 2, "different": []},
        "components": {"voice activity": 0.001, "encoder": 0.01, "decoder": 0.02},
        "suspect": [],
        "bad_clips": {},
        "worst": [
            {
                "clip": "clip-7",
                "speaker": "bob",
                "seconds": 2.5,
                "errors": 1,
                "rate": 0.25,
                "reference": "would be stew today",
                "hypothesis": "would be stool today",
            }
        ],
        **changes,
    }


def written(folder, **changes):
    write_recognition_report(folder, metrics(**changes), model="tiny", corpus="Made up")
    return (folder / "report.md").read_text(encoding="utf-8")


def test_it_says_rates_lengths_and_speed(tmp_path) -> None:
    text = written(tmp_path)
    assert "# tiny on Made up" in text
    assert "| words (WER) | 12.5 % | 6.2 to 25.0 % | 1 | 0 | 0 | 8 |" in text
    assert "| up to 3 s | 1 | - | - | 0.200 | 0.310 | 0.330 | 0.100 |" in text
    assert "| over 30 s | 1 | 12.5 % | 6.2 to 25.0 % | - | - | - | - |" in text
    assert text.index("| bob |") < text.index("| ann |") < text.index("| hush |")
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["model"] == "tiny"


def test_the_worst_are_listed_word_under_word(tmp_path) -> None:
    text = written(tmp_path)
    assert "### clip-7" in text
    assert "said:  would be stew  today\nheard: would be stool today\n                S" in text
    assert "No utterance has an error." in written(tmp_path, worst=[])


def test_an_utterance_without_words_is_named_so(tmp_path) -> None:
    silent = {**metrics()["worst"][0], "rate": None, "reference": "", "hypothesis": "thank you"}
    assert "1 errors (nothing was said)" in written(tmp_path, worst=[silent])


def test_many_speakers_are_cut_and_counted(tmp_path) -> None:
    brief = {"num_clips": 1, "references": 1, "errors": 0}
    many = {f"s{number:03}": {**brief, "rate": number / 100} for number in range(70)}
    text = written(tmp_path, per_speaker=many)
    assert "10 more speakers are in metrics.json." in text
    assert "| s069 |" in text
    assert "| s009 |" not in text


def test_what_should_not_be_is_named(tmp_path) -> None:
    text = written(
        tmp_path,
        batch={"size": 8, "num_clips": 2, "different": ["clip-3"]},
        suspect=["clip-7"],
        bad_clips={"clip-9": "silent"},
        components=None,
    )
    assert "**In batches of 8, 1 of 2 clips have another transcript than alone**: clip-3." in text
    assert "Perhaps the transcript of another clip: clip-7 (1 in all)." in text
    assert "- clip-9: silent" in text
    assert "cannot be taken apart" in text
