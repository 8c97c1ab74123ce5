"""The accuracy of recognition: what is counted, on utterances and recordings that are made here."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from benchmarks import recognition_accuracy
from benchmarks.nobody_speaks import KINDS, recordings
from benchmarks.recognition_accuracy import Test as Utterances
from benchmarks.recognition_accuracy import compare, main, model_measures, transcripts, wrapper_measures
from pixel_mm.model_folder import ModelFolderError
from tests.tiny_recognition import tiny_tokenizer


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
    assert (fewer.value, fewer.reached, fewer.interval) == (12.5, False, (0.0, 25.0))
    assert test.short() == ["1-0-0000"]
    assert test.joined_rate("a b c d e f g h") == 0


def test_an_utterance_without_a_transcript_is_refused_by_name(root: Path) -> None:
    next(root.rglob("2-0.trans.txt")).unlink()
    with pytest.raises(ValueError, match=r"1 of 2 clips of test-other have no transcript \(0/2-0-0001\.flac"):
        Utterances(root, None)


def test_a_corpus_without_short_utterances_is_refused_before_anything_runs(root: Path) -> None:
    next(root.rglob("1-0-0000.flac")).unlink()
    next(root.rglob("1-0.trans.txt")).unlink()
    with pytest.raises(ValueError, match="no clip of up to 6 s"):
        Utterances(root, None)


def test_utterances_are_joined_as_they_were_recorded(root: Path, tmp_path: Path) -> None:
    seconds = Utterances(root, None).join(tmp_path / "joined.flac")
    joined, rate = soundfile.read(tmp_path / "joined.flac", dtype="int16")
    assert (seconds, rate, joined.size) == (pytest.approx(2 + 0.8 + 7 + 0.8), 16_000, round(10.6 * 16_000))
    second, _ = soundfile.read(next(root.rglob("2-0-0001.flac")), dtype="int16")
    start = round(2.8 * 16_000)
    np.testing.assert_array_equal(joined[start : start + second.size], second)
    assert not joined[2 * 16_000 : start].any()


def test_clips_of_another_rate_are_not_joined(root: Path, tmp_path: Path) -> None:
    soundfile.write(next(root.rglob("2-0-0001.flac")), 0.1 * np.sin(np.arange(8_000)), 8_000)
    with pytest.raises(ValueError, match=r"clips of \[8000, 16000\] Hz"):
        Utterances(root, None).join(tmp_path / "joined.flac")


def test_the_joined_file_is_judged_as_single_clips_are(root: Path) -> None:
    class Recogniser:
        """Writes the first word of the second clip at the end of the first, alone and joined."""

        def __call__(self, waveform: np.ndarray, sample_rate_hz: float) -> SimpleNamespace:
            seconds = round(waveform.size / sample_rate_hz)
            return SimpleNamespace(text={2: "a b c d e", 7: "f g h", 1: "", 3: "hello"}[seconds])

        def file(self, path: Path) -> SimpleNamespace:
            assert soundfile.info(path).duration == pytest.approx(10.6)
            return SimpleNamespace(text="a b c d e f g")

    silent = {"silence 0": np.zeros(16_000), "tones 1": np.zeros(48_000)}
    sixth, seventh = wrapper_measures("m", Recogniser(), Utterances(root, None), silent)  # type: ignore[arg-type]
    assert (sixth.value, sixth.reached) == (50.0, False)
    assert "tones 1" in sixth.what
    assert (seventh.value, seventh.against) == (12.5, "one by one: 0.00 %")


def test_int8_on_short_context_is_held_against_full_context(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, worse = ({"1-0-0000": first, "2-0-0001": "e f g h"} for first in ("a b c d", "a b c x"))

    def heard(folder: Path, context: str, precision: str, *_: object) -> dict[str, str]:
        assert folder == Path(context)
        return worse if (context, precision) == ("short", "int8") else right

    monkeypatch.setattr(recognition_accuracy, "transcripts", heard)
    monkeypatch.setattr(recognition_accuracy, "peer_transcripts", lambda *_: right)
    test = Utterances(root, None)
    measures = model_measures("m", Path("full"), Path("short"), test, Path("python"), 2)
    judged = {measure.id: (measure.value, measure.reached) for measure in measures if measure.target}
    assert judged == {
        "1-m": (0.0, True), "2-m-brief-float32": (0.0, True), "2-m-all-float32": (0.0, True),
        "2-m-brief-int8": (25.0, False), "2-m-all-int8": (12.5, False),
        "4-m-full": (0.0, True), "4-m-short": (12.5, False),
    }  # fmt: skip


def test_folders_of_the_other_context_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Decoder:
        def hear(self, clips: Sequence[np.ndarray]) -> SimpleNamespace:
            return SimpleNamespace(inputs={"num_frames": np.array([1500 if self.full else clips[0].size // 320])})

    monkeypatch.setattr(recognition_accuracy, "load_tokenizer", lambda _: tiny_tokenizer())
    monkeypatch.setattr(recognition_accuracy.OnnxDecoder, "load", lambda *_: Decoder())
    monkeypatch.setattr(
        recognition_accuracy, "decode", lambda *_: [SimpleNamespace(tokens=tiny_tokenizer().encode("a"))]
    )
    clips = Utterances(root, None).clips
    for Decoder.full, given, other in ((True, "full", "short"), (False, "short", "full")):  # type: ignore[attr-defined]
        assert transcripts(root, given, "int8", clips, 1) == dict.fromkeys(clips, "a")  # type: ignore[arg-type]
        with pytest.raises(ModelFolderError, match=f"--{other}: the model in .* hears"):
            transcripts(root, other, "int8", clips, 1)  # type: ignore[arg-type]


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
