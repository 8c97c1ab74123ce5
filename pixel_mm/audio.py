"""The one place where audio files become waveforms: decode, mono, resample, level, windows.

A waveform is float32 [T], mono, 16 kHz, in [-1, 1], free of DC and at one level: multiplying a recording by a constant
changes nothing of what a model sees. What cannot become one is refused with an `AudioError` that names the reason (and
the file), and nothing else is ever raised for a file's sake. Needs numpy, soundfile and soxr alone.
"""

import math
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
MIN_SECONDS = 0.025
MAX_SECONDS = 30.0
MIN_SAMPLES = round(MIN_SECONDS * SAMPLE_RATE_HZ)
MAX_SAMPLES = round(MAX_SECONDS * SAMPLE_RATE_HZ)
MIN_INPUT_RATE_HZ = 8_000
MAX_INPUT_RATE_HZ = 192_000
MAX_CHANNELS = 64

TARGET_LEVEL_DBFS = -26.0
"""Root mean square that every clip is brought to, dB below a full-scale constant: usual for speech (ITU-T P.56)."""
PEAK_LIMIT = 0.99
"""Largest absolute sample after levelling; a clip with a crest factor above 26 dB stays below the target instead."""
SILENCE_DBFS = -70.0
"""A clip whose largest sample stays below this holds no speech: 16-bit recordings' own noise lies at -90 to -60."""

# Times in corpora's tables are rounded, some upwards: an end this far past the file's own is taken as the file's.
END_TOLERANCE_SECONDS = 0.1
CANCELLED = 0.1
"""Of the largest channel's level; a mean this far below it has cancelled (one channel's polarity is inverted)."""
_BLOCK_SAMPLES = 1 << 22
_SLOPPY_HEADER_BYTES = 1024  # some writers count other chunks into the length of the sound
_UNKNOWN_LENGTH = 1 << 40  # libsndfile gives 2**63 - 1 frames where a header does not say

# soundfile's errors are RuntimeErrors; it meets some broken headers with a TypeError or ValueError.
_DECODING_ERRORS = (OSError, RuntimeError, TypeError, ValueError, MemoryError)

Waveform = NDArray[np.float32]


class AudioError(ValueError):
    """A recording that cannot be used; the message says which and why."""


class SilentAudioError(AudioError):
    """A recording in which there is nothing to hear."""


class Clip(NamedTuple):
    """A recording ready for a model.

    Attributes:
        waveform: float32 [T], 16 kHz, in [-1, 1], level-normalised; T >= 400 (25 ms).
        level_dbfs: root mean square of the recording before levelling, dB below full scale.
    """

    waveform: Waveform
    level_dbfs: float


def read_audio(path: str | PathLike[str], start_seconds: float | None = None, end_seconds: float | None = None) -> Clip:
    """Read a stretch of an audio file as a levelled 16 kHz mono waveform.

    Args:
        path: any format that libsndfile reads (WAV, FLAC, Ogg, MP3, AIFF, ...), 8 to 192 kHz, any sample type.
        start_seconds: beginning of the stretch; None is the file's.
        end_seconds: its end; None is the file's. Up to 0.1 s past the file's end counts as the end.

    Raises:
        AudioError: missing, unreadable, truncated, silent, not finite, shorter than 25 ms, an unsupported rate, or
            a stretch that the file does not have. The message begins with the path.
    """
    try:
        samples, sample_rate_hz = _decode(Path(path), start_seconds, end_seconds)
        return prepare(samples, sample_rate_hz)
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except _DECODING_ERRORS as error:
        raise _unreadable(path, error) from error


def read_blocks(path: str | PathLike[str], block_seconds: float = 60.0) -> Iterator[Waveform]:
    """Read a file of any length block by block, in bounded memory.

    Args:
        path: see `read_audio`.
        block_seconds: length of a block.

    Yields:
        float32 [T], 16 kHz mono, each block brought to the usual level by itself; zeros where it is silent.

    Raises:
        AudioError: missing, unreadable, truncated, not finite, or an unsupported rate. The message begins with the
            path.
    """
    try:
        with _opened(Path(path)) as file:
            check_rate(file.samplerate)
            resampler = soxr.ResampleStream(file.samplerate, SAMPLE_RATE_HZ, num_channels=1, quality="HQ")
            size = max(1, min(round(block_seconds * file.samplerate), _BLOCK_SAMPLES // file.channels))
            read = 0
            for block in file.blocks(size, dtype="float32", always_2d=True):
                read += len(block)
                if not np.isfinite(block).all():
                    raise AudioError("samples are NaN or infinite")
                yield _levelled(resampler.resample_chunk(_mix(block.T)))
            yield _levelled(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            if file.frames < _UNKNOWN_LENGTH and read < file.frames - END_TOLERANCE_SECONDS * file.samplerate:
                raise AudioError(f"truncated: {read} samples of {file.frames} could be decoded")
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except _DECODING_ERRORS as error:
        raise _unreadable(path, error) from error


def prepare(waveform: NDArray[Any], sample_rate_hz: float) -> Clip:
    """Bring samples that are already in memory to what `read_audio` gives.

    Args:
        waveform: [T] or [channels, T]; floating point of any scale, or signed integers or uint8 at full scale.
        sample_rate_hz: 8 000 to 192 000.

    Raises:
        AudioError: see `read_audio`.
    """
    samples = as_channels(np.asarray(waveform))
    check_rate(sample_rate_hz)
    if samples.shape[1] == 0:
        raise AudioError("zero-length: it has no samples")
    peak = float(np.abs(samples).max())
    if not math.isfinite(peak):
        raise AudioError(f"{np.count_nonzero(~np.isfinite(samples))} samples are NaN or infinite")
    if peak == 0.0:
        raise SilentAudioError("silent: every sample is 0")
    mono = _mix((samples / peak).astype(np.float32))
    if sample_rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, sample_rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    if mono.size < MIN_SAMPLES:
        seconds = samples.shape[1] / sample_rate_hz
        raise AudioError(f"{seconds:.4f} s long; the shortest usable clip is {MIN_SECONDS} s")
    loudest_dbfs = _decibels(float(np.abs(mono).max()) * peak)
    if loudest_dbfs < SILENCE_DBFS:
        raise SilentAudioError(f"silent: its peak is {loudest_dbfs:.0f} dBFS, below {SILENCE_DBFS:.0f}")
    return Clip(normalise_level(mono), _decibels(_root_mean_square(mono) * peak))


def normalise_level(waveform: Waveform, target_dbfs: float = TARGET_LEVEL_DBFS) -> Waveform:
    """Scale a waveform so that its root mean square is the target, and its peak at most `PEAK_LIMIT`.

    gain = min(10 ** (target_dbfs / 20) / rms, PEAK_LIMIT / peak), over the whole waveform.

    Args:
        waveform: float32 [T] of any scale.
        target_dbfs: dB below full scale.

    Returns:
        float32 [T] in [-1, 1].

    Raises:
        AudioError: nothing to scale: no samples, or all 0.
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak == 0.0:
        raise SilentAudioError("silent: every sample is 0")
    gain = min(10 ** (target_dbfs / 20) / _root_mean_square(waveform), PEAK_LIMIT / peak)
    return (waveform * np.float32(gain)).astype(np.float32, copy=False)


def windows(
    num_samples: int, window_seconds: float = MAX_SECONDS, overlap_seconds: float = 5.0
) -> list[tuple[int, int]]:
    """Where to cut audio that is longer than a model takes at once.

    Windows start at fixed steps (so more audio changes none but the last), all are full, and the last ends where the
    audio does, overlapping its neighbour by more than the others. Audio that fits is one window.

    Args:
        num_samples: length of the audio, 16 kHz.
        window_seconds: length of a window.
        overlap_seconds: what neighbours share, at least; 0 <= overlap < window.

    Returns:
        (start, end) in samples, end exclusive, in order; together they cover the audio.

    Raises:
        ValueError: an impossible length or overlap.
    """
    window, overlap = round(window_seconds * SAMPLE_RATE_HZ), round(overlap_seconds * SAMPLE_RATE_HZ)
    if num_samples < 1 or window < 1 or not 0 <= overlap < window:
        raise ValueError(
            f"cannot cut {num_samples} samples into windows of {window_seconds} s that overlap by {overlap_seconds} s; "
            "need at least one sample and 0 <= overlap_seconds < window_seconds"
        )
    if num_samples <= window:
        return [(0, num_samples)]
    starts = [*range(0, num_samples - window, window - overlap), num_samples - window]
    return [(start, start + window) for start in starts]


def _decode(path: Path, start_seconds: float | None, end_seconds: float | None) -> tuple[Waveform, int]:
    """Samples [channels, T] of a stretch of a file as they are in it, and their rate."""
    with _opened(path) as file:
        rate, total = file.samplerate, file.frames
        start = round((start_seconds or 0.0) * rate)
        end = total if end_seconds is None else min(round(end_seconds * rate), total)
        if (start and start >= total) or (end_seconds or 0.0) > total / rate + END_TOLERANCE_SECONDS:
            stretch = f"from {start_seconds or 0} s to {'its end' if end_seconds is None else f'{end_seconds} s'}"
            raise AudioError(f"the stretch {stretch} is not in the file, which is {total / rate:.3f} s long")
        if start:
            file.seek(start)
        samples = _read_blocks(file, end - start)
    if end < _UNKNOWN_LENGTH and samples.shape[1] < end - start - END_TOLERANCE_SECONDS * rate:
        raise AudioError(f"truncated: {samples.shape[1] / rate:.3f} s of {(end - start) / rate:.3f} s could be decoded")
    return samples, rate


def _opened(path: Path) -> soundfile.SoundFile:
    if not path.is_file():
        raise AudioError("there is no such file")
    file = soundfile.SoundFile(str(path))
    try:
        if file.channels > MAX_CHANNELS:
            raise AudioError(f"{file.channels} channels; at most {MAX_CHANNELS} are read")
        _refuse_truncated(file.extra_info)
    except AudioError:
        file.close()
        raise
    return file


def check_rate(sample_rate_hz: float) -> None:
    """Refuse a rate that no audio for people has, with an `AudioError`."""
    if not MIN_INPUT_RATE_HZ <= sample_rate_hz <= MAX_INPUT_RATE_HZ:  # also refuses NaN
        raise AudioError(
            f"sample rate {sample_rate_hz} Hz; between {MIN_INPUT_RATE_HZ} and {MAX_INPUT_RATE_HZ} is read"
        )


def _unreadable(path: str | PathLike[str], error: BaseException) -> AudioError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return AudioError(f"{path}: unreadable ({reason}); is it a complete audio file?")


def _levelled(waveform: Waveform) -> Waveform:
    """At the usual level; zeros where there is nothing to hear."""
    if np.abs(waveform).max(initial=0.0) < 10 ** (SILENCE_DBFS / 20):
        return np.zeros_like(waveform)
    return normalise_level(waveform)


def _read_blocks(file: soundfile.SoundFile, num_samples: int) -> Waveform:
    """[channels, T]; in blocks, so that a header that promises terabytes costs nothing."""
    block = _BLOCK_SAMPLES // file.channels
    blocks = []
    while num_samples > 0:
        read = file.read(min(block, num_samples), dtype="float32", always_2d=True)
        blocks.append(read)
        num_samples -= block
        if len(read) < block:
            break
    return np.concatenate(blocks).T if blocks else np.zeros((file.channels, 0), np.float32)


def _refuse_truncated(log: str) -> None:
    """A WAV, AIFF, AU or Ogg file copied by half, which libsndfile reads as far as it goes without a word."""
    if "Ogg: Junk after the last page" in log:
        raise AudioError("truncated: it ends in the middle of an Ogg page")
    for promised, present in re.findall(r"(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", log):
        # Recorders that stream leave 0 or all ones in the header; those files are whole.
        if int(present) + _SLOPPY_HEADER_BYTES < int(promised) < 0x7FFF0000:
            raise AudioError(f"truncated: its header promises {promised} bytes of sound, it has {present}")


def as_channels(samples: NDArray[Any]) -> NDArray[np.floating]:
    """[channels, T] floating point, integers scaled by their full scale.

    Raises:
        AudioError: another rank or type, or too many channels.
    """
    if samples.ndim not in (1, 2):
        raise AudioError(f"array of shape {samples.shape}; need [samples] or [channels, samples]")
    samples = samples[np.newaxis] if samples.ndim == 1 else samples
    if not 1 <= samples.shape[0] <= MAX_CHANNELS:
        raise AudioError(f"{samples.shape[0]} channels; need 1 to {MAX_CHANNELS}, laid out as [channels, samples]")
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.signedinteger):
        return samples / -float(np.iinfo(samples.dtype).min)
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"samples of type {samples.dtype}; need floating point, signed integers or uint8")
    return samples


def _mix(channels: Waveform) -> Waveform:
    """Mean over the channels, without DC; the loudest channel where the mean cancels."""
    mono = channels.mean(axis=0, dtype=np.float64)
    mono -= mono.mean()
    if len(channels) > 1:
        levels = channels.std(axis=1, dtype=np.float64)
        if mono.std() < CANCELLED * levels.max():
            loudest = channels[levels.argmax()].astype(np.float64)
            mono = loudest - loudest.mean()
    return mono.astype(np.float32)


def _root_mean_square(waveform: Waveform) -> float:
    return math.sqrt(float(np.mean(np.square(waveform, dtype=np.float64))))


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
