"""What every corpus reader offers, and the table that utterances are held in.

A reader turns the folder that a publisher ships into a list of utterances. It opens no audio; it makes sure that the
files are there, so that a corpus copied by half is refused before hours are spent on it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, TypedDict

import datasets

from pixel_mm.data.emotions import DIMENSIONS, MAPPED_RATINGS
from pixel_mm.data.utterance import LabelSource, Utterance

FEATURES = datasets.Features(
    {
        "audio": datasets.Audio(decode=False),  # files are read by soundfile; here even encoding would need torchcodec
        **dict.fromkeys(("start_seconds", "end_seconds"), datasets.Value("float64")),
        **dict.fromkeys(("speaker", "sex", "language", "transcript", "emotion"), datasets.Value("string")),
        **dict.fromkeys(DIMENSIONS, datasets.Value("float64")),
        **dict.fromkeys(("label_source", "split"), datasets.Value("string")),
    }
)
"""Columns of the table that `to_dataset` makes. Every column but `audio` and `speaker` may be null."""

_PLAIN_COLUMNS = tuple(name for name in FEATURES if name not in ("audio", *DIMENSIONS))


class CorpusError(ValueError):
    """A corpus that is missing, copied by half, or labelled in a way that cannot be right."""


class Labels(TypedDict):
    """The labels of one utterance, under the names of `Utterance`'s fields."""

    emotion: str | None
    ratings: Mapping[str, float] | None
    label_source: LabelSource | None


class Corpus(ABC):
    """One corpus in one folder.

    Attributes:
        title: what the corpus calls itself.
        url: where to get it.
        licence: under what terms.
        language: ISO 639-1 code, or None where it varies.
        expected: what lies in its folder, in words.
    """

    title: ClassVar[str]
    url: ClassVar[str]
    licence: ClassVar[str]
    language: ClassVar[str | None]
    expected: ClassVar[str]

    def __init__(self, root: str | Path) -> None:
        """Take the corpus's folder; nothing is read yet."""
        self.root = Path(root).expanduser()

    @abstractmethod
    def read(self) -> list[Utterance]:
        """Every utterance of the corpus, in the same order on every machine.

        Raises:
            CorpusError: the folder is missing or isn't whole; says what was expected in it and where to get it.
        """

    def error(self, problem: str) -> CorpusError:
        """The error that tells a user what is wrong, what was expected, and where the corpus comes from."""
        return CorpusError(
            f"{self.title}: {problem}\n  folder:   {self.root}\n  expected: {self.expected}\n"
            f"  source:   {self.url}\n  licence:  {self.licence}"
        )


class FolderCorpus(Corpus):
    """A corpus that is read from the files its publisher ships.

    Attributes:
        num_clips: clips in the publisher's whole release, or None where releases differ.
    """

    num_clips: ClassVar[int | None] = None

    def __init__(self, root: str | Path, allow_incomplete: bool = False) -> None:
        """Take the corpus's folder.

        Args:
            root: the folder that `expected` describes.
            allow_incomplete: read a part of the corpus that was chosen on purpose. Labelled clips without audio are
                then left out instead of refused.
        """
        super().__init__(root)
        self.allow_incomplete = allow_incomplete

    @abstractmethod
    def utterances(self) -> Iterator[Utterance]:
        """Every clip that the corpus's names or label files speak of, in any order, its audio there or not."""

    def read(self) -> list[Utterance]:
        """Every utterance whose audio is there, ordered by path and time. See `Corpus.read`."""
        if not self.root.exists():
            raise self.error("there is no such file or folder")
        try:
            listed = list(self.utterances())
        except CorpusError:
            raise
        except (OSError, ValueError, KeyError) as error:
            raise self.error(f"it could not be read: {_message(error)}") from error
        found = _with_audio(listed)
        if not found:
            raise self.error(f"none of its clips is there ({len(listed)} are named in its label files)")
        if not self.allow_incomplete:
            self._check_complete(listed, found)
        return sorted(found, key=lambda utterance: (utterance.path, utterance.start_seconds or 0.0))

    def require(self, *places: str) -> Path:
        """The first of some files or folders below the root that exists.

        Raises:
            CorpusError: none of them does.
        """
        for place in places:
            if (self.root / place).exists():
                return self.root / place
        raise self.error(f"{' or '.join(places)} is missing")

    def _check_complete(self, listed: list[Utterance], found: list[Utterance]) -> None:
        advice = "copy it again, or set allow_incomplete: true if this part of it is what you mean to use"
        if len(found) < len(listed):
            present = {utterance.path for utterance in found}
            missing = sorted({utterance.path for utterance in listed} - present)
            named = ", ".join(str(path) for path in missing[:3])
            raise self.error(
                f"{len(missing)} of its {len(listed)} labelled clips have no audio ({named}, ...); {advice}"
            )
        if self.num_clips is not None and len(found) != self.num_clips:
            raise self.error(f"{len(found)} clips are there, the whole release has {self.num_clips}; {advice}")


class RatedCorpus(FolderCorpus):
    """A corpus whose dimensions people rated; its categories can stand in for them when a study needs mapped labels.

    Attributes:
        scale: the lowest and the highest rating on the publisher's scale.
    """

    scale: ClassVar[tuple[float, float]]

    def __init__(self, root: str | Path, label_source: LabelSource = "rated", allow_incomplete: bool = False) -> None:
        """Take the corpus's folder.

        Args:
            root: the folder that `expected` describes.
            label_source: "rated" gives the people's ratings, "mapped" the ones made from categories, which compare with
                those of corpora that were never rated.
            allow_incomplete: see `FolderCorpus`.
        """
        super().__init__(root, allow_incomplete)
        if label_source not in ("rated", "mapped"):
            raise CorpusError(f"{self.title}: label_source is '{label_source}'; it is rated or mapped")
        self.label_source = label_source

    def read(self) -> list[Utterance]:
        """See `FolderCorpus.read`. Clips without any label go only now, so that the whole release is counted."""
        return [clip for clip in super().read() if clip.emotion is not None or clip.ratings is not None]

    def labels(self, emotion: str | None, ratings: Mapping[str, float]) -> Labels:
        """Labels of a clip from its category and its ratings on the publisher's scale.

        Args:
            emotion: one of `EMOTIONS`, or None where the raters did not agree.
            ratings: by dimension, on `scale`; NaN where there is none.

        Returns:
            The labels that the chosen label source gives.
        """
        if self.label_source == "mapped":
            return mapped_labels(emotion)
        low, high = self.scale
        scaled = {name: (value - low) / (high - low) for name, value in ratings.items() if not math.isnan(value)}
        return Labels(emotion=emotion, ratings=scaled or None, label_source="rated" if scaled else None)


def mapped_labels(emotion: str | None) -> Labels:
    """Labels of a clip of which at most the category is known; its ratings are those of the mapped table, if any."""
    if emotion is None or emotion not in MAPPED_RATINGS:
        return Labels(emotion=emotion, ratings=None, label_source=None)
    # A plain dict: mapping proxies cannot be sent to worker processes.
    return Labels(emotion=emotion, ratings=dict(MAPPED_RATINGS[emotion]), label_source="mapped")


def to_dataset(utterances: Iterable[Utterance]) -> datasets.Dataset:
    """The table of some utterances: columns as in `FEATURES`, audio by path and undecoded, one row each, same order."""
    rows = [
        {"audio": {"path": str(utterance.path), "bytes": None}}
        | {name: getattr(utterance, name) for name in _PLAIN_COLUMNS}
        | {name: (utterance.ratings or {}).get(name) for name in DIMENSIONS}
        for utterance in utterances
    ]
    plain = datasets.Features(
        FEATURES | {"audio": {"path": datasets.Value("string"), "bytes": datasets.Value("binary")}}
    )
    table = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in FEATURES}, features=plain)
    # Given as audio from the start, rows would be "encoded", for which datasets wants torchcodec; a cast only renames.
    return table.cast_column("audio", FEATURES["audio"])


def from_dataset(table: datasets.Dataset) -> list[Utterance]:
    """The utterances of a table that `to_dataset` made, in its order."""
    return [
        Utterance(
            path=Path(row["audio"]["path"]),
            ratings=_present_ratings(row) if row["label_source"] else None,
            **{name: row[name] for name in _PLAIN_COLUMNS},
        )
        for row in table
    ]


def _present_ratings(row: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name in DIMENSIONS if (value := row[name]) is not None}


def _with_audio(utterances: list[Utterance]) -> list[Utterance]:
    """Those whose file is there. Folders are listed once: on a network disk a look at each file would take minutes."""
    folders = {utterance.path.parent for utterance in utterances}
    names = {folder: {file.name for file in folder.iterdir()} for folder in folders if folder.is_dir()}
    return [utterance for utterance in utterances if utterance.path.name in names.get(utterance.path.parent, ())]


def _message(error: Exception) -> str:
    return f"it lacks a column, or has an unknown label: {error}" if isinstance(error, KeyError) else str(error)
