"""Word and character error rate (WER, CER), and what the errors are: substitutions, deletions, insertions.

Errors are those of the alignment with fewest of them (Levenshtein), counted by jiwer, over all utterances together: a
long utterance weighs more than a short one. Texts are normalised before, as Radford et al. 2022 (appendix C) do it.

An empty reference is defined here: whatever was recognised in it is inserted, and it adds nothing to the words that
rates are shares of. So the rate of a part in which nobody speaks is undefined, and its insertions are counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import datasets
import evaluate
import jiwer
import numpy as np
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

from pixel_mm.metrics.intervals import speaker_interval, speaker_totals
from pixel_mm.metrics.local_metric import LocalMetric

Unit = Literal["word", "character"]
Normaliser = Literal["basic", "english", "none"]


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Errors of one utterance, or of many together.

    Attributes:
        hits: words (or characters) that are right.
        substitutions: that are others.
        deletions: that are missing.
        insertions: that nobody said.
    """

    hits: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def references(self) -> int:
        """Words (or characters) that were said."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """All kinds of them."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors as a share of what was said; above 1 where much was invented, NaN where nothing was said."""
        return self.errors / self.references if self.references else float("nan")

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        """Both together."""
        return ErrorCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def normaliser(name: Normaliser) -> Callable[[str], str]:
    """What makes two spellings of the same words equal.

    Args:
        name: "basic" leaves letters and digits of any language in lower case; "english" spells out contractions and
            writes numbers alike, too; "none" compares what is written.

    Raises:
        ValueError: another name.
    """
    makers: dict[str, Callable[[], Callable[[str], str]]] = {
        "basic": BasicTextNormalizer,
        # The table of British and American spellings is published with the models' tokenizers, not in the library.
        "english": lambda: EnglishTextNormalizer({}),
        "none": lambda: str,
    }
    if name not in makers:
        raise ValueError(f"normaliser is '{name}'; it is one of {', '.join(makers)}")
    return makers[name]()


def count_errors(reference: str, hypothesis: str, unit: Unit = "word") -> ErrorCounts:
    """Errors of one utterance, of texts that are normalised already; either may be empty."""
    # jiwer parts words at spaces only; a tab or a line break would join two.
    said, heard = " ".join(reference.split()), " ".join(hypothesis.split())
    if not said or not heard:
        size = len if unit == "character" else lambda text: len(text.split())
        return ErrorCounts(0, 0, size(said), size(heard))
    aligned = jiwer.process_words(said, heard) if unit == "word" else jiwer.process_characters(said, heard)
    return ErrorCounts(aligned.hits, aligned.substitutions, aligned.deletions, aligned.insertions)


def total(counts: Sequence[ErrorCounts]) -> ErrorCounts:
    """All utterances together."""
    return sum(counts, ErrorCounts(0, 0, 0, 0))


def rate_interval(counts: Sequence[ErrorCounts], speakers: Sequence[str]) -> tuple[float, float] | None:
    """95 % interval of the rate had the speakers been others, see `speaker_interval`; None below two speakers.

    Args:
        counts: of each utterance.
        speakers: of each utterance.
    """
    amounts = np.array([(count.errors, count.references) for count in counts], dtype=np.float64)
    return speaker_interval(_rates, speaker_totals(amounts, speakers))


def _rates(sums: np.ndarray) -> np.ndarray:
    """Errors [R] by words said [R], of sums [R, 2]; NaN where nothing was said."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)


class ErrorRate(LocalMetric):
    """`compute(predictions=[texts], references=[texts], unit="word", normaliser="basic")`.

    Gives `rate`, `substitutions`, `deletions`, `insertions` (each a share of what was said) and `references`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Word or character error rate, and its parts",
            citation="Morris, Maier & Green, Interspeech 2004; normalisers: Radford et al. 2022",
            inputs_description="predictions, references: one text each",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        unit: Unit = "word",
        normaliser: Normaliser = "basic",
    ) -> dict[str, float]:
        same = _normaliser(normaliser)
        counts = total(
            [count_errors(same(said), same(heard), unit) for said, heard in zip(references, predictions, strict=True)]
        )
        said = counts.references or float("nan")
        return {
            "rate": counts.rate,
            "substitutions": counts.substitutions / said,
            "deletions": counts.deletions / said,
            "insertions": counts.insertions / said,
            "references": float(counts.references),
        }


_normaliser = normaliser  # an argument of `compute` has the name
