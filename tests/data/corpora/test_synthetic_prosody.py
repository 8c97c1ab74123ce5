"""Each knob of the prosody is turned alone on a vowel, and what it does is measured on the sound."""

from dataclasses import replace

import numpy as np
import pytest

from pixel_mm.data.corpora.synthetic_prosody import (
    SPEAKERS,
    Prosody,
    Speech,
    analyse,
    at_level,
    prosody_of,
    pyworld,
    render,
)

RATE_HZ = 16_000
SPEAKER = SPEAKERS[1]
NEUTRAL = replace(prosody_of(0.5, 0.5), pitch_irregularity_semitones=0.0)


@pytest.fixture(scope="module")
def vowel() -> Speech:
    """1.2 s of a vowel like the voice's: a gliding pitch, formants at 500, 1500 and 2500 Hz, two loudnesses."""
    pitch_hz = 95 * 2 ** np.linspace(0.15, -0.15, round(1.2 * RATE_HZ))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    wave = np.zeros_like(phase)
    for k in range(2, 70):
        frequency = k * 95.0
        gain = sum(1 / (1 + ((frequency - formant) / 80) ** 2) for formant in (500, 1500, 2500)) + 0.02
        wave += gain / k * np.cos(k * phase)
    wave *= np.where(np.arange(wave.size) % 6400 < 3200, 1.0, 0.3)
    return analyse(wave + 1e-4 * np.random.default_rng(0).standard_normal(wave.size))


def spoken(speech: Speech, **changes: float) -> np.ndarray:
    return render(speech, SPEAKER, replace(NEUTRAL, **changes), np.random.default_rng(1))


def pitch_semitones(wave: np.ndarray) -> np.ndarray:
    pitch_hz, _ = pyworld.dio(wave, RATE_HZ, f0_floor=60, f0_ceil=500)
    inner = pitch_hz[20:-20]
    return 12 * np.log2(inner[inner > 0])


def tilt_db(wave: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2
    frequencies = np.fft.rfftfreq(wave.size, 1 / RATE_HZ)
    low, high = (frequencies > 50) & (frequencies < 1000), (frequencies > 1000) & (frequencies < 5000)
    return float(10 * np.log10(power[high].sum() / power[low].sum()))


def test_speaker_speaks_at_his_pitch(vowel: Speech) -> None:
    assert np.median(pitch_semitones(spoken(vowel))) == pytest.approx(12 * np.log2(SPEAKER.pitch_hz), abs=0.3)


def test_pitch_level_moves_by_what_is_asked(vowel: Speech) -> None:
    moved = np.median(pitch_semitones(spoken(vowel, pitch_semitones=5.0))) - np.median(pitch_semitones(spoken(vowel)))
    assert moved == pytest.approx(5.0, abs=0.2)


def test_pitch_range_widens_by_what_is_asked(vowel: Speech) -> None:
    wide, narrow = (np.ptp(pitch_semitones(spoken(vowel, pitch_range=factor))) for factor in (2.0, 0.5))
    assert wide / narrow == pytest.approx(4.0, rel=0.15)


def test_pitch_rises_by_what_is_asked(vowel: Speech) -> None:
    flat, rising = (pitch_semitones(spoken(vowel, pitch_range=0.0, pitch_slope_semitones=rise)) for rise in (0.0, 3.0))
    assert np.std(flat) < 0.15
    # A tenth of the vowel at either end is left out of the measurement, or nearly.
    assert np.median(rising[-9:]) - np.median(rising[:9]) == pytest.approx(0.8 * 3.0, abs=0.2)


def test_irregular_pitch_is_irregular(vowel: Speech) -> None:
    steady, shaky = (
        np.abs(np.diff(pitch_semitones(spoken(vowel, pitch_irregularity_semitones=deviation)))).mean()
        for deviation in (0.0, 0.4)
    )
    assert shaky > 2 * steady


@pytest.mark.parametrize("rate", [0.75, 1.0, 1.4])
def test_rate_divides_the_duration(vowel: Speech, rate: float) -> None:
    assert spoken(vowel, rate=rate).size / RATE_HZ == pytest.approx(1.2 / SPEAKER.rate / rate, abs=0.02)


def test_tilt_moves_energy_up_the_spectrum(vowel: Speech) -> None:
    flat, bright = tilt_db(spoken(vowel)), tilt_db(spoken(vowel, tilt_db_per_octave=3.0))
    assert 3.0 < bright - flat < 12.0


def test_formants_move_by_what_is_asked(vowel: Speech) -> None:
    def second_formant_hz(wave: np.ndarray) -> float:
        envelope = analyse(wave).envelope.mean(axis=0)
        frequencies = np.linspace(0, RATE_HZ / 2, envelope.size)
        near = (frequencies > 1100) & (frequencies < 2000)
        return float(frequencies[near][envelope[near].argmax()])

    ratio = second_formant_hz(spoken(vowel, formants=1.15)) / second_formant_hz(spoken(vowel))
    assert ratio == pytest.approx(1.15, abs=0.04)


def test_dynamics_stretch_the_loudness(vowel: Speech) -> None:
    def spread_db(wave: np.ndarray) -> float:
        levels = [10 * np.log10(np.mean(part**2)) for part in np.array_split(wave[800:-800], 40)]
        return float(np.percentile(levels, 85) - np.percentile(levels, 15))

    assert spread_db(spoken(vowel, dynamics=1.5)) > 1.25 * spread_db(spoken(vowel))


def test_fundamental_that_was_filtered_out_is_back(vowel: Speech) -> None:
    wave = spoken(vowel, pitch_range=0.0)
    power = np.abs(np.fft.rfft(wave * np.hanning(wave.size))) ** 2
    frequencies = np.fft.rfftfreq(wave.size, 1 / RATE_HZ)

    def at(harmonic: int) -> float:
        return float(power[np.abs(frequencies - harmonic * SPEAKER.pitch_hz) < 5].max())

    assert at(1) > 0.1 * at(2)


@pytest.mark.parametrize(
    ("knob", "arousal_sign", "valence_sign"),
    [
        ("pitch_semitones", 1, 1),
        ("pitch_range", 1, 1),
        ("pitch_slope_semitones", 1, 0),
        ("pitch_irregularity_semitones", 0, -1),
        ("rate", 1, 1),
        ("energy_db", 1, 0),
        ("dynamics", 1, 0),
        ("tilt_db_per_octave", 1, -1),
        ("formants", 0, 1),
    ],
)
def test_prosody_follows_the_documented_table(knob: str, arousal_sign: int, valence_sign: int) -> None:
    def change(low: Prosody, high: Prosody) -> int:
        return int(np.sign(round(getattr(high, knob) - getattr(low, knob), 12)))

    assert change(prosody_of(0.5, 0.2), prosody_of(0.5, 0.8)) == arousal_sign
    assert change(prosody_of(0.2, 0.5), prosody_of(0.8, 0.5)) == valence_sign


def test_nobody_speaks_twice_the_same_way() -> None:
    rng = np.random.default_rng(0)
    assert prosody_of(0.7, 0.7, rng) != prosody_of(0.7, 0.7, rng)


def test_level_is_set_as_far_as_the_peaks_allow() -> None:
    wave = np.sin(np.arange(16_000) / 10)
    assert 20 * np.log10(np.sqrt(np.mean(at_level(wave, -20) ** 2))) == pytest.approx(-20, abs=0.01)
    assert np.abs(at_level(wave, 6.0)).max() == pytest.approx(0.97)
