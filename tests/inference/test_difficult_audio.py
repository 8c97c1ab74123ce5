"""Recordings that a recogniser must survive or refuse: three hours, empty files, a dead channel."""

import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pixel_mm.audio import AudioError, Waveform
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.transcript import Word
from pixel_mm.inference.voice_activity import FRAME_SAMPLES, VoiceActivity
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis

RATE = 16_000
MINUTES = 180


class Loudness(VoiceActivity):
    """Takes for speech what is not silent, block by block; blocks need not be whole frames here."""

    def __init__(self) -> None:
        super().__init__(None)

    def probabilities(self, blocks: Iterable[Waveform]) -> np.ndarray:
        found = []
        for block in blocks:
            padded = np.pad(np.abs(block) > 1e-3, (0, -block.size % FRAME_SAMPLES))
            found.append(padded.reshape(-1, FRAME_SAMPLES).any(axis=1).astype(np.float32))
        return np.concatenate(found)


class Timekeeper:
    """Writes how many seconds of a clip it heard."""

    def check(self, options: DecodingOptions) -> None:
        """It can do all."""

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        return [Hypothesis((round(each.size / RATE),), (-0.1,), 0.0, "en") for each in waveforms]

    def text(self, hypothesis: Hypothesis) -> str:
        return f"{hypothesis.tokens[0]} seconds"

    def is_doubtful(self, hypothesis: Hypothesis) -> bool:
        return False

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        return []

    def confidences(self, hypothesis: Hypothesis) -> None:
        return None


def recognizer() -> SpeechRecognizer:
    return SpeechRecognizer(Timekeeper(), Loudness())


@pytest.mark.slow
def test_three_hours_are_transcribed_in_a_tenth_of_their_size(tmp_path: Path) -> None:
    minute = np.zeros(60 * RATE, np.float32)
    minute[: 5 * RATE] = 0.3 * np.sin(np.arange(5 * RATE) / 3)
    path = tmp_path / "three_hours.flac"
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(MINUTES):
            file.write(minute)
    tracemalloc.start()
    try:
        found = recognizer().file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.duration_seconds == pytest.approx(60 * MINUTES)
    assert len(found.segments) == MINUTES
    assert found.segments[-1].start_seconds == pytest.approx(60 * (MINUTES - 1), abs=1)
    assert peak < 4 * 60 * RATE * MINUTES / 10  # of float32 samples


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all"])
def test_a_file_without_audio_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"broken\.wav"):
        recognizer().file(tmp_path / "broken.wav")


def test_a_header_without_samples_is_refused_by_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(AudioError, match=r"empty\.wav"):
        recognizer().file(tmp_path / "empty.wav")


def test_a_truncated_file_gives_an_error_and_no_half_a_transcript(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, 0.3 * np.random.default_rng(0).standard_normal(40 * RATE).clip(-3, 3) / 3, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"cut\.flac"):
        recognizer().file(path)


def test_8_khz_stereo_with_a_dead_channel_that_is_clipped_is_heard(tmp_path: Path) -> None:
    loud = np.clip(3 * np.sin(np.arange(8_000 * 4) / 3), -1, 1)
    soundfile.write(tmp_path / "phone.wav", np.stack([loud, np.zeros_like(loud)], axis=1), 8_000)
    assert recognizer().file(tmp_path / "phone.wav").text == "4 seconds"
