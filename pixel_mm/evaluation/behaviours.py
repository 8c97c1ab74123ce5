"""Behaviour suite over a finished model: is it right, is it steady, is it fair?

The three kinds of checks, and their thresholds' form, follow Derington et al., "Testing correctness, fairness, and
robustness of speech emotion recognition models", 2023 (arXiv:2312.06270). A check that the corpus gives
nothing for (one sex only, no ratings) is "not tested", which is neither passed nor failed.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.audio import MAX_SECONDS, SAMPLE_RATE_HZ, AudioError, read_audio
from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.classes import MEASURES, decide
from pixel_mm.evaluation.perturbations import Waveform
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.evaluation.scores import concordances, score

_MIN_CLIPS_PER_SEX = 10


class Estimate(Protocol):
    """What a recognizer says about a clip."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Valence, arousal, dominance by name, 0..1."""

    @property
    def emotions(self) -> Mapping[str, float]:
        """Probability by category, or nothing."""


Recognizer = Callable[[Sequence[Waveform], int], Sequence[Estimate]]
"""Scores waveforms of one sample rate, as `AudioEmotionRecognizer.batch` does."""


def run_suite(suite: DictConfig, recognize: Recognizer, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Look at a model's behaviour on some clips.

    Args:
        suite: `max_clips`, `seed`, `correctness`, `robustness`, `fairness`; see conf/suite/emotion_behaviour.yaml.
        recognize: the model.
        utterances: of a corpus, not trained on if correctness is to mean anything.

    Returns:
        `{"num_clips", "num_speakers", "label_source", "bad_clips", "checks": [{"kind", "name", "value", "limit",
        "sense", "passed"}]}`; `sense` is "at least" or "at most", `passed` None where it could not be tested.

    Raises:
        ValueError: not one clip could be used.
    """
    chosen = _draw(utterances, suite.max_clips, suite.seed)
    clips, used, bad = _read(chosen)
    if not clips:
        raise ValueError(f"none of {len(chosen)} clips can be used, the first because: {next(iter(bad.values()))}")
    table = _table(recognize(clips, SAMPLE_RATE_HZ), used)
    checks = [
        *_correctness(suite.correctness, table),
        *_robustness(suite.robustness, recognize, clips, table),
        *_fairness(suite.fairness, table),
    ]
    return {
        "num_clips": len(used),
        "num_speakers": len(set(table.speakers)),
        "label_source": table.label_source,
        "bad_clips": bad,
        "checks": checks,
    }


def _draw(utterances: Sequence[Utterance], max_clips: int, seed: int) -> list[Utterance]:
    rows = np.random.default_rng(seed).permutation(len(utterances))[:max_clips]
    return [utterances[row] for row in sorted(rows)]


def _read(utterances: Sequence[Utterance]) -> tuple[list[Waveform], list[Utterance], dict[str, str]]:
    clips, used, bad = [], [], {}
    for utterance in utterances:
        try:
            clip = read_audio(utterance.path, utterance.start_seconds, utterance.end_seconds).waveform
        except AudioError as error:
            bad[utterance.key] = str(error)
            continue
        # Room for the silence that a check adds; the suite is about clips, not about windows of recordings.
        if clip.size > (MAX_SECONDS - 2) * SAMPLE_RATE_HZ:
            bad[utterance.key] = f"longer than {MAX_SECONDS - 2:g} s"
            continue
        clips.append(clip)
        used.append(utterance)
    return clips, used, bad


def _table(estimates: Sequence[Estimate], utterances: Sequence[Utterance]) -> Predictions:
    labels = tuple(estimates[0].emotions)
    return Predictions(
        utterances=tuple(utterances),
        fold=(0,) * len(utterances),
        seed=(0,) * len(utterances),
        scores=np.array([[estimate.scores[name] for name in DIMENSIONS] for estimate in estimates]),
        probabilities=np.array([[e.emotions[label] for label in labels] for e in estimates]).reshape(-1, len(labels)),
        emotion_labels=labels,
    )


def _check(kind: str, name: str, value: float | None, limit: float, sense: str) -> dict[str, Any]:
    passed = None if value is None else bool(value >= limit if sense == "at least" else value <= limit)
    return {"kind": kind, "name": name, "value": value, "limit": limit, "sense": sense, "passed": passed}


def _correctness(limits: DictConfig, table: Predictions) -> list[dict[str, Any]]:
    checks = []
    for measure, limit in limits.min_ua.items():
        found = score(decide(str(measure), table), table.speakers, num_resamples=0)
        checks.append(_check("correctness", f"{measure} UA", found["ua"] if found else None, limit, "at least"))
    agreement = concordances(table)
    for name, limit in limits.min_ccc.items():
        label = f"{name} CCC, {table.label_source} labels"
        checks.append(_check("correctness", label, agreement[str(name)], limit, "at least"))
    return checks


def _robustness(
    limits: DictConfig, recognize: Recognizer, clips: Sequence[Waveform], table: Predictions
) -> list[dict[str, Any]]:
    """Share of clips whose scores stay within `max_change`, and whose emotion stays the same, after each change."""
    checks = []
    for name, node in limits.perturbations.items():
        change = instantiate(node)
        changed = [
            change(c, SAMPLE_RATE_HZ, _random(str(name), u)) for c, u in zip(clips, table.utterances, strict=True)
        ]
        after = _table(recognize(changed, SAMPLE_RATE_HZ), table.utterances)
        moved = np.abs(after.scores - table.scores)
        for column, dimension in enumerate(DIMENSIONS):
            steady = float((moved[:, column] <= limits.max_change).mean())
            label = f"{name}: {dimension} moves by {limits.max_change:g} or less"
            checks.append(_check("robustness", label, steady, limits.min_share, "at least"))
        if table.emotion_labels:
            same = float((after.probabilities.argmax(axis=1) == table.probabilities.argmax(axis=1)).mean())
            checks.append(_check("robustness", f"{name}: same emotion", same, limits.min_share, "at least"))
    return checks


def _random(name: str, utterance: Utterance) -> np.random.Generator:
    """The same for a change and a clip, whatever else is tested."""
    return np.random.default_rng(zlib.crc32(f"{name} {utterance.key}".encode()))


def _fairness(limits: DictConfig, table: Predictions) -> list[dict[str, Any]]:
    """Gaps between women and men in UA and in how far scores lie from labels on average."""
    sexes = [u.sex for u in table.utterances]
    rows = [np.array([row for row, sex in enumerate(sexes) if sex == which], int) for which in ("female", "male")]
    enough = all(len(part) >= _MIN_CLIPS_PER_SEX for part in rows)
    parts = [_rows(table, part) for part in rows] if enough else []
    checks = []
    for measure in MEASURES:
        scored = [score(decide(measure, part), part.speakers, num_resamples=0) for part in parts]
        uas = [found["ua"] for found in scored if found and found["ua"] is not None]
        gap = abs(uas[0] - uas[1]) if len(uas) == 2 else None
        checks.append(_check("fairness", f"{measure} UA, gap between the sexes", gap, limits.max_ua_gap, "at most"))
    for column, dimension in enumerate(DIMENSIONS):
        biases = [_bias(part, column) for part in parts]
        known = [bias for bias in biases if bias is not None]
        gap = abs(known[0] - known[1]) if len(known) == 2 else None
        label = f"{dimension} bias, gap between the sexes"
        checks.append(_check("fairness", label, gap, limits.max_bias_gap, "at most"))
    return checks


def _bias(table: Predictions, column: int) -> float | None:
    """Mean of score minus label; None without labels."""
    error = table.scores[:, column] - table.ratings[:, column]
    known = error[np.isfinite(error)]
    return float(known.mean()) if known.size else None


def _rows(table: Predictions, rows: np.ndarray) -> Predictions:
    return Predictions(
        utterances=tuple(table.utterances[row] for row in rows),
        fold=tuple(table.fold[row] for row in rows),
        seed=tuple(table.seed[row] for row in rows),
        scores=table.scores[rows],
        probabilities=table.probabilities[rows],
        emotion_labels=table.emotion_labels,
    )
