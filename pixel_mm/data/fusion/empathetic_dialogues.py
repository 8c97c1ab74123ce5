"""EmpatheticDialogues (Rashkin et al., ACL 2019): 24,850 English conversations about felt situations, written."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.utterance import Split

_FILES: Mapping[Split, str] = {"train": "train.csv", "validation": "valid.csv", "test": "test.csv"}
_COLUMNS = ("conv_id", "utterance_idx", "context", "speaker_idx", "utterance")


@dataclass(frozen=True)
class EmpatheticDialogues:
    """The first exchange of each conversation: what somebody tells of, and the listener's answer.

    Later exchanges lean on what was said before, which a row doesn't hold.

    Attributes:
        root: folder with `train.csv`, `valid.csv`, `test.csv`.
    """

    root: str | Path

    def read(self) -> list[FusionRow]:
        """Rows of text and response, without audio and scores; `group` is the emotion that the situation was given for.

        A conversation that nobody answered is passed over. The publisher's parts share no conversation.

        Raises:
            CorpusError: a file is missing or broken; names file and line.
        """
        root = Path(self.root).expanduser()
        missing = [name for name in _FILES.values() if not (root / name).is_file()]
        if missing:
            raise CorpusError(
                f"EmpatheticDialogues: {', '.join(missing)} missing\n  folder:   {root}\n  source:   "
                "https://github.com/facebookresearch/EmpatheticDialogues\n  licence:  CC BY-NC 4.0"
            )
        return [row for split, name in _FILES.items() for row in _exchanges(root / name, split)]


def _exchanges(file: Path, split: Split) -> Iterator[FusionRow]:
    for key, turns in groupby(_turns(file), key=lambda turn: turn["conv_id"]):
        told, *answers = turns
        answer = next((turn for turn in answers[:1] if turn["speaker_idx"] != told["speaker_idx"]), None)
        if answer is not None and told["utterance"].strip() and answer["utterance"].strip():
            yield FusionRow(
                key=f"empathetic:{key}",
                speaker=f"{split}:{told['speaker_idx']}",  # numbered within a file
                text=_plain(told["utterance"]),
                response=_plain(answer["utterance"]),
                group=told["context"],
                split=split,
            )


def _turns(file: Path) -> Iterator[Mapping[str, str]]:
    """Rows of a file. Quotes are text there, and commas in text are written out: every comma parts two fields."""
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines, quoting=csv.QUOTE_NONE)
        for record in reader:
            lacking = [name for name in _COLUMNS if record.get(name) is None]
            if lacking:
                raise CorpusError(f"{file}, line {reader.line_num}: has no {' and no '.join(lacking)}")
            yield record


def _plain(text: str) -> str:
    return " ".join(text.replace("_comma_", ",").split())
