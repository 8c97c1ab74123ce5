import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from pixel_mm.audio import AudioError
from pixel_mm.inference.stream_audio import RunningLevel, StreamAudio


def heard(chunks: list[np.ndarray], rate: float = 16_000) -> np.ndarray:
    audio = StreamAudio(rate)
    return np.concatenate([*(samples for chunk in chunks for samples in audio.hear(chunk)), audio.finish()])


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=shape).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 30_000), max_size=6), st.sampled_from([8_000, 16_000, 22_050, 48_000]), st.booleans())
def test_how_a_stream_is_cut_changes_nothing(places: list[int], rate: int, stereo: bool) -> None:
    waveform = noise(2, 30_000) if stereo else noise(30_000)
    parts = np.split(waveform, sorted(places), axis=-1)
    np.testing.assert_array_equal(heard(parts, rate), heard([waveform], rate))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_stream_is_resampled_as_a_recording(rate: int) -> None:
    waveform = noise(rate + 123)
    np.testing.assert_allclose(heard([waveform], rate), soxr.resample(waveform, rate, 16_000, "HQ"), atol=1e-6)


def test_channels_are_mixed_and_one_that_is_turned_over_does_not_silence_the_others() -> None:
    one = noise(20_000)
    np.testing.assert_allclose(heard([np.stack([one, 0 * one])]), one / 2, atol=1e-6)
    np.testing.assert_allclose(heard([np.stack([0.5 * one, -0.5001 * one])]), -0.5001 * one, atol=1e-6)


def test_integers_are_full_scale_and_empty_chunks_nothing() -> None:
    counts = np.arange(-16_000, 16_000, dtype=np.int16)
    np.testing.assert_allclose(heard([counts[:0], counts, counts[:0]]), counts / 32_768, atol=1e-6)
    assert heard([]).size == 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([0.0, np.nan]), "chunk 3: samples are NaN, infinite"),
        (np.array([[0.0, -np.inf]]), "chunk 3: samples are NaN, infinite"),
        (np.array([1e200]), "chunk 3: samples are NaN, infinite or above 1e"),
        (np.zeros((2, 5)), "chunk 3: 2 channels; the chunks before had 1"),
        (np.zeros((2, 3, 5)), r"chunk 3: array of shape \(2, 3, 5\)"),
        (np.array(["a"]), "chunk 3: samples of type"),
        (np.zeros((65, 5)), "chunk 3: 65 channels"),
    ],
)
def test_a_chunk_that_cannot_be_used_is_named_by_its_number(bad: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        heard([np.zeros(5), np.zeros((1, 5)), bad])


@pytest.mark.parametrize("rate", [0, 7_999, 192_001, float("nan")])
def test_an_impossible_rate_is_refused_at_once(rate: float) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        StreamAudio(rate)


def levelled(waveform: np.ndarray) -> np.ndarray:
    level = RunningLevel()
    return np.concatenate([level(frame) for frame in waveform.reshape(-1, 512)])


@pytest.mark.parametrize("gain", [1e-2, 1.0, 3e4])
def test_a_stream_comes_to_the_usual_level_however_loud_and_off_zero_it_is(gain: float) -> None:
    waveform = noise(512 * 200)
    found = levelled((gain * (waveform + 0.5)).astype(np.float32))
    assert 20 * np.log10(found[-512 * 100 :].std()) == pytest.approx(-26, abs=0.5)
    assert np.abs(found).max() <= 0.9901
    np.testing.assert_allclose(found, levelled(waveform + np.float32(0.5)), atol=2e-3)


def test_silence_stays_silent_and_does_not_make_speech_after_it_louder() -> None:
    silence = np.zeros(512 * 300, np.float32)
    assert not levelled(silence + np.float32(0.25)).any()
    after = levelled(np.concatenate([silence, noise(512 * 10)]))[silence.size :]
    assert after.std() == pytest.approx(levelled(noise(512 * 10)).std(), rel=0.02)


def test_a_voice_that_goes_away_is_followed() -> None:
    far = levelled(np.concatenate([noise(512 * 300), 0.1 * noise(512 * 3000)]).astype(np.float32))
    assert 20 * np.log10(far[-512 * 100 :].std()) == pytest.approx(-26, abs=1)
