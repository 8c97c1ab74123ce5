"""The accuracy of recognition: what is counted, on utterances and recordings that are made here."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.nobody_speaks import KINDS, recordings
from benchmarks.recognition_accuracy import Test as Utterances
from benchmarks.recognition_accuracy import compare, main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, (speaker, seconds, text) in enumerate([("1", 2, "A B C D"), ("2", 7, "E F G H")]):
        folder = tmp_path / "test-other" / speaker / "0"
        folder.mkdir(parents=True)
        name = f"{speaker}-0-000{number}"
        rng = np.random.default_rng(number)
        soundfile.write(folder / f"{name}.flac", 0.1 * rng.standard_normal(16_000 * seconds), 16_000)
        (folder / f"{speaker}-0.trans.txt").write_text(f"{name} {text}\n")
    return tmp_path


def test_points_between_two_sides_and_their_interval(root: Path) -> None:
    test = Utterances(root, None)
    theirs = {"1-0-0000": "a b c d", "2-0-0001": "e f g x"}
    ours = {"1-0-0000": "a b c", "2-0-0001": "e f g x"}
    points, rate = compare("2-x", "ours", "<= 1", test, ours, theirs, "theirs", list(test.clips))
    assert (points.value, rate.value, points.reached) == (12.5, 25.0, False)
    assert points.interval == (0.0, 25.0)
    assert points.against == "theirs: 12.50 %"
    (fewer, _) = compare("1-x", "ours", "<= 0.3", test, theirs, ours, "theirs", list(test.clips), both_ways=True)
    assert (fewer.value, fewer.reached) == (12.5, False)
    assert test.short() == ["1-0-0000"]
    assert test.joined_rate("a b c d e f g h") == 0


def test_recordings_without_speech_are_of_all_kinds_and_lengths() -> None:
    voices = [np.sin(np.arange(5_000 + 100 * n, dtype=np.float32) / (3 + n)) for n in range(16)]
    made = recordings(voices, count=8)
    assert [sum(name.startswith(kind) for name in made) for kind in KINDS] == [2, 2, 2, 2]
    seconds = sorted(clip.size / 16_000 for clip in made.values())
    assert (seconds[0], seconds[-1]) == (1.0, 30.0)
    for name, clip in made.items():
        assert clip.dtype == np.float32
        assert np.isfinite(clip).all()
        assert np.abs(clip).max() <= 1, name
    again = recordings(voices, count=8)
    assert all(np.array_equal(clip, again[name]) for name, clip in made.items())


def test_a_model_needs_both_contexts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--output",
        str(tmp_path / "x.json"),
        "--faster-whisper",
        "python",
        "--short",
        "a=DIR",
        "--full",
        "b=DIR",
    ]
    with pytest.raises(SystemExit):
        main(options)
    assert "--full lacks a" in capsys.readouterr().err
