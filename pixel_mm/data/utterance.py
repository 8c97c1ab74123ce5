"""`Utterance`: one row of a corpus, whatever the corpus."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixel_mm.data.emotions import DIMENSIONS, EMOTIONS

LabelSource = Literal["rated", "mapped"]
Split = Literal["train", "validation", "test"]
Sex = Literal["female", "male"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech by one speaker, with the labels its corpus gives it.

    Attributes:
        path: audio file.
        start_seconds: where the utterance begins in the file; None is the file's beginning.
        end_seconds: where it ends; None is the file's end.
        speaker: unique within the corpus. Splits are disjoint by it.
        sex: "female", "male" or None where unknown.
        language: ISO 639-1 code or None.
        transcript: words as the corpus writes them, or None.
        emotion: one of `EMOTIONS`, or None.
        ratings: valence, arousal, dominance in 0..1 by name (any subset), or None.
        label_source: "rated" when people rated the dimensions, "mapped" when they were made from categories;
            None exactly when `ratings` is None.
        split: the publisher's own split, or None.

    Raises:
        ValueError: a label outside its range or vocabulary; the message names the file and the field.
    """

    path: Path
    speaker: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    sex: Sex | None = None
    language: str | None = None
    transcript: str | None = None
    emotion: str | None = None
    ratings: Mapping[str, float] | None = None
    label_source: LabelSource | None = None
    split: Split | None = None

    def __post_init__(self) -> None:
        """Refuse labels that cannot be right, here rather than epochs later."""
        if not self.speaker:
            raise ValueError(f"{self.path}: field 'speaker' is empty; splits need a speaker for every clip")
        self._check_times()
        if self.emotion is not None and self.emotion not in EMOTIONS:
            raise ValueError(f"{self.path}: emotion '{self.emotion}' is not one of {', '.join(EMOTIONS)}")
        if (self.ratings is None) != (self.label_source is None):
            raise ValueError(f"{self.path}: 'ratings' and 'label_source' go together; give both or neither")
        self._check_choice("sex", self.sex, ("female", "male"))
        self._check_choice("label_source", self.label_source, ("rated", "mapped"))
        self._check_choice("split", self.split, ("train", "validation", "test"))
        for name, value in (self.ratings or {}).items():
            if name not in DIMENSIONS:
                raise ValueError(f"{self.path}: rating '{name}' is not one of {', '.join(DIMENSIONS)}")
            if not 0.0 <= value <= 1.0:  # also false for NaN
                raise ValueError(f"{self.path}: rating '{name}' is {value}; scale it to 0..1 in the corpus's reader")

    def _check_times(self) -> None:
        start = 0.0 if self.start_seconds is None else self.start_seconds
        if start < 0 or (self.end_seconds is not None and not start < self.end_seconds):
            raise ValueError(
                f"{self.path}: utterance from {self.start_seconds} s to {self.end_seconds} s; need 0 <= start < end"
            )

    def _check_choice(self, field: str, value: str | None, choices: tuple[str, ...]) -> None:
        if value is not None and value not in choices:
            raise ValueError(f"{self.path}: field '{field}' is '{value}'; it is one of {', '.join(choices)} or none")

    @property
    def key(self) -> str:
        """Name of the clip that is the same on every machine: file name and the times in it."""
        times = (
            ""
            if self.start_seconds is None and self.end_seconds is None
            else (f"#{self.start_seconds or 0:.3f}-{'' if self.end_seconds is None else f'{self.end_seconds:.3f}'}")
        )
        return f"{self.path.parent.name}/{self.path.name}{times}"
