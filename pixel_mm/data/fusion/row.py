"""`FusionRow`: how something was said, what was said, what was answered, and the scores of it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.data.splits import SplitError
from pixel_mm.data.utterance import Split, Utterance

RowLabelSource = Literal["rated", "mapped", "constructed"]
_LABEL_SOURCES = ("rated", "mapped", "constructed")
_SPLITS = ("train", "validation", "test")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class FusionRow:
    """One turn of somebody who is heard, read, or both.

    Attributes:
        key: name of the row, unique in its set and the same on every machine.
        speaker: whose voice it is; without a voice, who wrote. Splits are disjoint by it.
        clip: where the audio lies; None: there is no audio. Its own transcript and labels are not the row's.
        text: the words, or None.
        response: what was answered, or None.
        imitated: whether the response is one to learn; others are there to be judged.
        scores: by name of `FUSION_SCORES`, 0..1, any subset.
        label_source: "rated" by people for this row, "mapped" from a category, "constructed" by a rule or an
            author, with nobody's rating of the whole behind it; None exactly when there are no scores.
        group: what the row is in its set, for tables, e.g. "masked"; or None.
        split: the part it belongs to, or None.

    Raises:
        ValueError: a row of neither audio nor words, or a field outside its range or vocabulary; names row and field.
    """

    key: str
    speaker: str
    clip: Utterance | None = None
    text: str | None = None
    response: str | None = None
    imitated: bool = True
    scores: Mapping[str, float] = field(default_factory=dict)
    label_source: RowLabelSource | None = None
    group: str | None = None
    split: Split | None = None

    def __post_init__(self) -> None:
        """Refuse a row that nothing can be learnt from, here rather than epochs later."""
        if not self.key or not self.speaker:
            raise ValueError(f"row '{self.key}': fields 'key' and 'speaker' must not be empty")
        if self.clip is None and self.text is None:
            raise ValueError(f"{self.key}: has neither 'clip' nor 'text'; give audio, words or both")
        for name in ("text", "response"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise ValueError(f"{self.key}: field '{name}' is blank; give words, or None where there are none")
        self._check_scores()
        if self.split is not None and self.split not in _SPLITS:
            raise ValueError(f"{self.key}: field 'split' is '{self.split}'; it is one of {', '.join(_SPLITS)} or none")

    def _check_scores(self) -> None:
        for name, value in self.scores.items():
            if name not in FUSION_SCORES:
                raise ValueError(f"{self.key}: score '{name}' is not one of {', '.join(FUSION_SCORES)}")
            if not 0.0 <= value <= 1.0:  # also false for NaN
                raise ValueError(f"{self.key}: score '{name}' is {value}; scale it to 0..1 where it is read")
        if bool(self.scores) != (self.label_source is not None):
            raise ValueError(f"{self.key}: 'scores' and 'label_source' go together; give both or neither")
        if self.label_source is not None and self.label_source not in _LABEL_SOURCES:
            raise ValueError(
                f"{self.key}: field 'label_source' is '{self.label_source}'; it is one of {', '.join(_LABEL_SOURCES)}"
            )


class RowSource(Protocol):
    """Anything that gives rows: a corpus, a set of texts, pairs made of both."""

    def read(self) -> list[FusionRow]:
        """Every row, in the same order on every machine."""


def sentence_key(text: str) -> str:
    """The same for two texts that differ in case, spaces and punctuation alone."""
    return " ".join("".join(c if c.isalnum() or c == "'" else " " for c in text.casefold()).split())


def check_disjoint(rows: Sequence[FusionRow]) -> None:
    """Refuse rows whose parts share a speaker or a sentence, or two rows of one key.

    Args:
        rows: each with its `split`.

    Raises:
        SplitError: a row without a split, or what is shared and between which parts.
    """
    missing = [row.key for row in rows if row.split is None]
    if missing:
        raise SplitError(f"{len(missing)} of {len(rows)} rows have no split ({missing[0]}, ...); give each its part")
    twice = [key for key, count in Counter(row.key for row in rows).items() if count > 1]
    if twice:
        raise SplitError(f"{len(twice)} keys are used by several rows ({twice[0]}, ...); a key names one row")
    speakers: defaultdict[str, set[str]] = defaultdict(set)
    sentences: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        speakers[row.speaker].add(str(row.split))
        if row.text is not None:
            sentences[sentence_key(row.text)].add(str(row.split))
    for what, parts in (("speakers", speakers), ("sentences", sentences)):
        shared = sorted(name for name, found in parts.items() if len(found) > 1)
        if shared:
            named = "; ".join(f"'{name}' in {' and '.join(sorted(parts[name]))}" for name in shared[:_NAMED])
            raise SplitError(
                f"{len(shared)} {what} are in several parts ({named}); what is tested on what was trained on is worth "
                "nothing. Split by speaker and by sentence"
            )
