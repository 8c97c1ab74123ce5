"""Rated sentences without a voice: what a reader learns words from, many more of them than there are pairs."""

from pixel_mm.data.fusion.constructed_pairs import stretched
from pixel_mm.data.fusion.row import FusionRow, RowSource
from pixel_mm.data.utterance import Split


class SentenceStates:
    """Sentences as somebody's only words: valence is the sentence's own, on the voices' range (`stretched`)."""

    def __init__(self, sentences: RowSource, parts: tuple[Split, ...] = ("train",)) -> None:
        """Take the sentences; nothing is read yet.

        Args:
            sentences: rows of text with valence and a split.
            parts: those that are given. Validation chooses and calibrates by what is to be done in the end, reading and
                hearing at once, and is left to other sources.
        """
        self.sentences, self.parts = sentences, tuple(parts)

    def read(self) -> list[FusionRow]:
        """Rows of text alone, in the order of the sentences; each stands for a person."""
        return [
            FusionRow(
                key=f"sentence:{row.key}",
                speaker=f"sentence:{row.key}",
                text=row.text,
                scores={"valence": stretched(row.scores["valence"])},
                label_source="constructed",
                split=row.split,
            )
            for row in self.sentences.read()
            if row.split in self.parts
        ]
