"""How sure it is that a word was said: a model's own probabilities, mapped to how often words like it are right.

The map is a logistic regression (Platt scaling, 1999, with four features instead of one). It is in `confidence.yaml` of
a model folder, put there by `python -m pixel_mm.evaluate suite=word_confidence`; without it confidence is the model's
own probability, which is not calibrated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from pixel_mm.inference.timed_words import Part, find_parts
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.models.speech_recognition.decoding import Hypothesis

FILE = "confidence.yaml"
FEATURES = ("word", "lowest", "transcript", "no_speech")
"""Logarithms of probabilities: the mean and the lowest of a word's tokens, the mean of all tokens of its transcript,
and that nobody speaks there."""
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class ConfidenceMap:
    """From features of a word to the probability that it is right.

    Attributes:
        weights: of each of `FEATURES`.
        bias: added to their weighted sum.
        corpus: whose transcripts it was fitted on.
        num_words: that it was fitted on.
        num_speakers: who said them.
        calibration_error: expected one, 0 to 1, on speakers that the fit left out in turn.
    """

    weights: Mapping[str, float]
    bias: float
    corpus: str
    num_words: int
    num_speakers: int
    calibration_error: float

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities, float64 [W], of features float64 [W, 4]."""
        weights = np.array([self.weights[name] for name in FEATURES])
        probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-(features @ weights + self.bias)))
        return probabilities

    def write(self, path: Path) -> None:
        """Write as YAML."""
        path.write_text(yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "ConfidenceMap":
        """Read what `write` wrote.

        Raises:
            ModelFolderError: it is something else.
        """
        try:
            found = cls(**yaml.safe_load(path.read_text(encoding="utf-8")))
            numbers = [found.bias, *(found.weights[name] for name in FEATURES)]
            if len(found.weights) != len(FEATURES) or not np.isfinite(np.array(numbers, dtype=np.float64)).all():
                raise ValueError(f"weights are {found.weights}")
        except (yaml.YAMLError, TypeError, ValueError, KeyError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise ModelFolderError(
                f"{path} is no map of confidence ({error!r}): it has {names}, weights of {', '.join(FEATURES)}; "
                "fit it again, or delete it and its line in model.yaml"
            ) from None
        return found


def read_map(place: ModelFolder) -> ConfidenceMap | None:
    """The map in a model folder; None if nobody has fitted one.

    Raises:
        ModelFolderError: it is damaged, or not the one that was fitted.
    """
    if FILE not in ModelSpec.read(place.spec).files:
        return None
    place.open(FILE)
    return ConfidenceMap.read(place.path / FILE)


def word_features(hypothesis: Hypothesis, words: Sequence[str], parts: Sequence[Part]) -> NDArray[np.float64]:
    """What the confidence of a transcript's words is made of.

    Args:
        hypothesis: what was found in a clip.
        words: W, as `split_words` gives them.
        parts: of the transcript.

    Returns:
        float64 [W, 4], `FEATURES`.
    """
    whole = hypothesis.mean_log_probability
    silent = np.log(max(hypothesis.no_speech_probability, _LEAST))
    rows = []
    for owner in find_parts(words, parts):
        scores = [parts[place].log_probability for place in owner] or [whole]
        rows.append((np.mean(scores), np.min(scores), whole, silent))
    return np.array(rows, dtype=np.float64).reshape(-1, len(FEATURES))
