"""`SpeechDataModule`: a corpus on its way to batches.

It reads the corpus, looks at every clip once, splits by speaker, and loads. Rows are places in `utterances`, the usable
clips; splits, measurements and the batches' `index` all count in them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import datasets
import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from pixel_mm.data.augment import Augment
from pixel_mm.data.batching import CLEAN, Batch, FrameBatchSampler, FrameStore, Request, Variant, WaveformBatch
from pixel_mm.data.checks import one_label_source, refuse_too_many_bad, report_bad_clips
from pixel_mm.data.clip_store import ClipStore, Window, place_of
from pixel_mm.data.corpora.corpus import Corpus, to_dataset
from pixel_mm.data.dataset import ClipDataset, ClipLoader, collate
from pixel_mm.data.emotions import EMOTIONS
from pixel_mm.data.splits import Parts, check_speaker_disjoint
from pixel_mm.data.utterance import LabelSource, Utterance


class Batching(Protocol):
    """Makes a sampler; `FrameBatchSampler` with its limits already given."""

    def __call__(
        self,
        num_samples: Sequence[int],
        *,
        shuffle: bool,
        seed: int,
        rank: int,
        world_size: int,
        kinds: Sequence[int] | None = None,
    ) -> FrameBatchSampler:
        """See `FrameBatchSampler`."""


class SpeechDataModule(pl.LightningDataModule):
    """Loads a corpus's clips with their labels.

    Attributes:
        corpus: the reader.
        augment: what changes the clips that are trained on.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        split: Callable[[Sequence[Utterance]], Parts],
        batching: Batching,
        augment: Augment | None = None,
        label_source: LabelSource | None = None,
        emotion_labels: Sequence[str] | None = None,
        seed: int = 0,
        max_bad_share: float = 0.05,
        cache_gigabytes: float = 2.0,
        window_overlap_seconds: float = 5.0,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; nothing is read before something is asked for.

        Args:
            corpus: the reader.
            split: gives the rows to train, validate and test on, as the functions of `pixel_mm.data.splits` do.
            batching: see there.
            augment: for training; None changes nothing.
            label_source: where the ratings have to come from; None is wherever they come from, but one place.
            emotion_labels: the classes; None is every category that the corpus's usable clips have, sorted. Clips with
                another category have none.
            seed: of the order of training.
            max_bad_share: share of clips that may be unusable, 0..1.
            cache_gigabytes: decoded audio to keep in memory, 10 ** 9 bytes.
            window_overlap_seconds: what neighbouring windows of a clip over 30 s share.
            num_workers: processes that load; 0 loads in this one.
        """
        super().__init__()
        self.corpus = corpus
        self.augment = augment or Augment()
        self._split, self._batching, self._seed = split, batching, seed
        self._label_source, self._emotion_labels = label_source, emotion_labels
        self._max_bad_share, self._num_workers = max_bad_share, num_workers
        self._cache_bytes, self._overlap_seconds = round(cache_gigabytes * 1e9), window_overlap_seconds
        self._read_store: ClipStore | None = None
        self._parts: Parts | None = None
        self._states: FrameStore | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the corpus and look at its clips, once.

        Raises:
            ValueError: labels from another source than asked for, no usable clip, or too many unusable ones.
            CorpusError: see the reader.
        """
        _ = self._store

    @property
    def _store(self) -> ClipStore:
        if self._read_store is None:
            utterances = self.corpus.read()
            self._label_source = one_label_source(utterances, self._label_source)
            store = ClipStore(utterances, self._cache_bytes, self._overlap_seconds)
            refuse_too_many_bad(store.bad_clips, len(utterances), self._max_bad_share)
            self._read_store, self._num_read = store, len(utterances)
            self.report_bad_clips()
        return self._read_store

    @property
    def utterances(self) -> list[Utterance]:
        """The usable clips, in the reader's order."""
        return self._store.utterances

    @property
    def table(self) -> datasets.Dataset:
        """The usable clips as a table, audio undecoded."""
        return to_dataset(self.utterances)

    @property
    def label_source(self) -> LabelSource | None:
        """Where the ratings come from; None where there are none."""
        self.setup()
        return self._label_source

    @property
    def emotion_labels(self) -> tuple[str, ...]:
        """Names of the classes, by number."""
        if self._emotion_labels is not None:
            return tuple(self._emotion_labels)
        present = {utterance.emotion for utterance in self.utterances}
        return tuple(name for name in sorted(EMOTIONS) if name in present)

    @property
    def levels_dbfs(self) -> NDArray[np.float64]:
        """[rows], root mean square of each clip before it was levelled, dB below full scale."""
        return self._store.levels_dbfs

    @property
    def durations_seconds(self) -> NDArray[np.float64]:
        """[rows]."""
        return self._store.durations_seconds

    @property
    def bad_clips(self) -> dict[str, str]:
        """Why a file (or a stretch of one) could not be used."""
        return self._store.bad_clips

    @property
    def parts(self) -> Parts:
        """Rows that are trained, validated and tested on."""
        if self._parts is None:
            self.use_split(*self._split(self.utterances))
            assert self._parts is not None
        return self._parts

    def use_split(self, train: Sequence[int], validation: Sequence[int], test: Sequence[int]) -> None:
        """Train, validate and test on these rows instead; nothing is read again.

        Raises:
            SplitError: parts that share a speaker.
            IndexError: a row that there is not.
        """
        parts = Parts(list(train), list(validation), list(test))
        check_speaker_disjoint(*([self.utterances[row] for row in part] for part in parts))
        self._parts = parts

    def leave_out(self, reasons: Mapping[int, str]) -> None:
        """Train, validate and test without some rows, which `bad_clips` names from now on.

        Args:
            reasons: why a row's clip cannot be used for what is trained.

        Raises:
            ValueError: together with the unusable files they are more than `max_bad_share`.
        """
        if not reasons:
            return
        kept = ([row for row in part if row not in reasons] for part in self.parts)
        self.bad_clips.update({place_of(self.utterances[row]): reason for row, reason in reasons.items()})
        refuse_too_many_bad(self.bad_clips, self._num_read, self._max_bad_share)
        self.use_split(*kept)
        report_bad_clips(self.bad_clips, self._num_read - len(self.bad_clips))

    def use_states(self, store: FrameStore | None) -> None:
        """Load `StateBatch`es from a store that holds every clip and variant, or (None) `WaveformBatch`es again."""
        self._states = store

    def clips(self, variant: Variant = CLEAN, missing_from: FrameStore | None = None) -> Iterator[WaveformBatch]:
        """Batches of all clips, train and test alike, in one variant, whatever store is in use.

        Args:
            variant: "clean", or a number as `augment.variant` gives it.
            missing_from: leave out the clips that this store has.
        """
        augment, epoch = (None, 0) if variant == CLEAN else (self.augment, int(variant))
        windows = [
            window
            for window in self._store.windows
            if missing_from is None or not missing_from.has(window.audio_hash, variant)
        ]
        dataset = ClipDataset(self._store, windows, self.emotion_labels, augment)
        sampler = self._sampler(windows, shuffle=False, rank=0, world_size=1)
        for batch in sampler.global_batches(epoch):
            stacked = collate([dataset[Request(clip, epoch)] for clip in batch])
            assert isinstance(stacked, WaveformBatch)
            yield stacked

    def loader(self, rows: Sequence[int], training: bool = False) -> ClipLoader:
        """Loads some rows: shuffled and augmented for training, else by length and as they are.

        Raises:
            ValueError: limits of a batch that a clip, or a clip for every rank, does not fit into.
        """
        chosen = set(rows)
        windows = [window for window in self._store.windows if window.row in chosen]
        dataset = ClipDataset(
            self._store, windows, self.emotion_labels, self.augment if training else None, self._states
        )
        rank = self.trainer.global_rank if self.trainer else 0
        world_size = self.trainer.world_size if self.trainer else 1
        sampler = self._sampler(windows, shuffle=training, rank=rank, world_size=world_size)
        return ClipLoader(dataset, sampler, self._num_workers, pin_memory=torch.cuda.is_available())

    def _sampler(self, windows: Sequence[Window], shuffle: bool, rank: int, world_size: int) -> FrameBatchSampler:
        lengths = [window.num_samples for window in windows]
        return self._batching(lengths, shuffle=shuffle, seed=self._seed, rank=rank, world_size=world_size)

    def train_dataloader(self) -> ClipLoader:
        """The training part, shuffled and augmented."""
        return self.loader(self.parts.train, training=True)

    def val_dataloader(self) -> ClipLoader | list[Any]:
        """The validation part; an empty list where there is none."""
        return self.loader(self.parts.validation) if self.parts.validation else []

    def test_dataloader(self) -> ClipLoader | list[Any]:
        """The test part; an empty list where there is none."""
        return self.loader(self.parts.test) if self.parts.test else []

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; called by Lightning."""
        return batch.to(device, non_blocking=True)

    def report_bad_clips(self) -> None:
        """Count and list the clips that were left out, on standard error of rank 0; nothing where there are none."""
        report_bad_clips(self.bad_clips, len(self.utterances))
