"""The benchmark of word times, with a recogniser that is wrong by what a test wants."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from benchmarks import recognition_times
from benchmarks.recognition_times import Edge, Phrase, cut, edges, join, main, measures
from pixel_mm.inference.transcript import Word

RATE = 16_000


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def clip(*parts: tuple[float, float]) -> np.ndarray:
    """Seconds of a tone, then of a quiet room, and so on."""
    room = np.random.default_rng(0)
    pieces = [
        piece for loud, quiet in parts for piece in (tone(loud), 1e-4 * room.standard_normal(round(quiet * RATE)))
    ]
    return np.concatenate(pieces).astype(np.float32)


def test_clips_are_cut_in_their_pauses() -> None:
    phrases = cut(clip((0.0, 0.5), (1.0, 0.3), (0.2, 0.3), (0.7, 0.05), (0.5, 1.0)))
    assert [phrase.waveform.size / RATE for phrase in phrases] == pytest.approx([1.0, 1.25], abs=0.02)
    assert phrases[0].noise == pytest.approx(1e-4, rel=0.3)


def test_phrases_are_joined_at_the_samples_that_are_told() -> None:
    phrases = [Phrase(tone(1 + number / 10), 1e-5) for number in range(12)]
    recordings = join(phrases)
    assert sum(len(each.phrases) for each in recordings) == 12
    for recording in recordings:
        for start, phrase in recording.phrases:
            assert np.array_equal(recording.waveform[start : start + phrase.waveform.size], phrase.waveform)
    assert max(each.waveform.size for each in recordings) / RATE < 26


def test_errors_are_of_the_words_that_are_the_same() -> None:
    phrases = [Phrase(tone(1.0), 0.0), Phrase(tone(2.0), 0.0)]
    recording = recognition_times.Joined(tone(3.5), ((1600, phrases[0]), (19_200, phrases[1])))
    alone = {id(phrases[0]): "One, two", id(phrases[1]): "three four five"}
    words = [Word("one", 0.11, 0.5, 1), Word("two!", 0.5, 1.08, 1), Word("Three", 1.25, 2, 1), Word("fife", 2.5, 3, 1)]
    found = edges(0, recording, lambda *_: SimpleNamespace(words=words), alone)  # type: ignore[arg-type]
    errors = [edge.error_seconds for edge in found]
    assert errors[:3] == pytest.approx([0.01, -0.02, 0.05])
    assert errors[3] is None
    between = [*words[:2], Word("then", 1.1, 1.2, 1), *words[2:]]  # which of the two times is to be right?
    found_between = edges(0, recording, lambda *_: SimpleNamespace(words=between), alone)  # type: ignore[arg-type]
    assert [edge.error_seconds is None for edge in found_between] == [False, True, True, True]
    assert [edge.gap_seconds for edge in found] == pytest.approx([np.inf, 0.1, 0.1, np.inf])


def test_percentiles_of_what_is_right_and_the_share_of_it() -> None:
    found = [Edge(number, gap, 0.01) for number in range(10) for gap in (0.0, 0.4)]
    found += [Edge(0, 0.0, None), Edge(0, 0.0, -0.4), Edge(0, 0.0, 0.4)]
    values = {measure.id: measure for measure in measures("tiny", found)}
    assert values["5-tiny-median"].value == pytest.approx(10)
    assert values["5-tiny-p95"].value > 100
    assert (values["5-tiny-median"].reached, values["5-tiny-p95"].reached) == (True, False)
    assert values["5-tiny-p95-gap"].value == pytest.approx(10)
    assert values["5-tiny-p95-hard"].value == pytest.approx(400)
    assert values["5-tiny-words"].value == pytest.approx(100 * 22 / 23)
    low, high = values["5-tiny-p95"].interval or (0, 0)
    assert low <= values["5-tiny-p95"].value <= high
    assert measures("none", [])[0].value is None


def test_a_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "test-other" / "1" / "2"
    folder.mkdir(parents=True)
    for number in range(2):
        soundfile.write(folder / f"1-2-{number:04d}.flac", clip((1.0, 0.5), (1.5, 0.5)), RATE)

    def load(*_: object, **options: object) -> object:
        assert options["words"] is True
        return lambda waveform, _: SimpleNamespace(text="so", words=[Word("so", 0.0, waveform.size / RATE, 1.0)])

    monkeypatch.setattr(recognition_times.SpeechRecognizer, "load", load)
    main(
        ["--output", str(tmp_path / "out.json"), "--model", "tiny=DIR", "--librispeech-root", str(tmp_path), "--quick"]
    )
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["topic"], written["quick"]) == ("recognition_times", True)
    assert {each["id"] for each in written["measures"]} >= {"5-tiny-median", "5-tiny-p95"}
