import numpy as np
import pytest

from pixel_mm.audio import SAMPLE_RATE_HZ
from pixel_mm.data.fusion.prosody_words import Prosody, ProsodyWords, measure_prosody

USUAL = [Prosody(20.0 + n, 3.0 + n / 10, -30.0 + n, 4.0 + n / 10, 0.1 + n / 100) for n in range(-3, 4)]


def voice(hertz: float, syllables: int, seconds: float = 2.0, pause: float = 0.0) -> np.ndarray:
    """Harmonics in swells, with a silence in the middle."""
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = sum(np.sin(2 * np.pi * k * hertz * times) / k for k in range(1, 8))
    swell = 0.02 + np.sin(np.pi * syllables * times / seconds) ** 2
    half = len(times) // 2
    gap = np.zeros(round(pause * SAMPLE_RATE_HZ))
    wave = 0.1 * np.concatenate([(tone * swell)[:half], gap, (tone * swell)[half:]])
    return wave.astype(np.float32)


@pytest.mark.parametrize("hertz", [75.0, 120.0, 220.0, 440.0])
def test_pitch_is_found(hertz: float) -> None:
    assert measure_prosody(voice(hertz, 6), -30).pitch == pytest.approx(12 * np.log2(hertz / 60), abs=0.5)


def test_liveliness_is_how_the_pitch_moves() -> None:
    times = np.arange(32_000) / SAMPLE_RATE_HZ
    glide = np.sin(2 * np.pi * np.cumsum(150 * 2 ** (times / 2)) / SAMPLE_RATE_HZ).astype(np.float32)
    assert measure_prosody(glide, -30).liveliness > 3 > 0.2 > measure_prosody(voice(150, 6), -30).liveliness


@pytest.mark.parametrize("syllables", [4, 8, 12])
def test_speed_counts_syllables(syllables: int) -> None:
    assert measure_prosody(voice(150, syllables), -30).speed == pytest.approx(syllables / 2, rel=0.15)


def test_pauses_are_silences_between_words() -> None:
    assert measure_prosody(voice(150, 8), -30).pauses == 0
    assert measure_prosody(voice(150, 8, pause=1.0), -30).pauses == pytest.approx(1 / 3, abs=0.05)
    silent_ends = np.pad(voice(150, 8), SAMPLE_RATE_HZ)
    assert measure_prosody(silent_ends, -30).pauses == 0


def test_level_and_noise_change_no_description() -> None:
    wave, words = voice(150, 8), ProsodyWords(USUAL)
    assert words.describe(measure_prosody(0.1 * wave, -30)) == words.describe(measure_prosody(wave, -30))
    noise = measure_prosody(np.random.default_rng(0).normal(size=32_000).astype(np.float32), -30)
    assert np.isnan(noise.pitch)
    assert "higher" not in words.describe(noise)


def test_any_clip_that_can_be_heard_is_described() -> None:
    click = np.zeros(400, np.float32)
    click[200] = 0.5
    assert ProsodyWords(USUAL).describe(measure_prosody(click, -30)).startswith("[The voice is")


def test_distances_are_told_in_words() -> None:
    words = ProsodyWords(USUAL)
    assert words.describe(USUAL[3]) == "[The voice is as usual.]"
    told = words.describe(Prosody(pitch=30, liveliness=2.6, loudness=-32, speed=4.01, pauses=0.3))
    assert told == "[The voice is much higher, flatter, quieter, with far more pauses than usual.]"


def test_nothing_is_usual_without_voices() -> None:
    with pytest.raises(ValueError, match="training part has none"):
        ProsodyWords([])


def test_where_hardly_anybody_pauses_a_short_pause_is_not_remarkable() -> None:
    fluent = [usual._replace(pauses=0.0) for usual in USUAL]
    assert ProsodyWords(fluent).describe(USUAL[3]._replace(pauses=0.02)) == "[The voice is as usual.]"
