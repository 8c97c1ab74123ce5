"""Common Voice (Ardila et al., LREC 2020): sentences that volunteers read in many languages, one language a folder.

The publisher's train, dev and test parts share no speaker. Clips are MP3, which soundfile reads as it is.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pixel_mm.data.corpora.corpus import CorpusError, FolderCorpus
from pixel_mm.data.utterance import Sex, Split, Utterance

_PARTS: Mapping[str, Split | None] = {
    "train": "train",
    "dev": "validation",
    "test": "test",
    "validated": None,  # all clips that two listeners confirmed, those of the three parts among them
}
# As the releases spell it, older ones first.
_SEXES: Mapping[str, Sex] = {
    "male": "male",
    "female": "female",
    "male_masculine": "male",
    "female_feminine": "female",
}


class CommonVoice(FolderCorpus):
    """The chosen parts of one language of one release."""

    title = "Common Voice"
    url = "https://commonvoice.mozilla.org/datasets"
    licence = "CC0-1.0"
    language = None
    expected = "one language's folder of a release, e.g. cv-corpus-17.0/en: train.tsv, dev.tsv, test.tsv and clips/"

    def __init__(
        self,
        root: str | Path,
        parts: Sequence[str] = ("train", "dev", "test"),
        allow_incomplete: bool = False,
    ) -> None:
        """Take the language's folder.

        Args:
            root: the folder that `expected` describes.
            parts: the publisher's tables to read. "validated" has many more clips than the others, without a split, and
                their clips too, so it is read alone.
            allow_incomplete: see `FolderCorpus`.

        Raises:
            CorpusError: a part that there is not, or "validated" beside others.
        """
        super().__init__(root, allow_incomplete)
        if unknown := [name for name in parts if name not in _PARTS]:
            raise CorpusError(f"Common Voice: part '{unknown[0]}' is not one of {', '.join(_PARTS)}")
        if "validated" in parts and len(parts) > 1:
            raise CorpusError("Common Voice: part 'validated' holds the clips of the others; give it alone")
        self.parts = tuple(parts)

    def utterances(self) -> Iterator[Utterance]:
        """Every clip of the chosen tables."""
        clips = self.require("clips")
        for part in self.parts:
            table = self.require(f"{part}.tsv")
            with table.open(newline="", encoding="utf-8") as file:
                # A quotation mark is a character of the sentence here, never one that holds a field together.
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                    yield Utterance(
                        path=clips / row["path"],
                        speaker=row["client_id"],
                        sex=_SEXES.get(row.get("gender") or ""),
                        language=_language(row["locale"]),
                        transcript=_sentence(row["sentence"]),
                        split=_PARTS[part],
                    )


def _language(locale: str) -> str:
    """The language of a locale: "zh" of "zh-TW"."""
    return locale.partition("-")[0]


def _sentence(field: str) -> str | None:
    """The words, without the marks that some releases' tables put around a field that has quotation marks in it."""
    inside = field[1:-1]
    # Marks within such a field are doubled; single ones are the sentence's own, and so are then the outer ones.
    if len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inside.replace('""', ""):
        field = inside.replace('""', '"')
    return field.strip() or None
