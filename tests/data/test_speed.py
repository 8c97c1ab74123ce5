"""Speed perturbation: what it does to pitch and length, measured."""

import numpy as np
import pytest

from pixel_mm.data.augment import Augment
from pixel_mm.data.speed import SpeedPerturb

SAMPLE_RATE_HZ = 16_000


def tone(frequency_hz: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.1 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def peak_hz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * SAMPLE_RATE_HZ / len(waveform))


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_pitch_and_pace_move_together(speed):
    changed = SpeedPerturb([speed])(samples=tone(400), sample_rate=SAMPLE_RATE_HZ)
    assert changed.dtype == np.float32
    assert len(changed) == pytest.approx(SAMPLE_RATE_HZ / speed, abs=2)
    assert peak_hz(changed) == pytest.approx(400 * speed, abs=2)


def test_speed_of_one_changes_nothing():
    np.testing.assert_array_equal(SpeedPerturb([1.0])(samples=tone(400), sample_rate=SAMPLE_RATE_HZ), tone(400))


def test_every_speed_is_drawn_and_epochs_repeat():
    augment = Augment([SpeedPerturb([0.9, 1.0, 1.1])], seed=3)
    lengths = [len(augment(tone(400), "clip", epoch)) for epoch in range(20)]
    assert len(set(lengths)) == 3
    assert lengths == [len(augment(tone(400), "clip", epoch)) for epoch in range(20)]


@pytest.mark.parametrize("speeds", [[], [1.0, 3.0], [float("nan")]])
def test_refuses_speeds_out_of_range(speeds):
    with pytest.raises(ValueError, match="speeds"):
        SpeedPerturb(speeds)
