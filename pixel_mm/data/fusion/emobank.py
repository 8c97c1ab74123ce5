"""EmoBank (Buechel & Hahn, EACL 2017): 10,062 English sentences whose valence, arousal and dominance people rated."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.fusion.row import FusionRow, sentence_key
from pixel_mm.data.utterance import Split

_SPLITS: Mapping[str, Split] = {"train": "train", "dev": "validation", "test": "test"}
_COLUMNS = dict(zip(DIMENSIONS, ("V", "A", "D"), strict=True))
_ORDER = ("test", "validation", "train")


@dataclass(frozen=True)
class EmoBank:
    """The sentences of the publisher's table, each text once.

    A text that occurs several times (224 rows do, headings and exclamations mostly) keeps its first place, looked
    for in test, then validation, then train, so that no text is in two parts.

    Attributes:
        root: folder with `corpus/emobank.csv`, or `emobank.csv` itself in it.
        min_words, max_words: shorter and longer sentences are left out: headings, and lists that nobody says.
    """

    root: str | Path
    min_words: int = 1
    max_words: int = 200

    def __post_init__(self) -> None:
        """Refuse a range of lengths that holds nothing."""
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError(
                f"EmoBank: min_words is {self.min_words} and max_words {self.max_words}; "
                "need 1 <= min_words <= max_words"
            )

    def read(self) -> list[FusionRow]:
        """Rows of text alone, ordered by the publisher's id; `speaker` is the text that the sentence is from.

        Raises:
            CorpusError: there is no such file, or a row is broken; names file, line and what is wrong.
        """
        rows: dict[str, FusionRow] = {}
        found = self._rows()
        for split in _ORDER:
            for row in found:
                if row.split == split:
                    rows.setdefault(sentence_key(row.text or "") or row.key, row)
        fitting = [row for row in rows.values() if self.min_words <= len((row.text or "").split()) <= self.max_words]
        return sorted(fitting, key=lambda row: row.key)

    def _rows(self) -> list[FusionRow]:
        root = Path(self.root).expanduser()
        file = next((file for file in (root / "corpus/emobank.csv", root / "emobank.csv") if file.is_file()), None)
        if file is None:
            raise CorpusError(
                f"EmoBank: corpus/emobank.csv is missing\n  folder:   {root}\n"
                "  source:   https://github.com/JULIELab/EmoBank\n  licence:  CC BY-SA 4.0"
            )
        rows = []
        with file.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            for record in reader:
                try:
                    rows.append(self._row(record))
                except (KeyError, TypeError, ValueError) as error:
                    raise CorpusError(f"{file}, line {reader.line_num}: no rated sentence: {error}") from error
        return rows

    def _row(self, record: Mapping[str, str]) -> FusionRow:
        scaled = {name: (float(record[column]) - 1) / 4 for name, column in _COLUMNS.items()}  # from 1..5
        return FusionRow(
            key=record["id"],
            speaker=record["id"].partition("_")[0],
            text=record["text"].strip(),
            scores=scaled,
            label_source="rated",
            split=_SPLITS[record["split"]],
        )
