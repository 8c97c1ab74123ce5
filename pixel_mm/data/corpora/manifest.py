"""A manifest: one table that lists the clips of any collection, for corpora that have no reader of their own.

CSV, JSON lines or Parquet, told apart by the file's ending, with these columns (`docs/corpora.md` has examples):

    path            audio file, absolute or relative to the manifest's folder (required)
    speaker         who speaks, unique in the collection (required)
    start_seconds, end_seconds      where the clip lies in the file; empty: from its beginning, to its end
    sex             female or male
    language        ISO 639-1 code
    transcript      the words
    emotion         a category of `pixel_mm.data.emotions.EMOTIONS`, or a word that the option `emotions` translates
    valence, arousal, dominance     ratings by people, on the scale that the option `rating_range` gives
    split           train, validation or test
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet

from pixel_mm.data.corpora.corpus import CorpusError, FolderCorpus, Labels, mapped_labels
from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.utterance import LabelSource, Utterance

REQUIRED_COLUMNS = ("path", "speaker")
_TEXTS = ("sex", "language", "transcript", "split")
_NUMBERS = ("start_seconds", "end_seconds", *DIMENSIONS)
COLUMNS = (*REQUIRED_COLUMNS, *_TEXTS, *_NUMBERS, "emotion")


class RecordReader:
    """Makes an utterance of one row of a table, and says which field of it is wrong.

    Args:
        label_source: "rated" takes valence, arousal and dominance from the row, "mapped" makes them from its emotion.
        rating_range: the lowest and highest value on the ratings' scale.
        emotions: the table's words for categories, to those of `EMOTIONS`.
    """

    def __init__(
        self, label_source: LabelSource, rating_range: Sequence[float], emotions: Mapping[str, str] | None
    ) -> None:
        """Check the options."""
        if label_source not in ("rated", "mapped"):
            raise CorpusError(f"label_source is '{label_source}'; it is rated or mapped")
        self.low, self.high = rating_range
        if not self.low < self.high:
            raise CorpusError(f"rating_range is {list(rating_range)}; give the lowest, then the highest value")
        self.label_source = label_source
        self.emotions = dict(emotions or {})

    def utterance(self, record: Mapping[str, Any], folder: Path, where: str) -> Utterance:
        """The utterance of one row.

        Args:
            record: values by the names of `COLUMNS`; None, NaN or blank is missing.
            folder: what a relative path is relative to.
            where: the row's place, for errors.

        Raises:
            CorpusError: names the place and the column.
        """
        values = {name: value for name, value in record.items() if not _is_missing(value)}
        for name in REQUIRED_COLUMNS:
            if name not in values:
                raise CorpusError(f"{where}, column '{name}': is missing or empty")
        numbers = {name: _number(values, name, where) for name in _NUMBERS}
        texts: dict[str, Any] = {name: str(values[name]).strip() for name in _TEXTS if name in values}
        try:
            return Utterance(
                path=folder / str(values["path"]),
                speaker=str(values["speaker"]).strip(),
                start_seconds=numbers["start_seconds"],
                end_seconds=numbers["end_seconds"],
                **texts,
                **self._labels(values, numbers),
            )
        except ValueError as error:
            raise CorpusError(f"{where}: {error}") from error

    def _labels(self, values: Mapping[str, Any], numbers: Mapping[str, float | None]) -> Labels:
        word = str(values["emotion"]).strip() if "emotion" in values else None
        emotion = self.emotions.get(word, word) if word else None
        if self.label_source == "mapped":
            return mapped_labels(emotion) if emotion else Labels(emotion=None, ratings=None, label_source=None)
        span = self.high - self.low
        ratings = {name: (value - self.low) / span for name in DIMENSIONS if (value := numbers[name]) is not None}
        return Labels(emotion=emotion, ratings=ratings or None, label_source="rated" if ratings else None)


class Manifest(FolderCorpus):
    """The clips that one table lists."""

    title = "manifest"
    url = "write one for your own recordings; docs/corpora.md describes the columns"
    licence = "that of the recordings it lists"
    language = None
    expected = f"a .csv, .jsonl or .parquet file with the columns {', '.join(REQUIRED_COLUMNS)} and any of the others"

    def __init__(
        self,
        root: str | Path,
        label_source: LabelSource = "rated",
        rating_range: Sequence[float] = (0.0, 1.0),
        emotions: Mapping[str, str] | None = None,
        ignore_columns: Sequence[str] = (),
        allow_incomplete: bool = False,
    ) -> None:
        """Take the manifest.

        Args:
            root: the manifest file.
            label_source: see `RecordReader`.
            rating_range: see `RecordReader`.
            emotions: see `RecordReader`.
            ignore_columns: columns of the table that are not meant for this reader.
            allow_incomplete: leave out the rows whose audio file isn't there, instead of refusing.
        """
        super().__init__(root, allow_incomplete)
        self.records = RecordReader(label_source, rating_range, emotions)
        self.ignore_columns = frozenset(ignore_columns)

    def utterances(self) -> Iterator[Utterance]:
        """Every row."""
        for where, record in _rows(self.root):
            for name in record.keys() - {*COLUMNS, *self.ignore_columns}:
                raise CorpusError(
                    f"{where}, column '{name}': is not one of {', '.join(COLUMNS)}; correct its name, or list it "
                    "under ignore_columns"
                )
            utterance = self.records.utterance(record, self.root.parent, where)
            if not self.allow_incomplete and not utterance.path.is_file():
                raise CorpusError(f"{where}, column 'path': there is no file {utterance.path}")
            yield utterance


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row's place, counted from 1 as an editor or a table viewer does, and its fields."""
    if file.suffix == ".csv":
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restkey="<more fields than columns>")
            for record in reader:
                yield f"{file}, line {reader.line_num}", record
    elif file.suffix == ".jsonl":
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                yield f"{file}, line {number}", _json_object(line, f"{file}, line {number}")
    elif file.suffix == ".parquet":
        for number, record in enumerate(pyarrow.parquet.read_table(file).to_pylist(), start=1):
            yield f"{file}, row {number}", record
    else:
        raise CorpusError(f"{file}: a manifest ends in .csv, .jsonl or .parquet")


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{where}, column {error.colno}: is no JSON: {error.msg}") from error
    if not isinstance(record, dict):
        raise CorpusError(f"{where}: is no JSON object")
    return record


def _is_missing(value: object) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _number(values: Mapping[str, Any], name: str, where: str) -> float | None:
    if name not in values:
        return None
    try:
        return float(values[name])
    except (TypeError, ValueError):
        raise CorpusError(f"{where}, column '{name}': '{values[name]}' is no number") from None
