"""Streams of real speech, with published weights on short context."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.data.corpora.librispeech import LibriSpeech
from pixel_mm.data.utterance import Utterance
from pixel_mm.exporters.whisper_checkpoint import write_checkpoint
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.metrics.error_rates import count_errors, normaliser, total

RATE = 16_000
pytestmark = [pytest.mark.weights, pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> SpeechRecognizer:
    """Whisper tiny.en, as published."""
    folder = tmp_path_factory.mktemp("recognizer") / "model"
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        options = ["target=recognizer", "output=nowhere", "recognizer.network.context=short"]
        chosen = compose("export", options).recognizer
    write_checkpoint(instantiate(chosen.network), instantiate(chosen.tokenizer).path(), folder)
    return SpeechRecognizer.load(folder)


@pytest.fixture
def utterances(pixel_mm_data: Path) -> list[Utterance]:
    return LibriSpeech(pixel_mm_data / "librispeech", "test-other").read()[:4]


@pytest.fixture
def speech(utterances: list[Utterance]) -> np.ndarray:
    """Of two utterances, with a pause between them."""
    one, other = (soundfile.read(each.path, dtype="float32")[0][: 5 * RATE] for each in utterances[:2])
    return np.concatenate([one, np.zeros(RATE, np.float32), other])


def streamed(listener: SpeechRecognizer, waveform: np.ndarray, rate: int = RATE, seconds: float = 0.1) -> str:
    """Final text of a stream of such chunks, which has only grown."""
    size = round(seconds * rate)
    chunks = (waveform[..., start : start + size] for start in range(0, waveform.shape[-1], size))
    found = list(listener.stream(chunks, rate))
    assert all(after.text.startswith(before.text) for before, after in pairwise(found))
    assert found[-1].transcript is not None
    assert found[-1].transcript.text == found[-1].text
    return found[-1].text


def test_a_stream_has_about_the_words_of_the_recording(listener: SpeechRecognizer, utterances: list[Utterance]) -> None:
    same = normaliser("basic")
    counts = []
    for heard in (lambda clip: listener(clip, RATE).text, lambda clip: streamed(listener, clip)):
        clips = ((each.transcript or "", soundfile.read(each.path, dtype="float32")[0]) for each in utterances)
        counts.append(total([count_errors(same(said), same(heard(clip))) for said, clip in clips]))
    recording, stream = counts
    assert stream.rate <= recording.rate + 0.05


def test_chunks_of_10_ms_and_1_s_give_the_same(listener: SpeechRecognizer, speech: np.ndarray) -> None:
    found = streamed(listener, speech, seconds=0.01)
    assert len(found.split()) > 10
    assert streamed(listener, speech, seconds=1.0) == found


def test_telephone_and_stereo_streams(listener: SpeechRecognizer, speech: np.ndarray) -> None:
    same = normaliser("basic")
    wanted = same(streamed(listener, speech))
    quiet = (300 * soxr.resample(speech, RATE, 48_000)).astype(np.int16)
    assert count_errors(wanted, same(streamed(listener, np.stack([quiet, quiet]), 48_000))).rate < 0.1
    telephone = soxr.resample(speech, RATE, 8_000)
    assert count_errors(wanted, same(streamed(listener, telephone, 8_000))).rate < 0.3


@pytest.mark.parametrize("seconds", [2.5, 3.1])
def test_a_stream_that_stops_in_mid_word(listener: SpeechRecognizer, speech: np.ndarray, seconds: float) -> None:
    part = speech[: round(seconds * RATE)]
    found = streamed(listener, part)
    longer = listener.stream([speech[: round((seconds + 1) * RATE)]], RATE)
    assert found.startswith([partial.text for partial in longer if partial.heard_seconds <= seconds][-1])
    # Its last word is written as well as the recording's that is cut there.
    assert len(found.split()) == pytest.approx(len(listener(part, RATE).text.split()), abs=1)
    assert len(found.split()) > 3


def test_silence_and_noise_give_nothing(listener: SpeechRecognizer) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=10 * RATE).astype(np.float32)
    for sound in (np.zeros_like(noise), noise, 1e-3 * noise):
        assert streamed(listener, sound) == ""
