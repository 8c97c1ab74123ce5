"""Prosody of the synthetic corpus: from target valence and arousal to a way of speaking, and from that to sound.

The directions are those that the literature agrees on; docs/synthetic_corpus.md has the table with its sources. The
sizes are chosen, within what is reported, so that a listener hears a difference and a single cue settles nothing.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from pixel_mm.audio import SAMPLE_RATE_HZ
from pixel_mm.data.corpora.synthetic_pitch import FLOOR_HZ, track_pitch

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # pyworld asks the deprecated pkg_resources for its own version
    import pyworld

FRAME_SECONDS = 0.005
_HIGH_PASS_HZ = 200.0  # the voice's recordings have little below
_TILT_PIVOT_HZ, _TILT_FLOOR_HZ = 1000.0, 200.0
_NOISE_DB = -60.0  # of the room, below the speech
_PEAK = 0.97


@dataclass(frozen=True, slots=True)
class Speaker:
    """What stays the same in all that a speaker says.

    Attributes:
        name: id in the corpus.
        sex: which the pitch and the vocal tract are like.
        pitch_hz: mean pitch when neutral.
        formants: factor on the frequencies of the spectral envelope; a shorter vocal tract has more.
        rate: factor on the tempo.
        tilt_db_per_octave: added slope of the spectrum.
    """

    name: str
    sex: str
    pitch_hz: float
    formants: float
    rate: float
    tilt_db_per_octave: float


SPEAKERS = (
    Speaker("synthetic_f1", "female", 205.0, 1.15, 1.00, -0.4),
    Speaker("synthetic_m1", "male", 112.0, 1.00, 1.02, 0.3),
    Speaker("synthetic_f2", "female", 188.0, 1.12, 1.05, 0.4),
    Speaker("synthetic_m2", "male", 98.0, 0.95, 0.96, -0.3),
    Speaker("synthetic_f3", "female", 222.0, 1.19, 1.03, 0.0),
    Speaker("synthetic_m3", "male", 126.0, 1.04, 1.06, 0.6),
    Speaker("synthetic_f4", "female", 196.0, 1.17, 0.95, -0.6),
    Speaker("synthetic_m4", "male", 105.0, 0.98, 0.99, 0.0),
)


@dataclass(frozen=True, slots=True)
class Prosody:
    """A way of speaking, relative to the speaker's neutral one.

    Attributes:
        pitch_semitones: shift of the mean pitch.
        pitch_range: factor on the excursions of the pitch from its mean.
        pitch_slope_semitones: rise of the pitch from the clip's beginning to its end, added.
        pitch_irregularity_semitones: standard deviation of fast random movements of the pitch.
        rate: factor on the tempo.
        energy_db: of the whole clip.
        dynamics: factor on the excursions of the energy, in dB, within the clip.
        tilt_db_per_octave: added slope of the spectrum; positive is more energy above 1 kHz.
        formants: factor on the frequencies of the spectral envelope.
    """

    pitch_semitones: float
    pitch_range: float
    pitch_slope_semitones: float
    pitch_irregularity_semitones: float
    rate: float
    energy_db: float
    dynamics: float
    tilt_db_per_octave: float
    formants: float


def prosody_of(valence: float, arousal: float, rng: np.random.Generator | None = None) -> Prosody:
    """The way of speaking of target valence and arousal, each in 0..1.

    Args:
        valence: 0 negative ... 1 positive.
        arousal: 0 calm ... 1 excited.
        rng: where given, what the targets don't determine is drawn from it: no two people, and nobody twice, say a
            thing the same way.
    """
    v, a = 2 * valence - 1, 2 * arousal - 1

    def spread(deviation: float) -> float:
        return 0.0 if rng is None else float(np.clip(rng.normal(), -2, 2)) * deviation

    return Prosody(
        pitch_semitones=6.0 * a + 1.0 * v + spread(0.7),
        pitch_range=2 ** (0.9 * a + 0.5 * v + spread(0.15)),
        pitch_slope_semitones=2.5 * a + spread(0.5),
        pitch_irregularity_semitones=0.15 * 2 ** (-1.2 * v + spread(0.2)),
        rate=2 ** (0.45 * a + 0.05 * v + spread(0.06)),
        energy_db=5.0 * a + spread(1.0),
        dynamics=2 ** (0.3 * a + spread(0.1)),
        tilt_db_per_octave=3.0 * a - 0.8 * v + spread(0.4),
        formants=1 + 0.06 * v + spread(0.01),
    )


@dataclass(frozen=True, slots=True)
class Speech:
    """WORLD's parameters of an utterance, N frames of `FRAME_SECONDS`.

    Attributes:
        pitch_hz: float64 [N], 0 where unvoiced.
        envelope: power spectral envelope, float64 [N, K].
        aperiodicity: share of noise, float64 [N, K] in 0..1.
    """

    pitch_hz: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray


def analyse(waveform: np.ndarray) -> Speech:
    """Take speech apart (Morise et al., "WORLD: a vocoder-based high-quality speech synthesis system", 2016).

    Args:
        waveform: float64 [T] at `SAMPLE_RATE_HZ`.
    """
    pitch, times = track_pitch(waveform, SAMPLE_RATE_HZ, FRAME_SECONDS)
    envelope = pyworld.cheaptrick(waveform, pitch, times, SAMPLE_RATE_HZ, f0_floor=FLOOR_HZ)
    bins = 2 * (envelope.shape[1] - 1)
    aperiodicity = pyworld.d4c(waveform, pitch, times, SAMPLE_RATE_HZ, fft_size=bins)
    return Speech(pitch, _without_high_pass(envelope, pitch > 0), aperiodicity)


def render(speech: Speech, speaker: Speaker, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """Put speech together again as `speaker` says it with `prosody`, float64 [T], RMS 1.

    Args:
        speech: what is said, from `analyse`.
        speaker: who says it.
        prosody: how.
        rng: of the pitch's irregularity and the room's noise.
    """
    speech = _at_rate(speech, speaker.rate * prosody.rate)
    pitch = _pitch(speech.pitch_hz, speaker, prosody, rng)
    gain = _tilt(speech.envelope.shape[1], speaker.tilt_db_per_octave + prosody.tilt_db_per_octave)
    envelope = _warp(speech.envelope, speaker.formants * prosody.formants) * gain
    envelope *= _dynamics(envelope, prosody.dynamics)[:, None]
    waveform = pyworld.synthesize(pitch, envelope, speech.aperiodicity, SAMPLE_RATE_HZ, FRAME_SECONDS * 1000)
    waveform /= np.sqrt(np.mean(waveform**2))
    return waveform + 10 ** (_NOISE_DB / 20) * rng.standard_normal(waveform.size)


def at_level(waveform: np.ndarray, level_dbfs: float) -> np.ndarray:
    """Bring a waveform to an RMS level in dB of full scale, or as near as its peaks allow."""
    scaled = waveform * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(waveform**2))
    return scaled * min(1.0, _PEAK / np.abs(scaled).max())


def _without_high_pass(envelope: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Voiced frames get below the cutoff what they have at it, or a raised pitch would have no fundamental."""
    cutoff = round(_HIGH_PASS_HZ / SAMPLE_RATE_HZ * 2 * (envelope.shape[1] - 1))
    filled = envelope.copy()
    filled[voiced, :cutoff] = envelope[voiced, cutoff : cutoff + 1]
    return filled


def _at_rate(speech: Speech, rate: float) -> Speech:
    """Resample the frames to another tempo; the envelope in its logarithm, a frame's voicing from the nearest."""
    count = len(speech.pitch_hz)
    places = np.linspace(0, count - 1, max(2, round(count / rate)))
    below = np.minimum(places.astype(int), count - 2)
    share = (places - below)[:, None]
    log = np.log(speech.envelope)
    return Speech(
        speech.pitch_hz[np.round(places).astype(int)],
        np.exp(log[below] * (1 - share) + log[below + 1] * share),
        speech.aperiodicity[below] * (1 - share) + speech.aperiodicity[below + 1] * share,
    )


def _pitch(pitch_hz: np.ndarray, speaker: Speaker, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """The pitch contour of speaker and prosody in Hz, float64 [N], 0 where unvoiced."""
    voiced = pitch_hz > 0
    semitones = 12 * np.log2(np.where(voiced, pitch_hz, 1.0))
    semitones = prosody.pitch_range * (semitones - np.median(semitones[voiced]))
    semitones += prosody.pitch_semitones + prosody.pitch_slope_semitones * np.linspace(-0.5, 0.5, len(pitch_hz))
    wander = np.convolve(rng.standard_normal(len(pitch_hz) + 2), np.ones(3) / np.sqrt(3), "valid")  # over 15 ms
    semitones += prosody.pitch_irregularity_semitones * wander
    return np.where(voiced, speaker.pitch_hz * 2 ** (np.clip(semitones, -14, 16) / 12), 0.0)


def _warp(envelope: np.ndarray, factor: float) -> np.ndarray:
    """Stretch the envelope's frequencies by `factor`, as a vocal tract shorter by it does."""
    places = np.minimum(np.arange(envelope.shape[1]) / factor, envelope.shape[1] - 1.001)
    below = places.astype(int)
    share = places - below
    log = np.log(envelope)
    # np.take keeps the rows contiguous, which WORLD asks for.
    return np.exp(np.take(log, below, axis=1) * (1 - share) + np.take(log, below + 1, axis=1) * share)


def _tilt(num_bins: int, db_per_octave: float) -> np.ndarray:
    """Power gain of a slope through `_TILT_PIVOT_HZ`, float64 [num_bins]."""
    frequencies = np.maximum(np.linspace(0, SAMPLE_RATE_HZ / 2, num_bins), _TILT_FLOOR_HZ)
    return 10 ** (db_per_octave * np.log2(frequencies / _TILT_PIVOT_HZ) / 10)


def _dynamics(envelope: np.ndarray, factor: float) -> np.ndarray:
    """Power gain per frame, float64 [N], that stretches the excursions of its level, in dB, by `factor`."""
    level_db = 10 * np.log10(envelope.sum(axis=1))
    excursion = np.clip(level_db - np.percentile(level_db, 75), -30, 10)
    return 10 ** ((factor - 1) * excursion / 10)
