"""Finished fusion runs on rows that nobody of them has learnt from: what voice and words together are worth.

python -m pixel_mm.evaluate suite=fusion suite.runs.fused=RUN_DIR suite.runs.text_only=RUN_DIR

The first run is judged and the others are compared with it, on the test part of the first run's own sources.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.data.fusion.row import FusionRow, check_disjoint
from pixel_mm.data.splits import Parts, SpeakerSplit
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.fusion_harm import ask, compare_sentences, raise_alarms
from pixel_mm.evaluation.fusion_models import JudgedModel, RowScores, other_voices, silenced, unheard
from pixel_mm.evaluation.fusion_pictures import draw_pictures
from pixel_mm.evaluation.fusion_scores import agreement, distress_accuracy, gain
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.metrics.calibration import confidence_calibration
from pixel_mm.metrics.intervals import speaker_interval, speaker_totals
from pixel_mm.metrics.risk_coverage import RiskCoverage, risk_coverage
from pixel_mm.reports.fusion_report import write_fusion_report
from pixel_mm.runs import RunFolder
from pixel_mm.training.fusion_task import load_fusion_network

log = logging.getLogger(__name__)


def evaluate_configured(cfg: DictConfig) -> bool:
    """Evaluate as configured, and write `report/`.

    Returns:
        True; numbers are for people to judge.

    Raises:
        EvaluateError: no run to judge, runs that were not trained on the same parts, or nothing to test on.
    """
    suite = cfg.suite
    folders = {name: path for name, path in suite.runs.items() if path is not None}
    if "fused" not in folders:
        raise EvaluateError("suite=fusion needs a run to judge: give suite.runs.fused=DIR, as pixel_mm.train wrote it")
    device = torch.device(suite.device)
    models = {name.replace("_", " "): load_judged(RunFolder(Path(path)), device) for name, path in folders.items()}
    judged = models["fused"]
    report = Path(cfg.paths.run) / "report"
    metrics: dict[str, Any] = {"model": Path(folders["fused"]).name, "runs": {k: str(v) for k, v in folders.items()}}
    found, curves = measure(models, suite.seed)
    metrics |= found
    if suite.masked_distress is not None:
        voices = instantiate(RunFolder(Path(folders["fused"])).load_config().data.corpus)
        masked = instantiate(suite.masked_distress, voices=voices, split=as_divided(judged.data.rows))
        metrics["masked_distress"] = tell_distress(models, masked.read())
    metrics |= _harm(judged, suite)
    write_fusion_report(report, metrics, curves, draw_pictures(judged, suite.max_pictures))
    return True


def as_divided(rows: Sequence[FusionRow]) -> SpeakerSplit:
    """Divides other clips of a corpus as a run's rows are, whatever divided these; other speakers are left out."""
    part_of = {row.speaker: row.split for row in rows if row.clip is not None}

    def divide(clips: Sequence[Utterance]) -> Parts:
        return Parts(*([n for n, clip in enumerate(clips) if part_of.get(clip.speaker) == p] for p in Parts._fields))

    return divide


def load_judged(folder: RunFolder, device: torch.device) -> JudgedModel:
    """A run's network with its own data module and losses.

    Raises:
        RunError, CheckpointError: see `load_fusion_network`.
    """
    config = folder.load_config()
    network = load_fusion_network(folder)
    data = instantiate(config.datamodule)
    data.setup()
    data.use_tokenizer(network.backbone.tokenizer)
    return JudgedModel(instantiate(config.module, network=network).eval(), data, device)


def measure(models: Mapping[str, JudgedModel], seed: int) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
    """All numbers that need no further rows.

    Args:
        models: by name; "fused" is judged, the others are compared with it.
        seed: of the draw of wrong voices.

    Returns:
        Sections of the report, and coverage and risk by source of the confidence.

    Raises:
        EvaluateError: there are no test rows, or the models' differ.
    """
    judged = models["fused"]
    rows, places = judged.data.rows, _test_places(judged)
    keys = [rows[place].key for place in places]
    found: dict[str, RowScores] = {}
    for name, model in models.items():
        own = {row.key: place for place, row in enumerate(model.data.rows) if row.split == "test"}
        if missing := [key for key in keys if key not in own]:
            raise EvaluateError(
                f"the run '{name}' doesn't hold out {len(missing)} of {len(keys)} test rows ({missing[0]}, ...); train "
                "all runs with the same sources, fractions and seeds"
            )
        log.info("%s: %d test rows", name, len(keys))
        found[name] = model.judge([own[key] for key in keys])
    found["wrong voice"] = judged.judge(places, voice_of=other_voices(rows, places, seed))
    found["silence"] = judged.judge(places, change=silenced)
    tested = [rows[place] for place in places]
    confidence, curves = _confidence(found["fused"])
    metrics = {
        "num_rows": len(places),
        "num_speakers": len({row.speaker for row in tested}),
        "label_source": " and ".join(sorted({str(row.label_source) for row in tested})),
        **_compare(found, tested),
        "confidence": confidence,
        "response_loss": lose_answers(judged, seed),
    }
    return metrics, {name: (curve.coverage, curve.risk) for name, curve in curves.items()}


def _test_places(model: JudgedModel) -> list[int]:
    """Test rows with a voice, words and a rating: what every baseline can say something of."""
    rows = model.data.rows
    places = [
        place
        for place in model.data.parts.test
        if rows[place].clip is not None and rows[place].text is not None and set(DIMENSIONS) & rows[place].scores.keys()
    ]
    if not places:
        raise EvaluateError("no test row has a voice, words and ratings; train with constructed_pairs or spoken_turns")
    return places


def _compare(found: Mapping[str, RowScores], rows: Sequence[FusionRow]) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    gains: dict[str, Any] = {}
    for name in DIMENSIONS:
        known = np.array([name in row.scores for row in rows])
        if not known.any() or name not in found["fused"].scores:
            continue
        targets = np.array([row.scores[name] for row in rows if name in row.scores])
        speakers = [row.speaker for row in rows if name in row.scores]
        said = {given: each.scores[name][known] for given, each in found.items() if name in each.scores}
        scores[name] = {given: agreement(values, targets, speakers) for given, values in said.items()}
        gains[name] = {
            given: gain(said["fused"], values, targets, speakers) for given, values in said.items() if given != "fused"
        }
    return {"scores": scores, "gains": gains}


def _confidence(said: RowScores) -> tuple[dict[str, Any], dict[str, RiskCoverage]]:
    entries, curves = {}, {}
    for source, right in said.right.items():
        known = np.isfinite(right)
        if not known.any():
            continue
        sure = said.confidence[source][known]
        curve = risk_coverage(sure, 1 - right[known])
        curves[source] = curve
        entries[source] = {
            "num_rows": int(known.sum()),
            **confidence_calibration(sure, right[known]),
            "aurc": curve.aurc,
            "excess_aurc": curve.excess_aurc,
        }
    return entries, curves


def tell_distress(models: Mapping[str, JudgedModel], rows: Sequence[FusionRow]) -> dict[str, Any]:
    """Masked-distress accuracy of each model.

    Raises:
        SplitError: a voice of these rows that the judged model was trained on.
    """
    trained = models["fused"].data
    check_disjoint([*(trained.rows[place] for place in trained.parts.train), *rows])
    found = {}
    for name, model in models.items():
        if "valence" in model.module.network.state_scores:
            own = model.with_rows(rows)
            kept = own.data.rows
            found[name] = distress_accuracy(own.judge(range(len(kept))).scores["valence"], kept)
    return found


def lose_answers(model: JudgedModel, seed: int) -> dict[str, Any]:
    """Loss of the test part's answers with the right voice, a wrong one and none; empty where there are no answers."""
    rows = model.data.rows
    places = [
        place
        for place in model.data.parts.test
        if rows[place].response is not None and rows[place].imitated and rows[place].clip is not None
    ]
    if not places:
        return {}
    wrong = wrong_feelings(rows, places, seed)
    found = {
        "right": model.judge(places),
        "wrong": model.judge(places, voice_of=wrong),
        "none": model.judge(places, change=unheard),
    }
    right = found["right"]
    speakers = [rows[place].speaker for place in places]
    entries: dict[str, Any] = {}
    for name, said in found.items():
        entries[name] = {"loss": float(said.answer_sums.sum() / said.answer_counts.sum())}
        if name != "right":
            above = said.answer_sums - right.answer_sums
            entries[name]["above_right"] = float(above.sum() / right.answer_counts.sum())
            entries[name]["ci95"] = speaker_interval(
                _means, speaker_totals(np.stack([above, right.answer_counts], axis=1), speakers)
            )
    return entries


def wrong_feelings(rows: Sequence[FusionRow], places: Sequence[int], seed: int) -> dict[int, int]:
    """For each row another of these whose voice feels otherwise (by `group`), if it can be of the same words."""
    random = np.random.default_rng(seed)
    chosen = {}
    for place in places:
        others = [other for other in places if rows[other].group != rows[place].group]
        same = [other for other in others if rows[other].text == rows[place].text]
        if others:
            chosen[place] = int(random.choice(same or others))
    return chosen


def _means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return means


def _harm(model: JudgedModel, suite: DictConfig) -> dict[str, Any]:
    """Sections of what the suite has texts for."""
    voices = [row.clip for row in model.data.rows if row.split == "test" and row.clip is not None]
    found: dict[str, Any] = {}
    heads: dict[str, Any] = {}
    for name, score in (("hatecheck", "bias"), ("crisis", "crisis")):
        if suite[name] is not None:
            log.info("asking before and after: %s", name)
            rows = [row for row in instantiate(suite[name]).read() if row.split == "test"]
            found[name] = ask(model, _some(rows, suite.max_texts), score, voices, suite.seed)
            if score in model.module.network.state_scores:
                heads[name] = raise_alarms(model, _some(rows, suite.max_texts), score, voices, suite.seed)
    found["heads"] = heads
    if suite.crows_pairs is not None:
        pairs = _some(instantiate(suite.crows_pairs).read(), suite.max_texts)
        found["crows_pairs"] = compare_sentences(model, pairs, voices, suite.seed)
    return found


def _some(items: Sequence[Any], count: int | None) -> list[Any]:
    """So many of them, spread evenly."""
    if count is None or count >= len(items):
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, count).round().astype(int)]
