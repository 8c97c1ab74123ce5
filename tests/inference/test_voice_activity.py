import math
import sys
from importlib import metadata

import numpy as np
import pytest

from pixel_mm.inference.voice_activity import FRAME_SAMPLES, VoiceActivity, pack, speech_stretches
from pixel_mm.pretrained import PretrainedError

RATE = 16_000


def probabilities(*parts: tuple[float, float]) -> np.ndarray:
    """Of (seconds, probability)."""
    return np.concatenate(
        [np.full(round(seconds * RATE / FRAME_SAMPLES), value, np.float32) for seconds, value in parts]
    )


def seconds_of(stretches: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(round(start / RATE, 1), round(end / RATE, 1)) for start, end in stretches]


def test_speech_is_found_with_a_margin_and_clicks_are_not() -> None:
    heard = probabilities((2, 0), (3, 0.9), (2, 0.1), (0.064, 0.9), (2, 0))
    assert seconds_of(speech_stretches(heard, heard.size * FRAME_SAMPLES)) == [(1.6, 5.4)]


def test_a_breath_is_no_pause_and_doubt_ends_no_speech() -> None:
    heard = probabilities((2, 0.9), (0.2, 0), (2, 0.9), (1, 0.4), (1, 0.9))
    assert speech_stretches(heard, heard.size * FRAME_SAMPLES) == [(0, heard.size * FRAME_SAMPLES)]


def test_neighbours_meet_in_the_middle_of_a_short_pause_and_share_nothing() -> None:
    heard = probabilities((2, 0.9), (0.5, 0), (2, 0.9))
    (_, first), (second, end) = speech_stretches(heard, heard.size * FRAME_SAMPLES - 100)
    assert first == second
    assert first / RATE == pytest.approx(2.25, abs=0.05)
    assert end == heard.size * FRAME_SAMPLES - 100


def test_nobody_speaks() -> None:
    assert speech_stretches(probabilities((5, 0.3)), 5 * RATE) == []
    assert speech_stretches(np.zeros(0, np.float32), 0) == []


def test_windows_are_cut_in_pauses_and_overlap_where_there_is_none() -> None:
    stretches = [(0, 10), (10.5, 20), (20.5, 31), (40, 41), (50, 100)]
    samples = [(round(start * RATE), round(end * RATE)) for start, end in stretches]
    found = seconds_of(pack(samples, max_seconds=28, overlap_seconds=4, max_pause_seconds=1))
    assert found == [(0, 20), (20.5, 31), (40, 41), (50, 78), (74, 100)]
    assert pack([], 28, 4, 1) == []


def test_blocks_may_be_cut_anywhere() -> None:
    rng = np.random.default_rng(0)
    waveform = rng.normal(size=3 * RATE + 77).astype(np.float32) * np.float32(0.1)
    detector = VoiceActivity.load()
    whole = detector.probabilities([waveform])
    assert whole.shape == (math.ceil(waveform.size / FRAME_SAMPLES),)
    parts = detector.probabilities(iter(np.split(waveform, [1, 700, 20_000, 20_001])))
    np.testing.assert_array_equal(parts, whole)
    assert detector.probabilities([]).size == 0


def test_noise_and_tones_are_no_speech() -> None:
    time = np.arange(4 * RATE) / RATE
    rng = np.random.default_rng(1)
    detector = VoiceActivity.load()
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330))
    for sound in (rng.normal(size=time.size), np.sin(2 * np.pi * 440 * time), chord):
        sound = (0.05 * sound / np.std(sound)).astype(np.float32)
        assert speech_stretches(detector.probabilities([sound]), sound.size) == []


def test_a_detector_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(PretrainedError, match="pip install 'silero-vad"):
        VoiceActivity.load()


def test_the_detectors_package_is_not_imported() -> None:
    VoiceActivity.load()
    assert "silero_vad" not in sys.modules
