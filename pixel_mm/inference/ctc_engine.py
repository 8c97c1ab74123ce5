"""A CTC recogniser in a model folder, read greedily: the best class of each frame (Graves et al., ICML 2006).

What `python -m pixel_mm.export target=ctc` wrote, over onnxruntime. Characters are heard one by one, so that each has
its time at once, and nothing is invented from what was written before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import MAX_SAMPLES, MIN_SAMPLES, SAMPLE_RATE_HZ, Waveform
from pixel_mm.ctc_vocabulary import BLANK, CtcVocabulary, VocabularyError
from pixel_mm.inference.confidence import ConfidenceMap, read_map, word_features
from pixel_mm.inference.seams import split_words
from pixel_mm.inference.timed_words import Part, find_parts, make_words
from pixel_mm.inference.transcript import Word
from pixel_mm.inference.whisper_onnx import Precision, open_session
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis

TASK = "ctc_speech_recognition"
GRAPH, VOCABULARY = "model.onnx", "vocabulary.json"
_DOUBTFUL_LOG_PROBABILITY = float(np.log(0.5))


@dataclass(frozen=True, slots=True)
class CtcEngine:
    """A graph and its characters.

    A hypothesis' tokens are the classes of its characters, each with the log-probability of the frame that is surest of
    it; its no-speech probability is that of the empty transcript, which CTC has: no frame has a character.
    `DecodingOptions.max_tokens` is of a decoder; there is none.

    Attributes:
        session: of onnxruntime.
        vocabulary: characters by class.
        language: ISO 639-1 code of what it writes.
        confidence: from the model's probabilities to how often words are right; None for nothing but those.
    """

    session: Any
    vocabulary: CtcVocabulary
    language: str
    confidence: ConfidenceMap | None = None

    def check(self, options: DecodingOptions) -> None:
        """Refuse another language, translation, beams and hot words, by name."""
        if options.language not in (None, self.language):
            raise ValueError(f"language '{options.language}' is none that this model knows; it knows {self.language}")
        if options.task != "transcribe":
            raise ValueError(f"task '{options.task}' is not one of a CTC recogniser's, which writes down what is said")
        if options.beam_size > 1:
            raise ValueError(f"beam_size is {options.beam_size}, but a CTC recogniser is read greedily; leave it at 1")
        if options.hot_words:
            raise ValueError("hot_words are given, but a CTC recogniser writes what it hears; leave them out")

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        """Transcripts of clips, one after the other: on a processor a batch would be no faster, and padding is work."""
        self.check(options)
        for row, waveform in enumerate(waveforms):
            if not MIN_SAMPLES <= waveform.size <= MAX_SAMPLES:
                raise ValueError(f"clip {row} has {waveform.size} samples; need {MIN_SAMPLES} to {MAX_SAMPLES}")
        return [self._one(waveform) for waveform in waveforms]

    def text(self, hypothesis: Hypothesis) -> str:
        """What a transcript says."""
        return "".join(self._characters(hypothesis))

    def is_doubtful(self, hypothesis: Hypothesis) -> bool:
        """Whether its characters are, on (geometric) average, less probable than all else in their frames."""
        return hypothesis.mean_log_probability < _DOUBTFUL_LOG_PROBABILITY

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        """When each word was said: from the first frame that has a letter of it to the last."""
        words, parts = split_words(self.text(hypothesis)), self._parts(hypothesis)
        owned = find_parts(words, parts)
        times = [(hypothesis.times[places[0]][0], hypothesis.times[places[-1]][1]) for places in owned]
        return make_words(words, owned, parts, times)

    def confidences(self, hypothesis: Hypothesis) -> list[float] | None:
        """Calibrated confidence of each word, if there is a map."""
        return None if self.confidence is None else self.confidence(self.features(hypothesis)[1]).tolist()

    def features(self, hypothesis: Hypothesis) -> tuple[list[str], NDArray[np.float64]]:
        """Words of a transcript, and what their confidence is made of; see `word_features`."""
        words = split_words(self.text(hypothesis))
        return words, word_features(hypothesis, words, self._parts(hypothesis))

    def _one(self, waveform: Waveform) -> Hypothesis:
        given = {"waveform": waveform[None].astype(np.float32), "num_samples": np.array([waveform.size])}
        (scores,) = self.session.run(["log_probabilities"], given)[0]
        return read_frames(scores, self.vocabulary, waveform.size / SAMPLE_RATE_HZ, self.language)

    def _characters(self, hypothesis: Hypothesis) -> list[str]:
        return [self.vocabulary.characters[token - 1] for token in hypothesis.tokens]

    def _parts(self, hypothesis: Hypothesis) -> list[Part]:
        scored = zip(self._characters(hypothesis), hypothesis.log_probabilities, strict=False)
        return [Part(character, score) for character, score in scored]


def read_frames(scores: NDArray[np.float32], vocabulary: CtcVocabulary, seconds: float, language: str) -> Hypothesis:
    """Read a clip's characters: one of each run of frames with the same best class; spaces are single, none at an end.

    Args:
        scores: float32 [F, C], log-probabilities.
        vocabulary: characters by class.
        seconds: length of the clip, which its frames share evenly.
        language: that it is in.

    Returns:
        The transcript; one without characters has a single log-probability, the blank's mean.
    """
    best = scores.argmax(axis=1)
    edges = [*np.flatnonzero(np.diff(best, prepend=-1)).tolist(), len(best)]
    found: list[tuple[int, float, tuple[float, float]]] = []
    for start, end in pairwise(edges):
        each = int(best[start])
        if each == BLANK or (_is_space(vocabulary, each) and (not found or _is_space(vocabulary, found[-1][0]))):
            continue
        moments = (start * seconds / len(best), end * seconds / len(best))
        found.append((each, float(scores[start:end, each].max()), moments))
    if found and _is_space(vocabulary, found[-1][0]):
        found.pop()
    blank = scores[:, BLANK].astype(np.float64)
    return Hypothesis(
        tokens=tuple(token for token, _, _ in found),
        log_probabilities=tuple(score for _, score, _ in found) or (float(blank.mean()),),
        no_speech_probability=float(np.exp(blank.sum())),
        language=language,
        times=tuple(moments for _, _, moments in found),
    )


def load_exported(folder: Path, precision: Precision, num_threads: int) -> CtcEngine:
    """Load what `python -m pixel_mm.export target=ctc` wrote; see `load_engine`."""
    if precision != "float32":
        raise ModelFolderError(f"precision is '{precision}', but {folder} is a CTC recogniser's, float32 alone")
    place = ModelFolder(folder)
    spec = place.open(GRAPH, VOCABULARY)
    vocabulary = CtcVocabulary.load(folder / VOCABULARY)
    if spec.output("log_probabilities").labels[BLANK + 1 :] != vocabulary.characters:
        raise VocabularyError(f"{folder / VOCABULARY} does not belong to the graph beside it; export the model again")
    if len(spec.languages) != 1:
        raise ModelFolderError(f"{place.spec} does not name the language that is written; export the model again")
    return CtcEngine(open_session(folder / GRAPH, num_threads), vocabulary, spec.languages[0], read_map(place))


def _is_space(vocabulary: CtcVocabulary, token: int) -> bool:
    return vocabulary.characters[token - 1].isspace()
