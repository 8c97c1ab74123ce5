"""Whether a recogniser's confidence in a word is how often such words are right, and the map that makes it so.

python -m pixel_mm.evaluate suite=word_confidence model_folder=DIR data=librispeech data.root=DIR            # measures
python -m pixel_mm.evaluate suite=word_confidence suite.fit=true model_folder=DIR data=librispeech data.root=DIR
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.progress import track as show_progress

from pixel_mm.audio import MAX_SAMPLES
from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.evaluation.recognition import Sample, read_samples
from pixel_mm.inference.confidence import FEATURES, FILE, ConfidenceMap
from pixel_mm.inference.recognition_engines import ExportedEngine, load_exported
from pixel_mm.metrics.calibration import calibration
from pixel_mm.metrics.error_rates import normaliser
from pixel_mm.model_folder import ModelFolder, ModelSpec
from pixel_mm.models.speech_recognition.decoding import DecodingOptions
from pixel_mm.reports.tables import decimal, markdown_table
from pixel_mm.runs import atomic_path, write_json

_FOLDS = 5
_RIDGE = 1.0  # as if one word of average features spoke against every weight
_STEPS = 50


@dataclass(frozen=True, slots=True)
class JudgedWords:
    """Words that a model wrote, W of them.

    Attributes:
        features: float64 [W, 4], see `FEATURES`.
        right: bool [W], whether they were said.
        speakers: [W].
        clips: int64 [W], number of the clip that each is in.
    """

    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    speakers: NDArray[np.str_]
    clips: NDArray[np.int64]

    def errors(self, confidence: NDArray[np.float64]) -> dict[str, float]:
        """Expected calibration error of the words' confidence, and of their clips': the mean of a clip's words."""
        counts = np.bincount(self.clips)
        clips = (np.bincount(self.clips, confidence) / np.maximum(counts, 1))[self.clips]
        return {"words": _error(confidence, self.right), "utterances": _error(clips, self.right)}


def evaluate_configured(cfg: DictConfig) -> bool:
    """Measure, fit if `suite.fit` says so, and write `report/`; a fitted map goes into the model folder.

    Returns:
        Whether the fitted map is better, on speakers that it was not fitted on, than the model's own probabilities.

    Raises:
        EvaluateError: no model folder, clips without transcripts, no word, or for a fit a single speaker or words that
            are all right or all wrong.
        ModelFolderError: the folder is none of an exported recogniser.
        ValueError: `suite.decoding` asks for what the model cannot do.
    """
    if cfg.model_folder is None:
        raise EvaluateError("suite needs a model to look at: give model_folder=DIR, as pixel_mm.export wrote it")
    suite, place = cfg.suite, ModelFolder(Path(cfg.model_folder))
    corpus: Corpus = instantiate(cfg.data.corpus)
    samples, bad = read_samples(corpus.read(), suite.max_clips, suite.max_bad_share)
    engine = load_exported(place.path, suite.precision, suite.threads)
    options = instantiate(suite.decoding, _convert_="all")
    engine.check(options)
    judged = judge(engine, samples, options, normaliser(suite.normaliser))
    measured = {"the model's own probability": judged.errors(np.exp(judged.features[:, 0]))}
    if engine.confidence is not None:
        measured["the map in the folder"] = judged.errors(engine.confidence(judged.features))
    better = True
    if suite.fit:
        fitted, held_out = fit_map(judged, corpus.title)
        measured["the map fitted now, on speakers left out"] = judged.errors(held_out)
        better = fitted.calibration_error < measured["the model's own probability"]["words"]
        fitted.write(place.path / FILE)
        place.seal(ModelSpec.read(place.spec))
    _report(Path(cfg.paths.run) / "report", measured, judged, place.path.name, corpus.title, bad)
    return better


def judge(
    engine: ExportedEngine, samples: Sequence[Sample], options: DecodingOptions, same: Callable[[str], str]
) -> JudgedWords:
    """Write down clips of up to 30 s and hold each word against what was said; signs alone are no words.

    Raises:
        EvaluateError: nothing was written.
    """
    features, right, speakers, clips = [], [], [], []
    short = [sample for sample in samples if sample.waveform.size <= MAX_SAMPLES]
    for number, sample in enumerate(show_progress(short, "recognising", transient=True)):
        (found,) = engine.transcribe([sample.waveform], options)
        words, rows = engine.features(found)
        for row, verdict in zip(rows, right_words(words, sample.utterance.transcript or "", same), strict=True):
            if verdict is not None:
                features.append(row)
                right.append(verdict)
                speakers.append(sample.utterance.speaker)
                clips.append(number)
    if not features:
        raise EvaluateError("the model wrote no word of any clip; is it the corpus' language?")
    return JudgedWords(np.stack(features), np.array(right), np.array(speakers), np.array(clips))


def right_words(words: Sequence[str], reference: str, same: Callable[[str], str]) -> list[bool | None]:
    """Whether each word was said, by the alignment with fewest errors; None for what is no word once normalised."""
    pieces = [same(word).split() for word in words]
    said, heard = same(reference).split(), [piece for word in pieces for piece in word]
    right = np.zeros(len(heard), dtype=bool)
    if said and heard:
        for chunk in jiwer.process_words(" ".join(said), " ".join(heard)).alignments[0]:
            right[chunk.hyp_start_idx : chunk.hyp_end_idx] = chunk.type == "equal"
    ends = np.cumsum([len(word) for word in pieces])
    return [bool(right[end - len(word) : end].all()) if word else None for word, end in zip(pieces, ends, strict=True)]


def fit_map(judged: JudgedWords, corpus: str) -> tuple[ConfidenceMap, NDArray[np.float64]]:
    """Fit on all words, and on all but some speakers' in turn.

    Args:
        judged: the words.
        corpus: its title.

    Returns:
        The map; float64 [W], each word's confidence by the fit that its speaker was left out of.

    Raises:
        EvaluateError: a single speaker, or words that are all right or all wrong.
    """
    names = np.unique(judged.speakers)
    if len(names) < 2 or judged.right.all() or not judged.right.any():
        raise EvaluateError(
            f"confidence cannot be fitted on {len(judged.right)} words of {len(names)} speakers, {judged.right.sum()} "
            "of them right: it takes two speakers or more, and words of both kinds"
        )
    held_out = np.zeros(len(judged.right))
    folds = min(_FOLDS, len(names))
    for fold in range(folds):
        out = np.isin(judged.speakers, names[fold::folds])
        weights, bias = fit_logistic(judged.features[~out], judged.right[~out])
        held_out[out] = 1 / (1 + np.exp(-(judged.features[out] @ weights + bias)))
    weights, bias = fit_logistic(judged.features, judged.right)
    named = dict(zip(FEATURES, weights.tolist(), strict=True))
    error = judged.errors(held_out)["words"]
    return ConfidenceMap(named, bias, corpus, len(judged.right), len(names), error), held_out


def fit_logistic(features: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Logistic regression by Newton's method, with a little ridge on the standardised weights.

    Args:
        features: float64 [W, D].
        right: bool [W].

    Returns:
        float64 [D] weights and a bias, of the features as they are.
    """
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    inputs = np.column_stack([(features - mean) / spread, np.ones(len(features))])
    ridge = np.diag([*np.full(features.shape[1], _RIDGE), 1e-6])
    found = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(-np.clip(inputs @ found, -30, 30)))
        slope = inputs.T @ (right - expected) - ridge @ found
        bend = (inputs * (expected * (1 - expected))[:, None]).T @ inputs + ridge
        found += np.linalg.solve(bend, slope)
    weights = found[:-1] / spread
    return weights, float(found[-1] - weights @ mean)


def _error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    return calibration(np.column_stack([confidence, 1 - confidence]), np.where(right, 0, 1))["ece"]


def _report(
    folder: Path, measured: dict[str, Any], judged: JudgedWords, model: str, corpus: str, bad: dict[str, str]
) -> None:
    counts = {"num_words": len(judged.right), "num_right": int(judged.right.sum()),
              "num_speakers": len(np.unique(judged.speakers))}  # fmt: skip
    write_json(folder / "metrics.json", {**counts, "calibration_error": measured, "bad_clips": bad})
    rows = [(name, decimal(errors["words"]), decimal(errors["utterances"])) for name, errors in measured.items()]
    text = (
        f"# Confidence of {model} on {corpus}\n\n{counts['num_words']} words of {counts['num_speakers']} speakers, "
        f"{counts['num_right']} of them right; {len(bad)} clips could not be used. Expected calibration error over 15 "
        "bins, 0 to 1:\n\n" + markdown_table(("confidence", "words", "utterances (mean of their words)"), rows)
    )
    with atomic_path(folder / "report.md") as aside:
        aside.write_text(text, encoding="utf-8")
