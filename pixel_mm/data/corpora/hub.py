"""A data set of the Hugging Face hub (or of a folder in its layout), with a map from its columns to ours.

Its audio is never decoded here. Audio that is stored inside the data set's tables is written once, as it is, to files
below `root`; audio that the tables only point at stays where it is. The data set has to be in Parquet files, as nearly
all on the hub are; of the others the hub keeps a copy that is, under the revision refs/convert/parquet.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from pixel_mm.data.corpora.corpus import CorpusError, FolderCorpus
from pixel_mm.data.corpora.manifest import COLUMNS, RecordReader
from pixel_mm.data.utterance import LabelSource, Split, Utterance
from pixel_mm.runs import atomic_path

_OUR_COLUMNS = ("audio", *(name for name in COLUMNS if name not in ("path", "split")))


class Hub(FolderCorpus):
    """The clips of one hub data set."""

    title = "Hugging Face data set"
    url = "https://huggingface.co/datasets"
    licence = "see the data set's card"
    language = None
    expected = "nothing beforehand: the data set's tables and audio are kept here once they are loaded"

    def __init__(
        self,
        root: str | Path,
        dataset: str,
        columns: Mapping[str, str],
        splits: Mapping[str, Split] | None = None,
        name: str | None = None,
        revision: str | None = None,
        label_source: LabelSource = "mapped",
        rating_range: Sequence[float] = (0.0, 1.0),
        emotions: Mapping[str, str] | None = None,
        allow_incomplete: bool = False,
    ) -> None:
        """Take the data set's id.

        Args:
            root: folder that the data set is kept in.
            dataset: hub id, or a folder in a layout that `datasets.load_dataset` knows.
            columns: the data set's name for each of our columns; `audio` and `speaker` are required, and any manifest
                column but `path` and `split` may follow.
            splits: the data set's splits to read, to ours; None reads "train" as training clips.
            name: configuration of the data set, where it has several.
            revision: commit of the data set; give one where a result must be repeatable.
            label_source: see `RecordReader`.
            rating_range: see `RecordReader`.
            emotions: see `RecordReader`.
            allow_incomplete: see `FolderCorpus`.
        """
        super().__init__(root, allow_incomplete)
        for ours in ("audio", "speaker"):
            if ours not in columns:
                raise CorpusError(f"hub data set {dataset}: columns lacks '{ours}'; say what the data set calls it")
        if unknown := sorted(set(columns) - set(_OUR_COLUMNS)):
            raise CorpusError(f"hub data set {dataset}: columns.{unknown[0]} is not one of {', '.join(_OUR_COLUMNS)}")
        self.dataset, self.name, self.revision = dataset, name, revision
        self.columns = dict(columns)
        self.splits: dict[str, Split] = dict(splits) if splits else {"train": "train"}
        self.records = RecordReader(label_source, rating_range, emotions)

    def read(self) -> list[Utterance]:
        """See `FolderCorpus.read`; the folder is made when it isn't there."""
        self.root.mkdir(parents=True, exist_ok=True)
        return super().read()

    def utterances(self) -> Iterator[Utterance]:
        """Every row of every chosen split."""
        for theirs, ours in self.splits.items():
            table = self._table(theirs)
            audio_folder = self.root / "audio" / theirs
            for number, row in enumerate(table):
                record = {name: _text(table.features[column], row[column]) for name, column in self.columns.items()}
                record["path"] = str(_audio_file(record.pop("audio"), audio_folder / f"{number:07d}"))
                record["split"] = ours
                yield self.records.utterance(record, self.root, f"{self.dataset}, split {theirs}, row {number}")

    def _table(self, split: str) -> datasets.Dataset:
        cache = str(self.root / "tables")
        try:
            table = datasets.load_dataset(
                self.dataset, name=self.name, split=split, revision=self.revision, cache_dir=cache
            )
        except (datasets.exceptions.DatasetsError, RuntimeError) as error:
            raise self.error(
                f"{self.dataset} could not be loaded: {error}. If it isn't kept in Parquet files, try "
                "revision: refs/convert/parquet"
            ) from error
        for ours, theirs in self.columns.items():
            if theirs not in table.column_names:
                raise CorpusError(
                    f"{self.dataset}, split {split}: has no column '{theirs}' (columns.{ours}); it has "
                    f"{', '.join(table.column_names)}"
                )
        table = table.select_columns(sorted(set(self.columns.values())))
        return table.cast_column(self.columns["audio"], datasets.Audio(decode=False))


def _text(feature: object, value: Any) -> Any:
    """The value, with a class number replaced by its name."""
    if isinstance(feature, datasets.ClassLabel) and value is not None:
        return feature.int2str(value)
    return value


def _audio_file(audio: Mapping[str, Any], target: Path) -> Path:
    """Where the audio of a row lies; `target`, with the right ending, if it had to be written."""
    if audio["bytes"] is None:
        return Path(audio["path"])
    target = target.with_suffix(Path(audio["path"] or "").suffix)
    if not target.is_file() or target.stat().st_size != len(audio["bytes"]):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as aside:
            aside.write_bytes(audio["bytes"])
    return target
