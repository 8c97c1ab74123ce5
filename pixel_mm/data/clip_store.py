"""Every clip's audio, looked at once and kept in memory where it fits: `ClipStore`.

One bad file never stops a run: it is left out, counted and named; when there are too many, something else is wrong.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from pixel_mm.audio import (
    MAX_SECONDS,
    SAMPLE_RATE_HZ,
    SILENCE_DBFS,
    AudioError,
    Clip,
    Waveform,
    normalise_level,
    read_audio,
)
from pixel_mm.audio import windows as cut_windows
from pixel_mm.data.augment import Augment
from pixel_mm.data.batching import CLEAN, Variant
from pixel_mm.data.utterance import Utterance

# soundfile and soxr leave the interpreter to others while they work; more threads than this only compete for the disk.
_THREADS = 4
_CHUNK_CLIPS = 64
_PROGRESS_FROM_CLIPS = 2000


class Window(NamedTuple):
    """A stretch of a clip that a model takes at once: the whole clip, unless it is longer than 30 s.

    Attributes:
        row: the clip.
        start: first sample in it.
        end: last sample, exclusive.
        key: the clip's name, with where in it the window lies if it isn't whole.
        audio_hash: SHA-256 of the window's waveform.
    """

    row: int
    start: int
    end: int
    key: str
    audio_hash: str

    @property
    def num_samples(self) -> int:
        """Length, 16 kHz."""
        return self.end - self.start


class _Look(NamedTuple):
    """What one look at a clip's audio tells."""

    spans: list[tuple[int, int, str]]  # start, end, hash of each window
    level_dbfs: float
    num_samples: int
    waveform: Waveform


class ClipStore:
    """The usable clips of a list of utterances.

    Attributes:
        utterances: those whose audio can be used, in the order given; a row is a place in it.
        windows: what they are made of for a model, ordered by row and time.
        levels_dbfs: float64 [rows], level of each clip before it was normalised.
        durations_seconds: float64 [rows].
        bad_clips: the reason by file (and stretch of it), for those left out.
    """

    def __init__(self, utterances: Sequence[Utterance], cache_bytes: int, overlap_seconds: float) -> None:
        """Look at every clip once.

        Args:
            utterances: the clips.
            cache_bytes: waveforms (then changed copies) up to this sum stay in memory, from the first clip on; others
                are made again. Each process that loads keeps its own.
            overlap_seconds: what neighbouring windows of a clip over 30 s share.
        """
        self.utterances: list[Utterance] = []
        self.windows: list[Window] = []
        self.bad_clips: dict[str, str] = {}
        self._kept: dict[tuple[int, int, Variant], Waveform] = {}  # by row, start and variant
        self._cache_bytes = cache_bytes
        levels, durations = [], []
        for utterance, look in zip(utterances, _look_at_all(utterances, overlap_seconds), strict=True):
            if isinstance(look, AudioError):
                self.bad_clips[place_of(utterance)] = str(look).removeprefix(f"{utterance.path}: ")
                continue
            row = len(self.utterances)
            self.utterances.append(utterance)
            self._keep((row, 0, CLEAN), look.waveform)
            levels.append(look.level_dbfs)
            durations.append(look.num_samples / SAMPLE_RATE_HZ)
            for start, end, audio_hash in look.spans:
                whole = end - start == look.num_samples
                key = utterance.key if whole else f"{utterance.key}@{start / SAMPLE_RATE_HZ:.3f}s"
                self.windows.append(Window(row, start, end, key, audio_hash))
        self.levels_dbfs = np.array(levels, dtype=np.float64)
        self.durations_seconds = np.array(durations, dtype=np.float64)

    def waveform(self, row: int) -> Waveform:
        """A whole clip, levelled: float32 [T]. Not to be written to.

        Raises:
            AudioError: the file has gone since it was looked at.
        """
        name = (row, 0, CLEAN)
        if name in self._kept:
            return self._kept[name]
        waveform = _read(self.utterances[row]).waveform
        self._keep(name, waveform)
        return waveform

    def window_waveform(self, window: Window) -> Waveform:
        """A window, levelled by itself as inference does: float32 [T]. Not to be written to."""
        return _cut(self.waveform(window.row), window.start, window.end)

    def copy(self, window: Window, augment: Augment, epoch: int) -> Waveform:
        """A window as it is changed for an epoch: float32 [T']. Not to be written to.

        Copies that later epochs (or other folds) use again are kept too: changing a clip takes 30 times as long as
        reading it.
        """
        variant = augment.variant(epoch)
        if variant == CLEAN:
            return self.window_waveform(window)
        name = (window.row, window.start, variant)
        if name in self._kept:
            return self._kept[name]
        changed = augment(self.window_waveform(window), window.key, epoch)
        if augment.kept_variants() is not None:
            self._keep(name, changed)
        return changed

    def _keep(self, name: tuple[int, int, Variant], waveform: Waveform) -> None:
        if waveform.nbytes <= self._cache_bytes:
            self._cache_bytes -= waveform.nbytes
            self._kept[name] = waveform


def _look_at_all(utterances: Sequence[Utterance], overlap_seconds: float) -> Iterator[_Look | AudioError]:
    """Looks in the order of the utterances, a few clips ahead of what is taken."""

    def look(utterance: Utterance) -> _Look | AudioError:
        try:
            return _look_at(utterance, overlap_seconds)
        except AudioError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as threads:
        # In chunks: the pool works through all it is given at once, and would hold every waveform of a large corpus.
        for start in track(
            range(0, len(utterances), _CHUNK_CLIPS),
            description="Reading audio",
            transient=True,
            disable=len(utterances) < _PROGRESS_FROM_CLIPS,
        ):
            yield from threads.map(look, utterances[start : start + _CHUNK_CLIPS])


def _look_at(utterance: Utterance, overlap_seconds: float) -> _Look:
    clip = _read(utterance)
    spans = []
    for start, end in cut_windows(len(clip.waveform), MAX_SECONDS, overlap_seconds):
        stretch = clip.waveform[start:end]
        if np.abs(stretch).max() < 10 ** (SILENCE_DBFS / 20):
            continue  # a pause of half a minute in a longer clip says nothing of its label
        audio_hash = hashlib.sha256(_cut(clip.waveform, start, end).tobytes()).hexdigest()
        spans.append((start, end, audio_hash))
    return _Look(spans, clip.level_dbfs, len(clip.waveform), clip.waveform)


def _cut(waveform: Waveform, start: int, end: int) -> Waveform:
    return waveform if end - start == len(waveform) else normalise_level(waveform[start:end])


def _read(utterance: Utterance) -> Clip:
    return read_audio(utterance.path, utterance.start_seconds, utterance.end_seconds)


def place_of(utterance: Utterance) -> str:
    """Path, and the stretch of the file where it isn't whole."""
    return str(utterance.path.with_name(Path(utterance.key).name))
