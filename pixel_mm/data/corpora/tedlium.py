"""TED-LIUM (Hernandez et al., SPECOM 2018; releases 1 to 3): TED talks, cut into segments by STM files.

A talk is one NIST SPHERE file, which soundfile reads as it is; its segments are stretches of it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pixel_mm.data.corpora.corpus import CorpusError, FolderCorpus
from pixel_mm.data.utterance import Sex, Split, Utterance

_PARTS: Mapping[str, Split] = {"train": "train", "dev": "validation", "test": "test"}
# Talk, channel, speaker, start, end, <condition,bandwidth,sex>, words.
_LINE = re.compile(
    r"(?P<talk>\S+)\s+\S+\s+(?P<speaker>\S+)\s+(?P<start>[\d.]+)\s+(?P<end>[\d.]+)\s+<(?P<label>[^>]*)>\s*(?P<words>.*)"
)
_NOT_SCORED = "ignore_time_segment_in_scoring"
# <unk> and <sil>, {NOISE}, [BREATH], and the number of a pronunciation: "a(2)".
_MARKS = re.compile(r"<[^>]*>|\{[^}]*\}|\[[^\]]*\]|\(\d+\)")
_APART = re.compile(r"\s+(?='(?:s|t|d|m|re|ve|ll)\b)")  # "it 's", as the publisher's tokenizer left it


class TedLium(FolderCorpus):
    """The segments of the chosen parts; what the publisher leaves out of scoring is left out."""

    title = "TED-LIUM"
    url = "https://www.openslr.org/51 (release 3), https://www.openslr.org/19 (release 2)"
    licence = "CC BY-NC-ND 3.0"
    language = "en"
    expected = "train/, dev/ and test/ (in release 3 below legacy/), each with stm/TALK.stm and sph/TALK.sph"

    def __init__(
        self, root: str | Path, parts: Sequence[str] = ("train", "dev", "test"), allow_incomplete: bool = False
    ) -> None:
        """Take the corpus's folder.

        Args:
            root: the folder that `expected` describes.
            parts: the publisher's parts to read.
            allow_incomplete: see `FolderCorpus`.

        Raises:
            CorpusError: a part that there is not.
        """
        super().__init__(root, allow_incomplete)
        if unknown := [name for name in parts if name not in _PARTS]:
            raise CorpusError(f"TED-LIUM: part '{unknown[0]}' is not one of {', '.join(_PARTS)}")
        self.parts = tuple(parts)

    def utterances(self) -> Iterator[Utterance]:
        """Every segment of the chosen parts."""
        for part in self.parts:
            folder = self.require(f"legacy/{part}", part)
            for table in sorted((folder / "stm").glob("*.stm")):
                yield from self._segments(table, folder / "sph", _PARTS[part])

    def _segments(self, table: Path, audio: Path, split: Split) -> Iterator[Utterance]:
        for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip() or line.startswith(";;"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                wanted = "TALK CHANNEL SPEAKER START END <...> WORDS"
                raise self.error(f"{table}, line {number}: '{line[:60]}' is not {wanted}")
            if match["words"].strip() == _NOT_SCORED:
                continue
            yield Utterance(
                path=audio / f"{match['talk']}.sph",
                speaker=match["speaker"],
                start_seconds=float(match["start"]),
                end_seconds=float(match["end"]),
                sex=_sex(match["label"]),
                language=self.language,
                transcript=_words(match["words"]),
                split=split,
            )


def _sex(label: str) -> Sex | None:
    words = label.split(",")
    return "female" if "female" in words else "male" if "male" in words else None


def _words(text: str) -> str | None:
    """What was said, without marks of the publisher's recogniser; None where nothing is left."""
    return " ".join(_APART.sub("", _MARKS.sub(" ", text)).split()) or None
