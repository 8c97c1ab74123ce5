import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixel_mm.audio import (
    MAX_SAMPLES,
    MIN_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioError,
    Clip,
    normalise_level,
    prepare,
    read_audio,
    windows,
)

# A file a test writes into tmp_path is overwritten by the next example; nothing is left over from one to another.
ON_DISK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
FORMATS = [
    *[("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")],
    *[("FLAC", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24")],
    *[("AIFF", "PCM_16"), ("AU", "FLOAT"), ("CAF", "PCM_24"), ("W64", "PCM_16"), ("RF64", "PCM_16")],
]
RATES_HZ = [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000]


def voice(seconds: float = 1.0, rate_hz: int = SAMPLE_RATE_HZ, amplitude: float = 0.3, seed: int = 0) -> np.ndarray:
    """A 200 Hz buzz with a slow swell and some noise, float32 [T]."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    buzz = sum(np.sin(2 * np.pi * 200 * k * times) / k for k in range(1, 6)) * (1.2 + np.sin(2 * np.pi * 3 * times))
    noise = 0.01 * np.random.default_rng(seed).standard_normal(times.size)
    return (amplitude * (buzz + noise) / 5).astype(np.float32)


def level_dbfs(waveform: np.ndarray) -> float:
    return 20 * math.log10(np.sqrt(np.mean(waveform.astype(np.float64) ** 2)))


def assert_ready(clip: Clip) -> None:
    assert clip.waveform.dtype == np.float32
    assert clip.waveform.ndim == 1
    assert clip.waveform.size >= MIN_SAMPLES
    assert np.isfinite(clip.waveform).all()
    assert np.abs(clip.waveform).max() <= 1.0
    loud_enough = level_dbfs(clip.waveform) == pytest.approx(-26.0, abs=0.01)
    assert loud_enough or np.abs(clip.waveform).max() == pytest.approx(0.99, abs=1e-4)


def assert_read_or_refused(path: Path) -> None:
    try:
        clip = read_audio(path)
    except AudioError as error:
        message = str(error)
    else:
        assert_ready(clip)
        return
    assert str(path) in message


@ON_DISK
@given(
    kind=st.sampled_from(FORMATS),
    rate_hz=st.sampled_from(RATES_HZ),
    channels=st.integers(1, 3),
    seconds=st.floats(0.03, 0.6),
    amplitude=st.floats(0.02, 1.0),
)
def test_every_format_becomes_a_levelled_mono_waveform_of_its_duration(
    tmp_path: Path, kind: tuple[str, str], rate_hz: int, channels: int, seconds: float, amplitude: float
) -> None:
    samples = voice(seconds, rate_hz, amplitude)
    path = tmp_path / "clip.audio"
    if kind[0] == "FLAC" and rate_hz > 96_000:
        rate_hz = 96_000
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate_hz, format=kind[0], subtype=kind[1])
    clip = read_audio(path)
    assert_ready(clip)
    assert abs(clip.waveform.size - samples.size * SAMPLE_RATE_HZ / rate_hz) <= 1


@ON_DISK
@given(
    data=st.binary(max_size=300),
    head=st.sampled_from(
        [b"", b"RIFF\x24\x00\x00\x00WAVEfmt ", b"fLaC\x00", b"OggS\x00", b"FORM", b"ID3", b"\xff\xfb"]
    ),
    name=st.sampled_from(["x.wav", "x.flac", "x.raw", "x.mp3", "x"]),
)
def test_garbage_is_refused_by_name_and_with_no_other_error(
    tmp_path: Path, data: bytes, head: bytes, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(head + data)
    assert_read_or_refused(path)


@ON_DISK
@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    kind, subtype = data.draw(st.sampled_from([*FORMATS, ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]))
    path = tmp_path / "damaged.audio"
    soundfile.write(path, voice(0.2), SAMPLE_RATE_HZ, format=kind, subtype=subtype)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, min(100, len(content) - 1)), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    assert_read_or_refused(path)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.lists(st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, 1e-30]), min_size=0, max_size=60),
    repeats=st.integers(1, 40),
    rate_hz=st.sampled_from([*RATES_HZ, 0, -1, 7_999, 1_000_000]),
    dtype=st.sampled_from([np.float64, np.float32, np.float16]),
)
def test_any_array_is_prepared_or_refused(
    samples: list[float], repeats: int, rate_hz: int, dtype: type[np.floating]
) -> None:
    with np.errstate(over="ignore"):
        array = np.tile(np.array(samples, dtype=dtype), repeats)
    try:
        assert_ready(prepare(array, rate_hz))
    except AudioError:
        return


@settings(max_examples=40, deadline=None)
@given(gain=st.floats(0.01, 1e6), rate_hz=st.sampled_from(RATES_HZ), offset=st.floats(-0.5, 0.5))
def test_loudness_and_dc_of_the_recording_change_nothing_but_the_reported_level(
    gain: float, rate_hz: int, offset: float
) -> None:
    samples = voice(0.2, rate_hz).astype(np.float64)
    clip, louder = prepare(samples, rate_hz), prepare(gain * (samples + offset), rate_hz)
    np.testing.assert_allclose(louder.waveform, clip.waveform, atol=1e-5)
    assert louder.level_dbfs - clip.level_dbfs == pytest.approx(20 * math.log10(gain), abs=1e-3)


def test_preparing_what_is_prepared_changes_nothing() -> None:
    once = prepare(voice(), SAMPLE_RATE_HZ).waveform
    np.testing.assert_allclose(prepare(once, SAMPLE_RATE_HZ).waveform, once, atol=1e-6)


def test_a_clip_with_a_high_crest_factor_is_limited_by_its_peak() -> None:
    clicks = np.zeros(16_000, np.float32)
    clicks[8_000] = 0.5
    clip = prepare(clicks, SAMPLE_RATE_HZ)
    assert np.abs(clip.waveform).max() == pytest.approx(0.99, abs=1e-5)
    assert level_dbfs(clip.waveform) < -26


def test_resampling_keeps_the_pitch() -> None:
    times = np.arange(44_100) / 44_100
    clip = prepare(np.sin(2 * np.pi * 440 * times), 44_100)
    spectrum = np.abs(np.fft.rfft(clip.waveform * np.hanning(clip.waveform.size)))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / clip.waveform.size == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "reason"),
    [
        (np.zeros(0, np.float32), 16_000, "zero-length"),
        (np.zeros(16_000, np.float32), 16_000, "silent"),
        (np.full(16_000, 0.25, np.float32), 16_000, "silent"),  # nothing but DC
        (voice(amplitude=1e-4), 16_000, "silent: its peak is -"),
        (np.where(np.arange(16_000) == 7, np.nan, voice()), 16_000, "1 samples are NaN"),
        (np.where(np.arange(16_000) < 2, np.inf, voice()), 16_000, "2 samples are NaN or infinite"),
        (voice(0.0249), 16_000, "shortest usable clip is 0.025 s"),
        (voice(1.0, 7_999), 7_999, "sample rate 7999"),
        (voice(1.0), 192_001, "sample rate 192001"),
        (voice(1.0), math.nan, "sample rate nan"),
        (np.zeros((2, 2, 100)), 16_000, "shape"),
        (np.zeros((16_000, 2)), 16_000, "16000 channels"),
        (np.zeros(16_000, bool), 16_000, "type bool"),
        (np.zeros(16_000, complex), 16_000, "type complex"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(samples: np.ndarray, rate_hz: float, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        prepare(samples, rate_hz)


def test_the_shortest_clip_is_25_ms() -> None:
    assert prepare(voice(0.025), SAMPLE_RATE_HZ).waveform.size == MIN_SAMPLES


def test_a_reader_names_file_and_reason(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(8_000), 8_000)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    for name, reason in {
        "missing.wav": "there is no such file",
        "silent.wav": "silent",
        "empty.wav": "unreadable",
        "folder.wav": "there is no such file",
        "nul\0.wav": "",
    }.items():
        with pytest.raises(AudioError) as caught:
            read_audio(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {reason}")


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "FLAC", "OGG", "MP3"])
def test_half_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "half.audio"
    soundfile.write(path, voice(4.0), SAMPLE_RATE_HZ, format=kind)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"truncated|unreadable|zero-length"):
        read_audio(path)


def test_a_streamed_wav_without_its_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "streamed.wav"
    soundfile.write(path, voice(0.5), SAMPLE_RATE_HZ)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert read_audio(path).waveform.size == 8_000


def test_integer_arrays_mean_what_their_full_scale_means() -> None:
    samples = voice()
    expected = prepare(samples, SAMPLE_RATE_HZ)
    for dtype, scale in ((np.int16, 2**15), (np.int32, 2**31)):
        clip = prepare((samples.astype(np.float64) * scale).astype(dtype), SAMPLE_RATE_HZ)
        np.testing.assert_allclose(clip.waveform, expected.waveform, atol=1e-3)
        assert clip.level_dbfs == pytest.approx(expected.level_dbfs, abs=0.01)
    eight_bit = prepare((samples * 127 + 128).round().astype(np.uint8), SAMPLE_RATE_HZ)
    assert eight_bit.level_dbfs == pytest.approx(expected.level_dbfs, abs=0.3)


def test_channels_are_averaged_and_a_polarity_error_does_not_silence_the_clip() -> None:
    left, right = voice(seed=1), voice(seed=2)
    mixed = prepare(np.stack([left, right]), SAMPLE_RATE_HZ).waveform
    np.testing.assert_allclose(mixed, prepare((left + right) / 2, SAMPLE_RATE_HZ).waveform, atol=1e-5)
    inverted = prepare(np.stack([left, -left]), SAMPLE_RATE_HZ).waveform
    np.testing.assert_allclose(inverted, prepare(left, SAMPLE_RATE_HZ).waveform, atol=1e-5)


def test_a_stretch_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    samples = voice(2.0)
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    stretch = read_audio(path, 0.5, 1.25).waveform
    np.testing.assert_allclose(stretch, prepare(samples[8_000:20_000], SAMPLE_RATE_HZ).waveform, atol=1e-6)
    assert read_audio(path, 0.5, 2.05).waveform.size == 24_000  # a rounded end
    for start, end in ((0.0, 2.2), (2.0, None), (3.0, 4.0)):
        with pytest.raises(AudioError, match=r"not in the file, which is 2\.000 s long"):
            read_audio(path, start, end)


@given(
    num_samples=st.integers(1, 20 * MAX_SAMPLES),
    window_seconds=st.floats(0.1, 30.0),
    overlap_share=st.floats(0.0, 0.99),
)
def test_windows_cover_everything_and_overlap(num_samples: int, window_seconds: float, overlap_share: float) -> None:
    overlap_seconds = overlap_share * window_seconds
    window, overlap = round(window_seconds * SAMPLE_RATE_HZ), round(overlap_seconds * SAMPLE_RATE_HZ)
    if window == overlap or (num_samples - window) / (window - overlap) > 2_000:
        return
    spans = windows(num_samples, window_seconds, overlap_seconds)
    assert spans[0][0] == 0
    assert spans[-1][1] == num_samples
    assert all(end - start == min(window, num_samples) for start, end in spans)
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start
        assert end < next_end
        assert end - next_start >= overlap


@pytest.mark.parametrize(("seconds", "overlap"), [(30.0, 30.0), (30.0, -1.0), (0.0, 0.0)])
def test_impossible_windows_are_refused(seconds: float, overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap_seconds"):
        windows(16_000, seconds, overlap)


def test_nothing_to_level_is_refused() -> None:
    for nothing in (np.zeros(100, np.float32), np.zeros(0, np.float32)):
        with pytest.raises(AudioError, match="silent"):
            normalise_level(nothing)
