import numpy as np
import pytest

from pixel_mm.data.corpora.synthetic_pitch import track_pitch

RATE_HZ, FRAME_SECONDS = 16_000, 0.005


def harmonics(pitch_hz: np.ndarray, first: int) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    return sum(np.cos(k * phase) / k for k in range(first, 20))


@pytest.mark.parametrize("first", [1, 2, 3], ids=lambda first: f"from_harmonic_{first}")
def test_pitch_is_found_without_the_fundamental(first: int) -> None:
    truth_hz = 110 * 2 ** (0.3 * np.sin(np.linspace(0, 6, RATE_HZ)))
    pitch_hz, times = track_pitch(harmonics(truth_hz, first), RATE_HZ, FRAME_SECONDS)
    inner = slice(10, -10)
    expected = np.interp(times, np.arange(RATE_HZ) / RATE_HZ, truth_hz)
    np.testing.assert_allclose(pitch_hz[inner], expected[inner], rtol=0.02)


def test_noise_and_silence_have_no_pitch() -> None:
    tone = harmonics(np.full(RATE_HZ // 2, 100.0), 1)
    noise = np.random.default_rng(0).standard_normal(RATE_HZ // 2)
    pitch_hz, times = track_pitch(np.concatenate([tone, noise, 1e-4 * tone]), RATE_HZ, FRAME_SECONDS)
    assert (pitch_hz[(times > 0.05) & (times < 0.45)] > 0).all()
    assert (pitch_hz[(times > 0.55) & (times < 0.95)] > 0).mean() < 0.05
    assert not pitch_hz[times > 1.05].any()
