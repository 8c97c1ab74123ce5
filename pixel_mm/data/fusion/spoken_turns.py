"""Rows of a speech corpus with transcripts, such as MELD, IEMOCAP or a manifest: real words in their real voice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.fusion.constructed_pairs import PAIR_FRACTIONS
from pixel_mm.data.fusion.row import FusionRow, check_disjoint, sentence_key
from pixel_mm.data.splits import SplitError, hold_out
from pixel_mm.data.utterance import Split, Utterance

_PARTS: tuple[Split, ...] = ("train", "validation", "test")


class SpokenTurns:
    """What was said, in the voice it was said in, with the corpus's own ratings."""

    def __init__(self, voices: Corpus, fractions: Mapping[str, float] | None = None, seed: int = 0) -> None:
        """Take the corpus; nothing is read yet.

        Args:
            voices: clips, with or without words and ratings.
            fractions: of the clips, for "validation" and "test"; None is `PAIR_FRACTIONS`. Whole speakers are held out,
                whatever the publisher's split is: MELD's shares its speakers.
            seed: of the speakers' draw.
        """
        self.voices, self.fractions, self.seed = voices, dict(fractions or PAIR_FRACTIONS), seed

    def read(self) -> list[FusionRow]:
        """One row for each clip, in the corpus's order.

        A sentence that speakers of several parts say ("Yes.") keeps its words in one part only, test first, then
        validation; in the others those rows are heard without words.

        Raises:
            CorpusError, SplitError: a corpus that cannot be read, ratings of two sources, or too few speakers.
        """
        clips = self.voices.read()
        if len({clip.label_source for clip in clips} - {None}) > 1:
            raise SplitError(f"{self.voices.title} has rated and mapped ratings; set its label_source")
        splits = dict[int, Split]()
        for split, numbers in zip(_PARTS, hold_out(clips, self.fractions, self.seed), strict=True):
            splits |= dict.fromkeys(numbers, split)
        rows = _words_in_one_part([_row(clip, splits[number]) for number, clip in enumerate(clips)])
        check_disjoint(rows)
        return rows


def _row(clip: Utterance, split: Split) -> FusionRow:
    return FusionRow(
        key=f"spoken:{clip.key}",
        speaker=clip.speaker,
        clip=clip,
        text=(clip.transcript or "").strip() or None,
        scores=dict(clip.ratings or {}),
        label_source=clip.label_source,
        group=clip.emotion,
        split=split,
    )


def _words_in_one_part(rows: Sequence[FusionRow]) -> list[FusionRow]:
    """The rows, without the words of those whose sentence a later part of train, validation, test has too."""
    owner: dict[str, int] = {}
    for row in rows:
        if row.text is not None and row.split is not None:
            name = sentence_key(row.text)
            owner[name] = max(owner.get(name, 0), _PARTS.index(row.split))
    return [
        row if row.text is None or row.split == _PARTS[owner[sentence_key(row.text)]] else replace(row, text=None)
        for row in rows
    ]
