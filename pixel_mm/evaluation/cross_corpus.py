"""`PairedCorpus`: one corpus to train on and another to test on, as one, over the categories that both have."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pixel_mm.data.corpora.corpus import Corpus, CorpusError
from pixel_mm.data.utterance import Split, Utterance
from pixel_mm.evaluation.predictions import single_label_source


class PairedCorpus(Corpus):
    """The rows of two corpora, marked `split="train"` and `split="test"`.

    Speakers are called `CORPUS/SPEAKER`, so that equal names in both stay different people. Clips of a
    category that only one corpus has are left out: nobody can learn it, or nobody asks for it.
    """

    title: ClassVar[str] = "two corpora"
    url: ClassVar[str] = ""
    licence: ClassVar[str] = "each corpus's own"
    language: ClassVar[str | None] = None
    expected: ClassVar[str] = "two corpora, each in its publisher's layout"

    def __init__(self, train: Corpus, test: Corpus) -> None:
        """Pair two readers.

        Args:
            train: learnt from.
            test: only tested on.
        """
        super().__init__(train.root)
        self.train = train
        self.test = test

    def read(self) -> list[Utterance]:
        """All rows of the shared categories, training rows first.

        Raises:
            CorpusError: a corpus is missing or half copied, or they share fewer than two categories.
            ValueError: one corpus is rated and the other mapped.
        """
        train, test = self.train.read(), self.test.read()
        shared = self._shared(train, test)
        rows = [*self._marked(train, "train", self.train, shared), *self._marked(test, "test", self.test, shared)]
        single_label_source(rows)
        return rows

    def _shared(self, train: Sequence[Utterance], test: Sequence[Utterance]) -> set[str] | None:
        """Categories in both; None where one of the corpora has no categories at all."""
        ours, theirs = ({u.emotion for u in rows if u.emotion is not None} for rows in (train, test))
        if not ours or not theirs:
            return None
        if len(ours & theirs) < 2:
            raise CorpusError(
                f"{self.train.title} ({', '.join(sorted(ours))}) and {self.test.title} ({', '.join(sorted(theirs))}) "
                "share fewer than two categories; train on another corpus"
            )
        return ours & theirs

    def _marked(
        self, rows: Sequence[Utterance], split: Split, corpus: Corpus, shared: set[str] | None
    ) -> list[Utterance]:
        # By the corpus and not by the side: a corpus paired with itself keeps its names, and is refused.
        named = [replace(u, speaker=f"{corpus.title}/{u.speaker}", split=split) for u in rows]
        if shared is None:  # only ratings can be compared
            return [replace(u, emotion=None) for u in named]
        return [u for u in named if u.emotion in shared]
