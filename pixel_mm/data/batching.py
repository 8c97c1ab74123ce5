"""Batches: what one holds, and which clips share one.

A batch is limited by its padded length in frames and by its number of clips. Clips are sorted into buckets of similar
length, so little of a batch is padding; which clips of a bucket share a batch, and the order of batches, change with
every epoch and depend on the seed and the epoch alone. A batch is global: every process deals the same one over the
ranks, so that two devices see exactly what one would.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

FRAME_SAMPLES = 160
"""Samples of a frame of the batch limit: 10 ms, the step of a log-mel spectrogram."""

NO_EMOTION = -100
"""Class of a clip without an emotion category; the one that torch's cross-entropy ignores."""

Variant = int | str
"""Which augmented version of a clip: a number, or "clean"."""
CLEAN = "clean"


class FrameStore(Protocol):
    """Where hidden states of a frozen trunk are kept, by the hash of the clip's audio and the variant."""

    def has(self, audio_hash: str, variant: Variant) -> bool:
        """Whether the states of this variant of a clip are there."""

    def get(self, audio_hash: str, variant: Variant) -> np.ndarray:
        """States [S, F, D], float16 or float32."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The labels of some clips, and whose they are.

    Attributes:
        ratings: float32 [B, 3], 0..1, by `DIMENSIONS`; NaN where there is none.
        emotion: int64 [B], class by the data module's `emotion_labels`; -100 where there is none.
        index: int64 [B], the data module's row of each clip. A clip over 30 s comes in windows that share their row.
        keys: name of each clip, the same on every machine.
        audio_hashes: SHA-256 of each clip's levelled waveform before augmentation.
        transcripts: what is said in each clip, as the corpus writes it; None where nobody has written it down, and in a
            window of a clip over 30 s, since it is unknown which words are in it.
    """

    ratings: Tensor
    emotion: Tensor
    index: Tensor
    keys: tuple[str, ...]
    audio_hashes: tuple[str, ...]
    transcripts: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        """Number of clips B."""
        return len(self.keys)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The batch with its tensors on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in page-locked memory; what a DataLoader with `pin_memory` calls."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: dict[str, Any] = {name: function(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


@dataclass(frozen=True, kw_only=True)
class WaveformBatch(Batch):
    """Clips as audio.

    Attributes:
        waveform: float32 [B, T], 16 kHz, in [-1, 1]; zero beyond a clip's end.
        num_samples: int64 [B]; T is their maximum.
        mask_seeds: int64 [B], of what the network masks of each clip in training; None masks nothing.
    """

    waveform: Tensor
    num_samples: Tensor
    mask_seeds: Tensor | None = None

    @property
    def padding_share(self) -> float:
        """Share of the batch that is padding, 0..1."""
        return 1 - float(self.num_samples.sum()) / self.waveform.numel()


@dataclass(frozen=True, kw_only=True)
class StateBatch(Batch):
    """Clips as the hidden states of a frozen trunk.

    Attributes:
        states: float32 [B, S, F, D]; zero beyond a clip's end.
        num_frames: int64 [B]; F is their maximum.
    """

    states: Tensor
    num_frames: Tensor

    @property
    def padding_share(self) -> float:
        """Share of the batch that is padding, 0..1."""
        return 1 - float(self.num_frames.sum()) / (self.states.shape[0] * self.states.shape[2])


class Request(NamedTuple):
    """What a sampler asks a dataset for: a clip by its place in the list, as it is in an epoch."""

    clip: int
    epoch: int


class FrameBatchSampler:
    """Deals batches of clips of similar length over the ranks.

    Each clip is in exactly one batch of an epoch. Their number is the same in every epoch and on every rank, and every
    rank gets at least one clip of each.
    """

    def __init__(
        self,
        num_samples: Sequence[int],
        *,
        max_frames_per_batch: int,
        max_clips_per_batch: int,
        buckets: int = 12,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        kinds: Sequence[int] | None = None,
    ) -> None:
        """Sort the clips into buckets.

        Args:
            num_samples: length of each clip, 16 kHz samples.
            max_frames_per_batch: padded length of a global batch at most: clips times the longest of them, in frames
                of 10 ms.
            max_clips_per_batch: clips of a global batch at most.
            buckets: groups of clips of similar length, at most; none holds less than a batch of the usual size. More
                of them pad less and mix less.
            shuffle: mix the clips of a bucket, and the batches; else longest batches come last.
            seed: of the shuffling.
            rank: whose share of the batches to deal, 0 to world_size - 1.
            world_size: how many ranks share each batch.
            kinds: of each clip; no batch has clips of two kinds, unless there are fewer than two of one for a rank.
                None: all are of one.

        Raises:
            ValueError: limits that a clip, or a clip for each rank, does not fit into.
        """
        self.num_frames = np.ceil(np.asarray(num_samples, dtype=np.int64) / FRAME_SAMPLES).astype(np.int64)
        self.shuffle, self.seed, self.rank, self.world_size = shuffle, seed, rank, world_size
        self.epoch = 0
        self._had = (0, 0)
        _check_limits(self.num_frames, max_frames_per_batch, max_clips_per_batch, world_size)
        # Each bucket's batches are cut evenly, for its longest clip: whatever the shuffle, they fit, their number stays
        # the same, and none is a lonely remainder.
        self._buckets: list[tuple[np.ndarray, int]] = []
        for places in _by_kind(len(self.num_frames), kinds, world_size):
            for bucket in _by_length(self.num_frames[places], buckets, max_frames_per_batch, max_clips_per_batch):
                fitting = min(max_clips_per_batch, max_frames_per_batch // int(self.num_frames[places[bucket]].max()))
                self._buckets.append((places[bucket], -(-len(bucket) // fitting)))

    @property
    def sampler(self) -> "FrameBatchSampler":
        """Itself: Lightning calls `set_epoch` of a batch sampler's `sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration deals."""
        self.epoch = epoch

    def resume_from(self, epoch: int, batches: int) -> None:
        """Leave out an epoch's first batches, which a run that goes on has already had."""
        self._had = (epoch, batches)

    @property
    def num_skipped(self) -> int:
        """Batches of the current epoch that are left out."""
        epoch, batches = self._had
        return batches if epoch == self.epoch and batches < len(self) else 0

    def global_batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch before they are dealt: places in `num_samples`."""
        random = np.random.default_rng([self.seed, epoch])
        batches = []
        for bucket, count in self._buckets:
            order = random.permutation(bucket) if self.shuffle else bucket
            batches += [batch.tolist() for batch in np.array_split(order, count)]
        if self.shuffle:
            batches = [batches[place] for place in random.permutation(len(batches))]
        return batches

    @property
    def padding_share(self) -> float:
        """Share of the current epoch's frames that is padding, 0..1, before augmentation changes any length."""
        batches = self.global_batches(self.epoch)
        padded = sum(len(batch) * int(self.num_frames[batch].max()) for batch in batches)
        return 1 - int(self.num_frames.sum()) / padded if padded else 0.0

    def __iter__(self) -> Iterator[list[Request]]:
        """This rank's share of each batch of the epoch."""
        epoch = self.epoch
        for batch in self.global_batches(epoch)[self.num_skipped :]:
            yield [Request(clip, epoch) for clip in batch[self.rank :: self.world_size]]

    def __len__(self) -> int:
        """Batches of an epoch, the skipped ones included."""
        return sum(count for _, count in self._buckets)


def _by_kind(count: int, kinds: Sequence[int] | None, world_size: int) -> list[np.ndarray]:
    """Places of the clips of each kind; of all as one where a kind has too few for every rank."""
    found = np.zeros(count, np.int64) if kinds is None else np.asarray(kinds, np.int64)
    groups = [np.flatnonzero(found == kind) for kind in np.unique(found)]
    return groups if all(len(group) >= 2 * world_size for group in groups) else [np.arange(count)]


def _by_length(num_frames: np.ndarray, buckets: int, max_frames: int, max_clips: int) -> list[np.ndarray]:
    """Places of clips of similar length, shortest first, in groups of whole batches of the usual size."""
    if not len(num_frames):
        return []
    usual = min(max_clips, max_frames // int(np.median(num_frames)))
    batches = max(1, len(num_frames) // usual)
    sizes = [len(group) * usual for group in np.array_split(np.arange(batches), min(buckets, batches))]
    ends = np.cumsum(sizes) + len(num_frames) - sum(sizes)  # what is left over goes to the shortest
    return np.split(np.argsort(num_frames, kind="stable"), ends[:-1])


def _check_limits(num_frames: np.ndarray, max_frames: int, max_clips: int, world_size: int) -> None:
    if not len(num_frames):
        return
    # Evenly cut batches are at least half full, so twice the ranks' number makes sure of a clip for each.
    needed = 1 if world_size == 1 else 2 * world_size
    longest = int(num_frames.max())
    if max_clips < needed:
        raise ValueError(
            f"max_clips_per_batch is {max_clips}; it counts the clips of all {world_size} ranks and must be at least "
            f"{needed}"
        )
    if max_frames // longest < needed:
        raise ValueError(
            f"max_frames_per_batch is {max_frames}; it counts the 10 ms frames of all {world_size} ranks, the longest "
            f"clip has {longest}, and {needed} such clips must fit: set it to {needed * longest} or more"
        )
    if len(num_frames) < world_size:
        raise ValueError(f"{len(num_frames)} clips cannot be dealt over {world_size} ranks; use fewer devices")
