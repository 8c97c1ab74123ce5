"""Streams, with an engine that says what a test wants."""

import io
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixel_mm.audio import AudioError
from pixel_mm.inference.recognition_cli import main
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.streaming import PartialTranscript
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis
from tests.counting_recognizer import RATE, Counting, numbers, recognizer, words

SILENCE = np.zeros(2 * RATE, np.float32)


def cut(waveform: np.ndarray, seconds: float, rate: int = RATE) -> list[np.ndarray]:
    """In chunks of so many seconds."""
    size = round(seconds * rate)
    return [waveform[..., start : start + size] for start in range(0, waveform.shape[-1], size)]


def check_growth(found: list[PartialTranscript]) -> None:
    """Final text stays, word by word; only the last has a transcript, which says the same."""
    for before, after in pairwise(found):
        assert after.text.startswith(before.text)
        assert after.text.split()[: len(before.text.split())] == before.text.split()
        assert after.heard_seconds >= before.heard_seconds
        assert after.segments[: len(before.segments)] == before.segments
        assert before.transcript is None
    last = found[-1]
    assert last.transcript is not None
    assert (last.text, last.tentative, last.segments) == (last.transcript.text, "", last.transcript.segments)


def test_words_become_final_while_somebody_speaks() -> None:
    found = list(recognizer().stream(cut(np.concatenate([numbers(2, 9), SILENCE]), 0.1), RATE))
    check_growth(found)
    assert found[-1].text == words(2, 9)
    early = [partial for partial in found if partial.heard_seconds < 5]
    assert early[-1].text == words(2, 6)
    assert early[-1].tentative == "w6"
    at = {len(partial.text.split()): partial.heard_seconds for partial in reversed(found)}
    assert all(at[count] - count < 2 for count in range(1, 6))  # the word of a second is final 2 s after it at most
    transcript = found[-1].transcript
    assert transcript is not None
    whole = recognizer()(numbers(2, 9), RATE)
    assert (transcript.language, transcript.calibrated, len(transcript.segments)) == ("en", False, 1)
    assert transcript.duration_seconds == 9.0
    assert transcript.confidence == pytest.approx(whole.confidence)
    assert (transcript.segments[0].start_seconds, transcript.segments[0].end_seconds) == pytest.approx(
        (0, 7.4), abs=0.05
    )


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 170_000), max_size=5))
def test_chunks_of_any_size_give_the_same(places: list[int]) -> None:
    audio = np.concatenate([numbers(2, 6), SILENCE, numbers(6, 9)])[:170_000]
    found = list(recognizer().stream(np.split(audio, sorted(places)), RATE))
    assert found == list(recognizer().stream([audio], RATE))


def test_a_pause_ends_a_segment_and_makes_all_of_it_final() -> None:
    audio = np.concatenate([numbers(2, 5), SILENCE, numbers(5, 8), SILENCE])
    found = list(recognizer().stream(cut(audio, 0.25), RATE))
    check_growth(found)
    assert [segment.text for segment in found[-1].segments] == [words(2, 5), words(5, 8)]
    assert [round(segment.start_seconds, 1) for segment in found[-1].segments] == [0, 4.6]
    assert min(partial.heard_seconds for partial in found if partial.text == words(2, 5)) == pytest.approx(
        4.2, abs=0.05
    )
    late = list(recognizer().stream([audio], RATE, pause_seconds=3))
    assert [segment.text for segment in late[-1].segments] == [f"{words(2, 8)}"]


def test_speech_without_a_pause_is_heard_in_windows_and_written_once() -> None:
    engine = Counting()
    found = list(recognizer(engine).stream(cut(numbers(2, 72), 1.0), RATE))
    check_growth(found)
    assert found[-1].text == words(2, 72)
    assert max(engine.lengths) <= 28
    ends = [moment for each in found[-1].segments for moment in (each.start_seconds, each.end_seconds)]
    assert len(found[-1].segments) == 3
    assert ends[0] == 0
    assert ends[-1] == pytest.approx(70)


def test_the_longer_somebody_speaks_the_shorter_a_pause_is_enough() -> None:
    breath = np.zeros(RATE // 2, np.float32)
    audio = np.concatenate([numbers(2, 5), breath, numbers(5, 9), breath, numbers(9, 10), SILENCE])
    found = list(recognizer(window_seconds=12).stream([audio], RATE))
    assert [segment.text for segment in found[-1].segments] == [words(2, 9), words(9, 10)]


def test_a_stream_that_stops_in_mid_word_is_written_to_its_end() -> None:
    audio = np.concatenate([numbers(2, 5), numbers(5, 6)[: RATE // 4]])
    found = list(recognizer().stream(cut(audio, 0.01), RATE))
    check_growth(found)
    assert found[-1].text == words(2, 6)
    assert found[-1].heard_seconds == 3.25


@pytest.mark.parametrize("chunks", [[], [SILENCE[:0]], [np.zeros((2, 0))], [SILENCE[:5]], [SILENCE], [SILENCE] * 20])
def test_nothing_and_silence_give_an_empty_transcript_and_ask_nobody(chunks: list[np.ndarray]) -> None:
    engine = Counting()
    (found,) = recognizer(engine).stream(chunks, RATE)
    assert (found.text, found.tentative, found.segments) == ("", "", ())
    assert found.transcript is not None
    assert (found.transcript.text, found.transcript.language) == ("", "en")
    assert found.transcript.duration_seconds == sum(chunk.shape[-1] for chunk in chunks) / RATE
    assert engine.lengths == []


def test_what_is_invented_is_left_out() -> None:
    def doubtful(found: Hypothesis) -> Hypothesis:
        return replace(found, log_probabilities=(-2.0,), no_speech_probability=0.9)

    (found,) = recognizer(Counting(doubtful)).stream(cut(numbers(2, 40), 1.0), RATE)
    assert (found.text, found.segments) == ("", ())


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_stereo_other_rates_and_integers(rate: int) -> None:
    stereo = (np.stack([numbers(3, 7, rate)] * 2) * 30_000).astype(np.int16)
    found = list(recognizer().stream(cut(stereo, 0.02, rate), rate))
    check_growth(found)
    assert found[-1].text == words(3, 7)


def test_words_have_their_times_and_calibrated_confidence() -> None:
    engine = Counting()
    engine.calibrated = True
    audio = np.concatenate([SILENCE, numbers(2, 40), SILENCE, numbers(40, 44)])
    found = list(recognizer(engine, words=True).stream(cut(audio, 0.5), RATE))
    check_growth(found)
    transcript = found[-1].transcript
    assert transcript is not None
    assert transcript.calibrated
    assert [word.text for word in transcript.words] == transcript.text.split()
    for word in transcript.words:
        number = int(word.text[1:])
        start = number if number < 40 else number + 2
        assert (word.start_seconds, word.end_seconds) == pytest.approx((start, start + 1), abs=0.12)
        assert word.confidence == number / 100
    for segment in transcript.segments:
        assert segment.start_seconds == segment.words[0].start_seconds
        assert segment.confidence == pytest.approx(np.mean([word.confidence for word in segment.words]))


def test_the_first_speech_decides_the_language() -> None:
    engine = Counting(lambda found: replace(found, language="en"))
    audio = np.concatenate([numbers(2, 6), SILENCE, numbers(6, 9)])
    found = list(recognizer(engine, options=DecodingOptions(language=None)).stream([audio], RATE))
    assert found[-1].transcript is not None
    assert found[-1].transcript.language == "en"
    asked = [options.language for options in engine.options]
    assert asked[0] is None
    assert set(asked[asked.index("en") :]) == {"en"}
    assert asked.index("en") < 6


def test_hours_take_no_more_memory_than_minutes() -> None:
    def chunks(minutes: int) -> Iterator[np.ndarray]:
        for _ in range(minutes):
            yield np.concatenate([numbers(2, 12), SILENCE])
            yield from [SILENCE] * 10

    def peak(minutes: int) -> int:
        tracemalloc.start()
        try:
            for partial in recognizer(window_seconds=8).stream(chunks(minutes), RATE, step_seconds=2):
                assert partial.heard_seconds >= 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(5) < 1.2 * peak(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_seconds": 0.0}, "step_seconds=0; it must be 0.1 to 10"),
        ({"step_seconds": float("nan")}, "step_seconds=nan"),
        ({"pause_seconds": 0.1}, r"pause_seconds=0\.1; it must be 0\.3 to 10"),
        ({"sample_rate_hz": 4_000}, "sample rate 4000 Hz"),
        ({"chunks": SILENCE}, r"chunks is of type ndarray; give an iterable of arrays, e\.g\. \[waveform\]"),
        ({"chunks": None}, "chunks is of type NoneType"),
    ],
)
def test_bad_arguments_are_refused_at_once_and_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recognizer().stream(**{"chunks": [SILENCE], "sample_rate_hz": RATE, **options})  # type: ignore[arg-type]


def test_a_chunk_that_cannot_be_used_is_named_after_what_was_heard_before_it() -> None:
    for bad, message in ((np.full(RATE, np.nan), "NaN"), (np.zeros((2, RATE)), "2 channels")):
        stream = recognizer().stream([*cut(numbers(2, 6), 1.0), bad], RATE)
        assert next(stream).tentative.startswith("w2")
        with pytest.raises(AudioError, match=f"chunk 5: .*{message}"):
            list(stream)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line with the counting engine, and bytes on its standard input."""

    def load(folder, backend, precision, threads, options, window, timed):  # type: ignore[no-untyped-def]
        return recognizer(options=options, window_seconds=window, words=timed)

    def run(waveform: np.ndarray, *options: str) -> int:
        raw = (waveform * 30_000).astype("<i2").T.tobytes() + b"\0"  # the last sample came by half
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return main(["model", *options])

    monkeypatch.setattr(SpeechRecognizer, "load", load)
    return run


def test_the_command_writes_what_comes_through_a_pipe(
    pipe: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    audio = np.concatenate([numbers(2, 6), SILENCE, numbers(6, 8)])
    assert pipe(audio, "--stream") == 0
    assert capsys.readouterr().out == f"{words(2, 8)}\n"
    stereo = np.stack([numbers(2, 6, 8_000)] * 2)
    assert pipe(stereo, "--stream", "--sample-rate", "8000", "--channels", "2", "--json", "--words") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sorted(line) for line in lines[:-1]] == [["heard_seconds", "tentative", "text"]] * (len(lines) - 1)
    assert lines[-1]["text"] == lines[-1]["transcript"]["text"] == words(2, 6)
    assert len(lines[-1]["transcript"]["segments"][0]["words"]) == 4
    assert pipe(audio, "--stream", "--srt") == 0
    assert capsys.readouterr().out.startswith("1\n00:00:00,000 --> 00:00:04,")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stream", "a.wav"], "give FILES, or --stream to read standard input; not both"),
        ([], "give FILES, or --stream"),
        (["--stream", "--channels", "0"], "--channels is 0; it is 1 to 64"),
        (["--stream", "--sample-rate", "100"], "sample rate 100.0 Hz; between 8000"),
    ],
)
def test_a_users_mistake_is_told_on_stderr(
    pipe: Callable[..., int], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert pipe(SILENCE, *options) == 2
    assert message in capsys.readouterr().err
