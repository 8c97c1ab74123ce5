"""What is around the model, with an engine that says what a test wants; and real engines, tiny."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pixel_mm.audio import AudioError, Waveform
from pixel_mm.inference.doubt import is_believable, is_doubtful
from pixel_mm.inference.recognition_cli import main
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis
from pixel_mm.whisper_tokens import TokenizerError
from tests.counting_recognizer import RATE, Counting, numbers, recognizer, words


def test_a_short_clip_goes_to_the_model_whole() -> None:
    engine = Counting()
    silence = np.zeros(3 * RATE, np.float32)
    found = recognizer(engine)(np.concatenate([silence, numbers(5, 9), silence]), RATE)
    assert found.text == words(5, 9)
    assert engine.lengths == [10.0]
    assert (found.language, found.duration_seconds) == ("en", 10.0)
    assert found.segments[0].start_seconds == pytest.approx(2.6, abs=0.05)
    assert found.segments[0].end_seconds == pytest.approx(7.4, abs=0.05)
    assert found.confidence == pytest.approx(np.exp(-0.1))


class Impatient(Counting):
    """Ends its transcript at a pause of a second, as Whisper does now and then."""

    @staticmethod
    def _heard(waveform: Waveform) -> list[tuple[int, int]]:
        sounding = np.flatnonzero(np.abs(waveform) > 1e-3)
        ends = sounding[:-1][np.diff(sounding) > RATE]
        return Counting._heard(waveform[: ends[0] + 1 if ends.size else waveform.size])


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("before", [0, 40])
def test_what_is_left_out_behind_a_pause_is_heard_by_itself(timed: bool, before: int) -> None:
    breath, pause = np.zeros(RATE // 2, np.float32), np.zeros(round(1.12 * RATE), np.float32)
    said = [numbers(2, 5), breath, numbers(5, 7), pause, numbers(7, 10)]
    audio = np.concatenate([np.zeros(before * RATE, np.float32), *said])
    patient, impatient = Counting(), Impatient()
    for engine in (patient, impatient):
        found = recognizer(engine, words=timed)(audio, RATE)
        assert found.text == words(2, 10)
        assert [word.text for word in found.words] == (found.text.split() if timed else [])
    # Who leaves nothing out is asked once, for the whole.
    assert len(patient.lengths) == 1
    assert impatient.lengths == [patient.lengths[0], pytest.approx(6.3, abs=0.5), pytest.approx(3.8, abs=0.5)]


def test_speech_without_a_pause_is_heard_in_windows_and_written_once() -> None:
    engine = Counting()
    found = recognizer(engine)(numbers(2, 72), RATE)
    assert found.text == words(2, 72)
    assert engine.lengths == [28.0, 28.0, 22.0]
    assert len(found.segments) == 3


def test_words_have_their_times_in_the_recording_whatever_window_they_were_heard_in() -> None:
    assert recognizer()(numbers(2, 7), RATE).words == ()
    audio = np.concatenate([np.zeros(3 * RATE, np.float32), numbers(2, 72)])
    found = recognizer(words=True)(audio, RATE)
    assert found.text == words(2, 72)
    assert [word.text for word in found.words] == found.text.split()
    for number, word in enumerate(found.words):
        # A window may begin within a second; what it has of a word in its overlap is not what is kept.
        assert (word.start_seconds, word.end_seconds) == pytest.approx((3 + number, 4 + number), abs=0.11)
    for segment in found.segments:
        assert segment.start_seconds == segment.words[0].start_seconds
        assert segment.end_seconds == segment.words[-1].end_seconds


def test_calibrated_confidence_goes_with_its_words_over_seams() -> None:
    engine = Counting()
    assert recognizer(engine)(numbers(2, 7), RATE).calibrated is False
    engine.calibrated = True
    for timed in (False, True):
        found = recognizer(engine, words=timed)(numbers(2, 72), RATE)
        assert found.calibrated is True
        for segment in found.segments:
            said = [int(word[1:]) / 100 for word in segment.text.split()]
            assert segment.confidence == pytest.approx(np.mean(said))
            assert [word.confidence for word in segment.words] == (said if timed else [])
    assert recognizer(engine)(np.zeros(2 * RATE, np.float32), RATE).calibrated is False


def test_long_audio_is_cut_in_its_pauses(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    silence = np.zeros(5 * RATE, np.float32)
    soundfile.write(path, 0.3 * np.concatenate([numbers(2, 12), silence, numbers(12, 32), silence, silence]), RATE)
    found = recognizer().file(path)
    assert found.text == words(2, 32)
    assert found.duration_seconds == pytest.approx(45)
    starts = [round(segment.start_seconds) for segment in found.segments]
    assert starts == [0, 15]


def test_shorter_windows_make_shorter_segments() -> None:
    found = recognizer(window_seconds=8)(numbers(2, 42), RATE)
    assert found.text == words(2, 42)
    assert all(segment.end_seconds - segment.start_seconds <= 8 for segment in found.segments)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_stereo_other_rates_integers_and_clipping(rate: int) -> None:
    loud = np.clip(3 * numbers(3, 7, rate), -1, 1)
    stereo = (np.stack([loud, loud]) * 32_767).astype(np.int16)
    assert recognizer()(stereo, rate).text == words(3, 7)


def test_silence_gives_nothing_and_asks_nobody(tmp_path: Path) -> None:
    engine = Counting()
    assert recognizer(engine)(np.zeros(2 * RATE, np.float32), RATE).text == ""
    soundfile.write(tmp_path / "silent.wav", np.zeros(40 * RATE), RATE)
    found = recognizer(engine).file(tmp_path / "silent.wav")
    assert (found.segments, found.duration_seconds) == ((), 40.0)
    assert engine.lengths == []


def test_what_is_invented_is_left_out() -> None:
    said = Hypothesis((1,), (-0.2, -0.2), 0.9, "en")
    assert not is_doubtful(said)
    assert is_doubtful(replace(said, log_probabilities=(-1.5, -1.5)))
    assert is_doubtful(replace(said, log_probabilities=(-1.23,), no_speech_probability=0.35))
    assert is_doubtful(replace(said, log_probabilities=(-1.8,), no_speech_probability=0.05))
    assert not is_doubtful(replace(said, log_probabilities=(-1.1,), no_speech_probability=0.2))
    assert not is_doubtful(replace(said, log_probabilities=(-0.3,), no_speech_probability=0.5))
    assert is_believable("yes")
    assert not is_believable("")
    assert not is_believable("and again " * 30)
    doubtful = Counting(lambda found: replace(found, log_probabilities=(-2.0,), no_speech_probability=0.9))
    assert recognizer(doubtful)(numbers(2, 5), RATE).segments == ()


def test_the_first_speech_decides_the_language() -> None:
    engine = Counting(lambda found: replace(found, language="en"))
    silence = np.zeros(2 * RATE, np.float32)
    audio = np.concatenate([numbers(2, 20), silence, numbers(20, 40)])
    assert recognizer(engine, options=DecodingOptions(language=None))(audio, RATE).language == "en"
    assert [options.language for options in engine.options] == [None, "en"]


def test_an_unknown_language_and_impossible_options_are_refused_at_once() -> None:
    with pytest.raises(TokenizerError, match="language 'xx' is none that this model knows"):
        recognizer(options=DecodingOptions(language="xx"))
    with pytest.raises(ValueError, match=r"window_seconds=31.*8 to 30"):
        recognizer(window_seconds=31)
    with pytest.raises(ValueError, match=r"options\.timestamps"):
        recognizer(options=DecodingOptions(timestamps=True))


def test_what_is_no_recording_is_refused_by_name(tmp_path: Path) -> None:
    for waveform, message in (
        (np.full(RATE, np.nan), "NaN"),
        (np.zeros(0), "zero-length"),
        (numbers(2, 3)[:100], "25"),
    ):
        with pytest.raises(AudioError, match=message):
            recognizer()(waveform, RATE)
    soundfile.write(tmp_path / "short.wav", numbers(2, 3)[:100], RATE)
    soundfile.write(tmp_path / "good.wav", numbers(2, 4), RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF rubbish")
    paths = [tmp_path / name for name in ("short.wav", "bad.wav", "good.wav")]
    (_, short), (_, bad), (_, good) = recognizer().files(paths)
    assert "short.wav: 0.0063 s long" in str(short)
    assert "bad.wav: unreadable" in str(bad)
    assert good.text == words(2, 4)  # type: ignore[union-attr]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line with the counting engine, on a good file and a bad one."""
    soundfile.write(tmp_path / "good.wav", numbers(2, 5), RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF rubbish")

    def load(folder, backend, precision, threads, options, window, timed):  # type: ignore[no-untyped-def]
        return recognizer(options=options, window_seconds=window, words=timed)

    monkeypatch.setattr(SpeechRecognizer, "load", load)
    return lambda names, *options: main(["model", *(str(tmp_path / name) for name in names), *options])


def test_the_command_writes_text_json_and_subtitles(
    command: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert command(["good.wav"]) == 0
    assert capsys.readouterr().out == "w2 w3 w4\n"
    assert command(["good.wav", "bad.wav"], "--json") == 1
    printed = capsys.readouterr()
    good, bad = json.loads(printed.out)["files"]
    assert (good["text"], good["segments"][0]["text"], good["language"]) == ("w2 w3 w4", "w2 w3 w4", "en")
    assert "unreadable" in bad["error"]
    assert "unreadable" in printed.err
    assert good["segments"][0]["words"] == []
    assert command(["good.wav"], "--json", "--words") == 0
    timed = json.loads(capsys.readouterr().out)["files"][0]["segments"][0]["words"]
    assert [(word["text"], round(word["start_seconds"])) for word in timed] == [("w2", 0), ("w3", 1), ("w4", 2)]
    assert command(["good.wav"], "--srt") == 0
    assert capsys.readouterr().out == "1\n00:00:00,000 --> 00:00:03,000\nw2 w3 w4\n"
    assert main(["model", "--vtt", str(tmp_path / "good.wav")]) == 0  # options may come before files, too
    assert capsys.readouterr().out.startswith("WEBVTT\n\n00:00:00.000 --> ")


def test_a_users_mistake_is_told_on_stderr(command: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    assert command(["good.wav"], "--language", "xx") == 2
    assert "language 'xx'" in capsys.readouterr().err
    assert command(["good.wav", "bad.wav"], "--srt") == 2
    assert "--srt takes one file" in capsys.readouterr().err
    assert command(["good.wav"], "--words") == 2
    assert "--words needs --json" in capsys.readouterr().err
