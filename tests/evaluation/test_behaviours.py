"""The suite must tell a steady, fair, right model from one that is none of it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from pixel_mm.evaluation.behaviours import run_suite
from pixel_mm.evaluation.perturbations import crop, gain, low_pass, pad_silence, white_noise

CONF = Path(__file__).parents[2] / "conf"
RATE = 16000


@dataclass
class Estimate:
    scores: dict[str, float]
    emotions: dict[str, float]


def listen(waveforms, sample_rate_hz):
    """Hears one of three emotions by the strongest frequency, unmoved by level, silence and noise."""
    estimates = []
    for waveform in waveforms:
        spectrum = np.abs(np.fft.rfft(waveform))
        hertz = spectrum.argmax() * sample_rate_hz / len(waveform)
        name = "anger" if hertz > 900 else "happiness" if hertz > 500 else "sadness"
        dimensions = {"anger": (0.2, 0.8, 0.6), "happiness": (0.9, 0.75, 0.7), "sadness": (0.2, 0.3, 0.3)}[name]
        emotions = {label: 0.9 if label == name else 0.05 for label in ("anger", "happiness", "sadness")}
        estimates.append(Estimate(dict(zip(("valence", "arousal", "dominance"), dimensions, strict=True)), emotions))
    return estimates


@pytest.fixture
def tones(tmp_path, make_rows):
    rows = make_rows(speakers=4, clips=2, folder=tmp_path)
    pitch = {"anger": 1200, "happiness": 700, "sadness": 300}
    for row in rows:
        soundfile.write(row.path, 0.1 * np.sin(2 * np.pi * pitch[row.emotion] * np.arange(RATE // 2) / RATE), RATE)
    return rows


@pytest.fixture
def suite():
    return OmegaConf.load(CONF / "suite" / "emotion_behaviour.yaml")


def failed(findings):
    return {check["name"] for check in findings["checks"] if check["passed"] is False}


def test_a_good_model_passes_all_of_it(suite, tones):
    findings = run_suite(suite, listen, tones)
    assert failed(findings) == set()
    assert {check["kind"] for check in findings["checks"]} == {"correctness", "robustness", "fairness"}
    assert all(check["passed"] is True for check in findings["checks"])
    assert (findings["num_clips"], findings["num_speakers"], findings["label_source"]) == (24, 4, "mapped")
    assert findings == run_suite(suite, listen, tones)


def test_a_model_that_hears_the_level_is_not_robust(suite, tones):
    def loud(waveforms, rate):
        return [
            dataclasses.replace(e, scores={**e.scores, "arousal": float(min(1, 10 * np.abs(w).mean()))})
            for e, w in zip(listen(waveforms, rate), waveforms, strict=True)
        ]

    assert "quieter: arousal moves by 0.1 or less" in failed(run_suite(suite, loud, tones))


def test_a_model_that_hears_silence_changes_its_mind(suite, tones):
    def fooled(waveforms, rate):
        heard = listen(waveforms, rate)
        sad = {"anger": 0.0, "happiness": 0.0, "sadness": 1.0}
        return [
            dataclasses.replace(e, emotions=sad) if w[0] == w[9] == 0 else e
            for e, w in zip(heard, waveforms, strict=True)
        ]

    assert failed(run_suite(suite, fooled, tones)) == {"silence: same emotion"}


def test_a_model_that_is_wrong_about_men_is_unfair(suite, tones):
    def biased(waveforms, rate):
        heard = listen(waveforms, rate)
        male = [u.sex == "male" for u in tones]
        moved = {"valence": 0.5, "arousal": 0.5, "dominance": 0.5}
        sad = {"anger": 0.0, "happiness": 0.0, "sadness": 1.0}
        return [Estimate(moved, sad) if m else e for m, e in zip(male, heard, strict=True)]

    names = failed(run_suite(suite, biased, tones))
    assert {"emotion UA, gap between the sexes", "arousal UA, gap between the sexes"} <= names


def test_what_the_corpus_gives_nothing_for_is_not_tested(suite, tones):
    bare = [dataclasses.replace(u, sex="female", ratings=None, label_source=None) for u in tones]
    findings = run_suite(suite, listen, bare)
    untested = {check["name"] for check in findings["checks"] if check["passed"] is None}
    assert "emotion UA, gap between the sexes" in untested
    assert any("CCC" in name for name in untested)
    assert failed(findings) == set()


def test_bad_clips_are_listed_and_too_many_refused(suite, tones):
    tones[0].path.write_bytes(b"no audio")
    findings = run_suite(suite, listen, tones)
    assert list(findings["bad_clips"]) == [tones[0].key]
    assert findings["num_clips"] == 23
    with pytest.raises(ValueError, match="none of 1 clips"):
        run_suite(suite, listen, tones[:1])


def test_changes_are_what_they_say():
    random = np.random.default_rng(0)
    clip = (0.1 * random.standard_normal(RATE)).astype(np.float32)

    def power(x):
        return float(np.square(x, dtype=np.float64).mean())

    assert 10 * np.log10(power(gain(clip, RATE, random, -12)) / power(clip)) == pytest.approx(-12, abs=0.01)
    assert np.abs(gain(clip, RATE, random, 40)).max() <= 1
    noise = white_noise(clip, RATE, random, 30) - clip
    assert 10 * np.log10(power(clip) / power(noise)) == pytest.approx(30, abs=0.1)
    spectrum = np.abs(np.fft.rfft(low_pass(clip, RATE, random, 4000))) / np.abs(np.fft.rfft(clip))
    assert np.median(spectrum[7000:]) < 0.2
    assert np.median(spectrum[:2000]) > 0.95
    assert pad_silence(clip, RATE, random, 0.1).size == RATE + 3200
    assert crop(clip, RATE, random, 0.05).size == RATE - 800
    with pytest.raises(ValueError, match="cutoff_hz"):
        low_pass(clip, RATE, random, 8000)
