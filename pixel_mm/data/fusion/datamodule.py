"""`FusionDataModule`: sources of fusion rows on their way to batches.

It reads the sources, looks at every voice once, and loads the parts that the sources gave their rows. What a model may
use of a row is an option: its words, its voice, the voice described in words; so baselines are configurations.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from transformers import PreTrainedTokenizerBase

from pixel_mm.chat import SYSTEM
from pixel_mm.data.checks import refuse_too_many_bad, report_bad_clips
from pixel_mm.data.datamodule import Batching
from pixel_mm.data.dataset import ClipLoader
from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.data.fusion.batch import FusionBatch, RowCollator
from pixel_mm.data.fusion.dataset import FusionDataset, View, VoiceStore
from pixel_mm.data.fusion.prosody_words import ProsodyWords, measure_prosody
from pixel_mm.data.fusion.row import FusionRow, RowSource, check_disjoint
from pixel_mm.data.splits import Parts
from pixel_mm.data.utterance import Utterance


class FusionDataModule(pl.LightningDataModule):
    """Loads rows of one or more sources."""

    def __init__(
        self,
        sources: Mapping[str, RowSource | None],
        *,
        batching: Batching,
        reads: bool = True,
        hears: bool = True,
        describes: bool = False,
        system: str | None = SYSTEM,
        seed: int = 0,
        max_bad_share: float = 0.05,
        cache_gigabytes: float = 2.0,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; nothing is read before something is asked for.

        Args:
            sources: of rows, by any name; None is no source.
            batching: makes a sampler, see `pixel_mm.data.batching`; a token counts as 100 ms of audio.
            reads: rows' words are given.
            hears: rows' voices are given.
            describes: voices are described in words, compared with those of the training part.
            system: what the language model is told of its part; None is what its chat template says by itself.
            seed: of the order of training.
            max_bad_share: share of clips that may be unusable, 0..1.
            cache_gigabytes: decoded audio to keep in memory, 10 ** 9 bytes.
            num_workers: processes that load; 0 loads in this one.

        Raises:
            ValueError: nothing of a row would be given.
        """
        super().__init__()
        if not (reads or hears or describes):
            raise ValueError("datamodule.reads, hears and describes are all false: a model would be given nothing")
        self._sources, self._batching, self._seed = sources, batching, seed
        self._reads, self._hears, self._describes, self._system = reads, hears, describes, system
        self._max_bad_share, self._num_workers = max_bad_share, num_workers
        self._cache_bytes = round(cache_gigabytes * 1e9)
        self._read: tuple[list[FusionRow], VoiceStore] | None = None
        self._made_view: View | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the sources and look at the voices, once.

        Raises:
            ValueError: parts that share a speaker or a sentence, a score with labels of two kinds, no row that can be
                used, or too many voices that cannot.
            CorpusError: see the sources.
        """
        _ = self._content

    @property
    def _content(self) -> tuple[list[FusionRow], VoiceStore]:
        if self._read is None:
            rows = [row for source in self._sources.values() if source is not None for row in source.read()]
            check_disjoint(rows)
            _refuse_two_kinds_of_labels(rows)
            voices = VoiceStore(rows, self._cache_bytes)
            if voices.num_clips:
                refuse_too_many_bad(voices.bad_clips, voices.num_clips, self._max_bad_share)
            shown = View(self._reads, self._hears or self._describes)
            usable = [row for row in rows if shown.uses(row) and (row.clip is None or voices.has(row))]
            self._read = usable, voices
            report_bad_clips(voices.bad_clips, voices.num_clips - len(voices.bad_clips))
        return self._read

    @property
    def rows(self) -> list[FusionRow]:
        """The rows that can be used, in the sources' order. A row of a voice that cannot be used is left out whole."""
        return self._content[0]

    @property
    def utterances(self) -> list[Utterance | None]:
        """The voice of each row."""
        return [row.clip for row in self.rows]

    @property
    def bad_clips(self) -> dict[str, str]:
        """Why a file could not be used."""
        return self._content[1].bad_clips

    @property
    def parts(self) -> Parts:
        """Places in `rows` that are trained, validated and tested on."""
        return Parts(*([n for n, row in enumerate(self.rows) if row.split == part] for part in Parts._fields))

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that some row of the training part has, in the order of `FUSION_SCORES`."""
        labelled = {name for place in self.parts.train for name in self.rows[place].scores}
        return tuple(name for name in FUSION_SCORES if name in labelled)

    @property
    def view(self) -> View:
        """What is given of a row."""
        if self._made_view is None:
            self._made_view = View(self._reads, self._hears, self._prosody(), self._system)
        return self._made_view

    def _prosody(self) -> ProsodyWords | None:
        if not self._describes:
            return None
        rows, voices = self._content
        clips = {voices.window(row).row: row for row in map(rows.__getitem__, self.parts.train) if row.clip is not None}
        return ProsodyWords([measure_prosody(voices.waveform(row), voices.level_dbfs(row)) for row in clips.values()])

    def with_rows(self, rows: Sequence[FusionRow]) -> "FusionDataModule":
        """A data module of other rows, seen as this one's: the same view, what is usual in voices, and tokenizer."""
        other = FusionDataModule(
            {"given": _Given(rows)},
            batching=self._batching,
            seed=self._seed,
            max_bad_share=self._max_bad_share,
            cache_gigabytes=self._cache_bytes / 1e9,
            num_workers=self._num_workers,
        )
        other._reads, other._hears, other._describes = self._reads, self._hears, self._describes
        other._made_view, other._tokenizer = self.view, self._tokenizer
        return other

    def use_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make tokens with this one, the language model's own; before anything is loaded."""
        self._tokenizer = tokenizer

    def loader(
        self, places: Sequence[int], training: bool = False, voice_of: Mapping[int, int] | None = None
    ) -> ClipLoader:
        """Loads some rows: shuffled for training, else by length.

        Args:
            places: in `rows`.
            training: mixes them.
            voice_of: by row, another row whose voice it gets, to see what wrong voices do.

        Raises:
            ValueError: no tokenizer yet, or limits of a batch that a row doesn't fit into.
        """
        if self._tokenizer is None:
            raise ValueError("the data module has no tokenizer; call use_tokenizer with the language model's first")
        rows, voices = self._content
        dataset = FusionDataset(rows, places, voices, self.view, self._tokenizer, voice_of)
        sampler = self._batching(
            dataset.lengths,
            shuffle=training,
            seed=self._seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            # Rows without an answer may need none of the language model (`model.reads_top`); a batch of them saves it.
            kinds=[int(rows[place].response is not None) for place in places],
        )
        padding = self._tokenizer.pad_token_id
        stack = RowCollator(int(self._tokenizer.eos_token_id if padding is None else padding))
        return ClipLoader(dataset, sampler, self._num_workers, torch.cuda.is_available(), stack)

    def train_dataloader(self) -> ClipLoader:
        """The training part, shuffled."""
        return self.loader(self.parts.train, training=True)

    def val_dataloader(self) -> ClipLoader | list[Any]:
        """The validation part; an empty list where there is none."""
        return self.loader(self.parts.validation) if self.parts.validation else []

    def test_dataloader(self) -> ClipLoader | list[Any]:
        """The test part; an empty list where there is none."""
        return self.loader(self.parts.test) if self.parts.test else []

    def transfer_batch_to_device(self, batch: FusionBatch, device: torch.device, dataloader_idx: int) -> FusionBatch:
        """Move a batch; called by Lightning."""
        return batch.to(device, non_blocking=True)


class _Given:
    """Rows that are there already."""

    def __init__(self, rows: Sequence[FusionRow]) -> None:
        self.rows = list(rows)

    def read(self) -> list[FusionRow]:
        return self.rows


def _refuse_two_kinds_of_labels(rows: Sequence[FusionRow]) -> None:
    sources: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name in row.scores:
            sources[name].add(str(row.label_source))
    for name, kinds in sources.items():
        if len(kinds) > 1:
            raise ValueError(
                f"rows' {name} is {' and '.join(sorted(kinds))}; labels of two kinds are never mixed in one figure: "
                "choose sources with one kind for each score"
            )
