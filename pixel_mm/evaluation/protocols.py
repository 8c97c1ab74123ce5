"""Protocols: who trains and who tests. No speaker is ever on both sides of a fold.

A protocol turns the rows of a corpus into folds, deterministically: the same rows and seed give the same folds on
any machine. Whoever tests is never used to choose anything; `validation_speakers` (default 0: the last weights of
a fixed schedule are the model) are taken from those who train.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pixel_mm.data.splits import check_speaker_disjoint, hold_out, published, speaker_folds
from pixel_mm.data.utterance import Utterance


class ProtocolError(ValueError):
    """A protocol that these rows cannot be put under; the message names the option to change."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One training and its test.

    Attributes:
        number: from 0.
        train: row numbers, ascending.
        validation: row numbers of other speakers, possibly none.
        test: row numbers of other speakers again.
    """

    number: int
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


class Protocol(ABC):
    """Rows to folds.

    Attributes:
        name: what reports call it.
    """

    name: ClassVar[str]

    def __init__(self, folds: Sequence[int] | None = None, validation_speakers: int = 0, seed: int = 0) -> None:
        """Options that all protocols have.

        Args:
            folds: numbers of the folds to run; None runs all.
            validation_speakers: how many of a fold's training speakers validate instead of training.
            seed: of what a protocol draws.
        """
        self.selected = None if folds is None else tuple(folds)
        self.validation_speakers = validation_speakers
        self.seed = seed

    @abstractmethod
    def test_parts(self, utterances: Sequence[Utterance]) -> list[set[str]]:
        """The speakers who test, for each fold."""

    def folds(self, utterances: Sequence[Utterance]) -> list[Fold]:
        """All folds of these rows, checked.

        Raises:
            ProtocolError: a fold would have nobody to train, validate or test with.
            SplitError: a speaker is in two parts of a fold.
        """
        made = [self._fold(number, speakers, utterances) for number, speakers in enumerate(self.test_parts(utterances))]
        for fold in made:
            check_fold(fold, utterances)
        return made

    def select(self, folds: Sequence[Fold]) -> list[Fold]:
        """Those of the folds that `protocol.folds` names.

        Raises:
            ProtocolError: one that doesn't exist, or none.
        """
        if self.selected is None:
            return list(folds)
        unknown = sorted(set(self.selected) - {fold.number for fold in folds})
        if unknown or not self.selected:
            raise ProtocolError(f"protocol.folds={list(self.selected)}, but the folds are 0 to {len(folds) - 1}")
        return [fold for fold in folds if fold.number in self.selected]

    def _fold(self, number: int, test: set[str], utterances: Sequence[Utterance]) -> Fold:
        others = sorted({u.speaker for u in utterances} - test)
        if self.validation_speakers >= max(len(others), 1):
            raise ProtocolError(
                f"fold {number} leaves {len(others)} speakers to train with, of whom "
                f"protocol.validation_speakers={self.validation_speakers} would validate"
            )
        random = np.random.default_rng([self.seed, number])
        validation = {str(name) for name in random.permutation(others)[: self.validation_speakers]}
        rows = {"test": test, "validation": validation, "train": set(others) - validation}
        return Fold(number, **{part: _rows(utterances, names) for part, names in rows.items()})


class LeaveOneSpeakerOut(Protocol):
    """As many folds as speakers, by name; each tests one."""

    name = "leave_one_speaker_out"

    def test_parts(self, utterances: Sequence[Utterance]) -> list[set[str]]:
        """One speaker each."""
        return [{speaker} for speaker in sorted({u.speaker for u in utterances})]


class KFold(Protocol):
    """`num_folds` folds of whole speakers, each of whom tests once; sexes and clips are spread evenly."""

    name = "k_fold"

    def __init__(
        self,
        num_folds: int = 5,
        folds: Sequence[int] | None = None,
        validation_speakers: int = 0,
        seed: int = 0,
    ) -> None:
        """As `Protocol`, and `num_folds`, at least 2."""
        super().__init__(folds, validation_speakers, seed)
        self.num_folds = num_folds

    def test_parts(self, utterances: Sequence[Utterance]) -> list[set[str]]:
        """See `speaker_folds`."""
        num_speakers = len({u.speaker for u in utterances})
        if not 2 <= self.num_folds <= num_speakers:
            raise ProtocolError(
                f"protocol.num_folds={self.num_folds}; with {num_speakers} speakers give 2 to {num_speakers}"
            )
        return speaker_folds(utterances, self.num_folds, self.seed)


class HoldOut(Protocol):
    """One fold: speakers with a share of the clips test, or those of the publisher's own test part."""

    name = "hold_out"

    def __init__(
        self,
        test_share: float = 0.2,
        publisher_split: bool = False,
        folds: Sequence[int] | None = None,
        validation_speakers: int = 0,
        seed: int = 0,
    ) -> None:
        """As `Protocol`, and who tests.

        Args:
            test_share: of the clips, 0..1; at least one speaker tests and one trains.
            publisher_split: take the publisher's test, validation and training part instead; it raises where they
                share speakers.
            folds: see `Protocol`.
            validation_speakers: see `Protocol`; the publisher's validation part takes their place.
            seed: who is drawn.
        """
        super().__init__(folds, validation_speakers, seed)
        self.test_share = test_share
        self.publisher_split = publisher_split

    def test_parts(self, utterances: Sequence[Utterance]) -> list[set[str]]:
        """Drawn speakers, women and men in turn."""
        if not 0 < self.test_share < 1:
            raise ProtocolError(f"protocol.test_share={self.test_share}; it must lie between 0 and 1")
        test = hold_out(utterances, {"test": self.test_share}, self.seed).test
        return [{utterances[row].speaker for row in test}]

    def folds(self, utterances: Sequence[Utterance]) -> list[Fold]:
        """The one fold."""
        if not self.publisher_split:
            return super().folds(utterances)
        parts = published(utterances)
        fold = Fold(0, tuple(parts.train), tuple(parts.validation), tuple(parts.test))
        check_fold(fold, utterances)
        return [fold]


class CrossCorpus(Protocol):
    """One fold: train on one corpus, test on all of another. `cross_corpus.PairedCorpus` marks the rows' parts."""

    name = "cross_corpus"

    def test_parts(self, utterances: Sequence[Utterance]) -> list[set[str]]:
        """Every speaker of the corpus to test on.

        Raises:
            SplitError: rows that belong to neither corpus, or a speaker that is in both.
        """
        return [{utterances[row].speaker for row in published(utterances).test}]


def check_fold(fold: Fold, utterances: Sequence[Utterance]) -> None:
    """Refuse a fold that would give a number worth nothing.

    Raises:
        ProtocolError: nobody trains or nobody tests.
        SplitError: a speaker is in two parts.
    """
    for part, rows in (("train", fold.train), ("test", fold.test)):
        if not rows:
            raise ProtocolError(
                f"fold {fold.number} has no clip to {part} with; choose another protocol for this corpus"
            )
    check_speaker_disjoint(*([utterances[row] for row in rows] for rows in (fold.train, fold.validation, fold.test)))


def _rows(utterances: Iterable[Utterance], speakers: set[str]) -> tuple[int, ...]:
    return tuple(row for row, utterance in enumerate(utterances) if utterance.speaker in speakers)
