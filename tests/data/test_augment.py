import random
import subprocess
import sys
from pathlib import Path

import audiomentations
import hydra
import numpy as np
import pytest
import pyworld
from audiomentations.core.transforms_interface import BaseWaveformTransform
from omegaconf import OmegaConf

from pixel_mm.audio import MAX_SAMPLES, SAMPLE_RATE_HZ, normalise_level
from pixel_mm.data.augment import Augment

CONF = Path(__file__).parents[2] / "conf" / "augment"


def vowel(pitch_hz: float = 150.0, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    wave = sum(np.sin(2 * np.pi * pitch_hz * k * times) / k for k in range(1, 20))
    return normalise_level(wave.astype(np.float32))


def pitch_hz(waveform: np.ndarray) -> float:
    pitch, _ = pyworld.harvest(waveform.astype(np.float64), SAMPLE_RATE_HZ)
    return float(np.median(pitch[pitch > 0]))


def light() -> Augment:
    config = OmegaConf.create({"seed": 5, "augment": OmegaConf.load(CONF / "light.yaml")})
    made = hydra.utils.instantiate(config.augment)
    assert isinstance(made, Augment)
    return made


def test_a_copy_depends_on_seed_clip_and_epoch_and_not_on_the_order() -> None:
    augment, wave = light(), vowel()
    wanted = [(key, epoch) for key in ("a", "b", "c") for epoch in range(3)]
    first = {name: augment(wave, *name) for name in wanted}
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    again = light()
    for name in reversed(wanted):
        np.testing.assert_array_equal(again(wave, *name), first[name])
    distinct = {copy.tobytes() for copy in first.values()}
    assert len(distinct) > 6


PROGRAM = """
import hashlib, numpy, audiomentations
from pixel_mm.data.augment import Augment

wave = numpy.sin(numpy.arange(8000) / 7).astype(numpy.float32)
transforms = [audiomentations.AddGaussianSNR(p=1.0), audiomentations.OneOf([audiomentations.PitchShift(p=1.0)])]
augment = Augment(transforms, seed=2)
result = augment.fingerprint, hashlib.sha256(augment(wave, "clip", 4).tobytes()).hexdigest()
"""


@pytest.mark.slow
def test_a_copy_and_its_fingerprint_are_the_same_in_another_process() -> None:
    here: dict[str, tuple[str, str]] = {}
    exec(PROGRAM, here)
    there = subprocess.run(
        [sys.executable, "-c", PROGRAM + "print(*result)"], capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == list(here["result"])


def test_other_peoples_random_numbers_are_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    light()(vowel(), "clip", 0)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def test_pitch_shift_moves_the_measured_pitch_and_keeps_the_pace() -> None:
    shifted = Augment([audiomentations.PitchShift(3.0, 3.0, p=1.0)])(vowel(150.0), "clip", 0)
    assert pitch_hz(shifted) == pytest.approx(150.0 * 2 ** (3 / 12), rel=0.02)
    assert shifted.size == SAMPLE_RATE_HZ


def test_time_stretch_changes_the_duration_and_keeps_the_pitch() -> None:
    faster = audiomentations.TimeStretch(1.25, 1.25, leave_length_unchanged=False, p=1.0)
    stretched = Augment([faster])(vowel(150.0), "clip", 0)
    assert stretched.size == pytest.approx(SAMPLE_RATE_HZ / 1.25, rel=0.01)
    assert pitch_hz(stretched) == pytest.approx(150.0, rel=0.02)


def test_added_noise_has_the_configured_ratio() -> None:
    wave = vowel()
    noisy = Augment([audiomentations.AddGaussianSNR(10.0, 10.0, p=1.0)])(wave, "clip", 0).astype(np.float64)
    clean = wave.astype(np.float64)
    clean *= noisy @ clean / (clean @ clean)  # the level was brought back
    ratio_db = 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2))
    assert ratio_db == pytest.approx(10.0, abs=0.3)


def test_the_light_preset_keeps_the_level_and_nearly_the_length() -> None:
    augment, wave = light(), vowel()
    for epoch in range(8):
        copy = augment(wave, "clip", epoch)
        assert copy.dtype == np.float32
        assert 20 * np.log10(np.sqrt(np.mean(copy.astype(np.float64) ** 2))) == pytest.approx(-26, abs=0.1)
        assert 0.9 <= copy.size / wave.size <= 1.12


def test_epochs_share_the_variants_in_turn() -> None:
    augment = light()
    assert [augment.variant(epoch) for epoch in (0, 7, 8, 17)] == [0, 7, 0, 1]
    assert augment.kept_variants() == tuple(range(8))
    wave = vowel()
    np.testing.assert_array_equal(augment(wave, "clip", 1), augment(wave, "clip", 9))
    endless = Augment([audiomentations.PitchShift(p=1.0)])
    assert endless.variant(1000) == 1000
    assert endless.kept_variants() is None


def test_without_transforms_clips_stay_as_they_are() -> None:
    augment = hydra.utils.instantiate(
        OmegaConf.create({"seed": 5, "augment": OmegaConf.load(CONF / "none.yaml")}).augment
    )
    wave = vowel()
    assert augment(wave, "clip", 3) is wave
    assert (augment.variant(3), augment.kept_variants(), augment.fingerprint) == ("clean", ("clean",), "none")


class Invert(BaseWaveformTransform):
    """Works in place, as a transform may."""

    def apply(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        samples *= -1
        return samples


def test_the_input_is_not_written_to() -> None:
    wave = vowel()
    before = wave.copy()
    np.testing.assert_allclose(Augment([Invert(p=1.0)])(wave, "clip", 0), -before, atol=1e-6)
    np.testing.assert_array_equal(wave, before)


def test_a_copy_longer_than_30_s_is_not_made() -> None:
    wave = vowel(seconds=MAX_SAMPLES / SAMPLE_RATE_HZ)
    slower = audiomentations.TimeStretch(0.9, 0.9, leave_length_unchanged=False, p=1.0)
    assert Augment([slower])(wave, "clip", 0).size == MAX_SAMPLES


def test_fingerprints_tell_settings_apart() -> None:
    made = {
        Augment([audiomentations.PitchShift(-1, 1)], 0).fingerprint,
        Augment([audiomentations.PitchShift(-1, 2)], 0).fingerprint,
        Augment([audiomentations.PitchShift(-1, 1, p=0.4)], 0).fingerprint,
        Augment([audiomentations.PitchShift(-1, 1)], 1).fingerprint,
        Augment([audiomentations.OneOf([audiomentations.PitchShift(-1, 1)])], 0).fingerprint,
        Augment([audiomentations.OneOf([audiomentations.PitchShift(-1, 2)])], 0).fingerprint,
    }
    assert len(made) == 6
    used = Augment([audiomentations.PitchShift(-1, 1)], 0)
    before = used.fingerprint
    used(vowel(), "clip", 0)
    assert before == used.fingerprint == Augment([audiomentations.PitchShift(-1, 1)], 0).fingerprint


class Mute(BaseWaveformTransform):
    def apply(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        return samples * 0


def test_a_transform_that_leaves_nothing_is_named() -> None:
    with pytest.raises(ValueError, match=r"clip7: augment.transforms \(Mute\)"):
        Augment([Mute(p=1.0)])(vowel(), "clip7", 0)


def test_impossible_variants_are_refused() -> None:
    with pytest.raises(ValueError, match=r"augment\.variants is 0"):
        Augment(variants=0)
