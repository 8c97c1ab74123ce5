"""Clips one at a time (`ClipDataset`), stacked (`collate`), and loaded so that a run can go on (`ClipLoader`)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pixel_mm.data.augment import Augment
from pixel_mm.data.batching import (
    NO_EMOTION,
    FrameBatchSampler,
    FrameStore,
    Request,
    StateBatch,
    WaveformBatch,
)
from pixel_mm.data.clip_store import ClipStore, Window
from pixel_mm.data.emotions import DIMENSIONS


class LabelledClip(NamedTuple):
    """One clip on its way into a batch; fields as in `Batch` (`row` is `index`), `content` float [T] or [S, F, D]."""

    content: np.ndarray
    ratings: list[float]
    emotion: int
    row: int
    key: str
    audio_hash: str
    mask_seed: int | None = None
    transcript: str | None = None


def collate(clips: Sequence[LabelledClip]) -> WaveformBatch | StateBatch:
    """Stack clips, zero-padded to the longest. All hold waveforms, or all hold states."""
    labels: dict[str, Any] = {
        "ratings": torch.tensor([clip.ratings for clip in clips], dtype=torch.float32).reshape(-1, len(DIMENSIONS)),
        "emotion": torch.tensor([clip.emotion for clip in clips], dtype=torch.int64),
        "index": torch.tensor([clip.row for clip in clips], dtype=torch.int64),
        "keys": tuple(clip.key for clip in clips),
        "audio_hashes": tuple(clip.audio_hash for clip in clips),
        "transcripts": tuple(clip.transcript for clip in clips),
    }
    axis = 0 if clips[0].content.ndim == 1 else 1  # time
    lengths = [clip.content.shape[axis] for clip in clips]
    shape = list(clips[0].content.shape)
    shape[axis] = max(lengths)
    content = torch.zeros((len(clips), *shape), dtype=torch.float32)
    for row, (clip, length) in enumerate(zip(clips, lengths, strict=True)):
        given = clip.content if clip.content.flags.writeable else clip.content.copy()  # torch warns of the others
        content[row].narrow(axis, 0, length).copy_(torch.from_numpy(given))  # widens halves faster than numpy
    if axis == 0:
        seeds = [clip.mask_seed for clip in clips if clip.mask_seed is not None]
        labels["mask_seeds"] = torch.tensor(seeds, dtype=torch.int64) if seeds else None
        return WaveformBatch(waveform=content, num_samples=torch.tensor(lengths, dtype=torch.int64), **labels)
    return StateBatch(states=content, num_frames=torch.tensor(lengths, dtype=torch.int64), **labels)


class ClipDataset(Dataset[LabelledClip]):
    """Some windows of a store with their labels, as waveforms or as a trunk's states."""

    def __init__(
        self,
        store: ClipStore,
        windows: Sequence[Window],
        emotion_labels: Sequence[str],
        augment: Augment | None = None,
        states: FrameStore | None = None,
    ) -> None:
        """Choose what to give.

        Args:
            store: the clips.
            windows: those of its windows that this data set has.
            emotion_labels: names of the classes; a clip with another emotion has none here.
            augment: what changes the clips and seeds the network's masks, or None.
            states: where to take hidden states from instead of audio, or None.
        """
        self.windows = list(windows)
        self._store, self._augment, self._states = store, augment or Augment(), states
        self._training = augment is not None
        self._classes = {name: number for number, name in enumerate(emotion_labels)}

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows)

    def __getitem__(self, request: Request) -> LabelledClip:
        """A window as it is in an epoch."""
        window = self.windows[request.clip]
        utterance = self._store.utterances[window.row]
        ratings = utterance.ratings or {}
        return LabelledClip(
            content=self._content(window, request.epoch),
            ratings=[ratings.get(name, float("nan")) for name in DIMENSIONS],
            emotion=self._classes.get(utterance.emotion or "", NO_EMOTION),
            row=window.row,
            key=window.key,
            audio_hash=window.audio_hash,
            mask_seed=self._augment.mask_seed(window.key, request.epoch) if self._training else None,
            transcript=utterance.transcript if window.key == utterance.key else None,
        )

    def _content(self, window: Window, epoch: int) -> np.ndarray:
        if self._states is not None:
            return self._states.get(window.audio_hash, self._augment.variant(epoch))
        return self._store.copy(window, self._augment, epoch)


class ClipLoader(DataLoader[Any]):
    """A DataLoader that knows how far it is, so that a run stopped within an epoch goes on with the next batch."""

    batch_sampler: FrameBatchSampler

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: FrameBatchSampler,
        num_workers: int,
        pin_memory: bool,
        stack: Callable[[Any], Any] = collate,
    ) -> None:
        """Load the sampler's batches of the dataset; `stack` makes a batch of its items."""
        super().__init__(
            dataset,
            batch_sampler=sampler,
            collate_fn=stack,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
        )
        self._given = 0

    def __iter__(self) -> Any:
        """Batches of the sampler's epoch.

        Nothing is fetched before the first one is asked for: Lightning makes the iterator before it sets the epoch.
        """
        self._given = self.batch_sampler.num_skipped
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """How far it is; Lightning keeps it in the checkpoint."""
        return {"epoch": self.batch_sampler.epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there: the epoch's first batches are left out when it is iterated again."""
        self.batch_sampler.resume_from(state["epoch"], state["batches"])
