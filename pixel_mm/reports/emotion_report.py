"""Report of an emotion evaluation: `metrics.json`, `report.md` and its figures, from numbers that are already there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixel_mm.reports.figures import confusion_figure, plane_figure, save_figure, speaker_figure
from pixel_mm.reports.tables import decimal, interval, markdown_table, percent
from pixel_mm.runs import atomic_path, write_json

_MAX_ROWS = 60  # of a table of speakers or clips; metrics.json has them all


@dataclass(frozen=True)
class PlanePoints:
    """What the valence/arousal figure shows; see `figures.plane_figure`.

    Attributes:
        scores: [N, 2] predicted valence and arousal.
        targets: [N, 2] labels.
        groups: [N] emotion of each clip.
    """

    scores: np.ndarray
    targets: np.ndarray
    groups: Sequence[str]


def write_emotion_report(folder: Path, metrics: Mapping[str, Any], plane: PlanePoints) -> None:
    """Write the report into a folder.

    Args:
        folder: gets `metrics.json`, `report.md`, `figures/*.png`.
        metrics: content of `metrics.json`; docs/evaluation.md describes it.
        plane: points of the valence/arousal figure.
    """
    title = f"{metrics['corpus']}, {metrics['protocol']}"
    source = metrics["ccc"]["label_source"] or "missing"
    figures = {"plane": plane_figure(plane.scores, plane.targets, plane.groups, source, title)}
    if metrics["confusion"]:
        counts = np.array(metrics["confusion"]["counts"])
        figures["confusion"] = confusion_figure(counts, metrics["confusion"]["classes"], title)
    measured = {name: entry["ua"] for name, entry in metrics["scores"].items() if entry}
    if measured:
        by_speaker = {
            who: {name: entry[name]["ua"] if entry[name] else None for name in measured}
            for who, entry in metrics["per_speaker"].items()
        }
        answers = {name: len(metrics["per_class"]) if name == "emotion" else 2 for name in measured}
        figures["speakers"] = speaker_figure(by_speaker, measured, title, answers)
    for name, figure in figures.items():
        save_figure(figure, folder / "figures" / f"{name}.png")
    write_json(folder / "metrics.json", metrics)
    with atomic_path(folder / "report.md") as aside:
        aside.write_text(_text(metrics, list(figures)), encoding="utf-8")


def _text(metrics: Mapping[str, Any], figures: Sequence[str]) -> str:
    captions = {"plane": "Valence and arousal", "confusion": "Confusion matrix", "speakers": "Speakers"}
    parts = [
        f"# Emotion evaluation: {metrics['corpus']}, {metrics['protocol']}",
        _summary(metrics),
        "## Scores\n\nUA is the unweighted average recall, its interval a 95 % bootstrap over speakers. The majority "
        "rate is the accuracy of always naming the most frequent class. Loudness only is a classifier that is given "
        "nothing but each clip's level as recorded.",
        _scores(metrics),
        _ccc(metrics),
        *(f"![{captions[name]}](figures/{name}.png)" for name in figures),
        _per_class(metrics["per_class"]),
        _per_speaker(metrics["per_speaker"]),
        _calibration(metrics["calibration"]),
        _wrong(metrics["worst_clips"]),
        _bad(metrics["bad_clips"]),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _summary(metrics: Mapping[str, Any]) -> str:
    folds = metrics["folds"]
    facts = [
        ("corpus", metrics["corpus"]),
        ("protocol", f"{metrics['protocol']}, {len(folds['run'])} of {folds['of']} folds"),
        ("clips tested", metrics["num_clips"]),
        ("speakers tested", metrics["num_speakers"]),
        ("seeds", f"{len(metrics['seeds'])} ({', '.join(str(seed) for seed in metrics['seeds'])})"),
        ("valence, arousal, dominance labels", metrics["ccc"]["label_source"] or "none"),
        ("configuration", metrics["config_hash"][:16]),
    ]
    partial = (
        ""
        if len(folds["run"]) == folds["of"]
        else ("\n\n**Only some folds were run: these are not the protocol's figures.**")
    )
    return markdown_table(("what", "value"), facts) + partial


def _scores(metrics: Mapping[str, Any]) -> str:
    loudness = metrics["baselines"]["loudness_only"]["scores"]
    rows = [
        (
            name,
            percent(entry["ua"]),
            interval(entry["ci95"]),
            percent(entry["accuracy"]),
            percent(entry["majority"]),
            percent(metrics["baselines"]["majority"][name]["ua"]),
            percent(loudness[name]["ua"] if loudness[name] else None),
        )
        for name, entry in metrics["scores"].items()
        if entry
    ]
    header = ("decision", "UA", "95 % interval", "accuracy", "majority rate", "UA of guessing", "UA, loudness only")
    return markdown_table(header, rows)


def _ccc(metrics: Mapping[str, Any]) -> str:
    ours, loud = metrics["ccc"], metrics["baselines"]["loudness_only"]["ccc"]
    if ours["label_source"] is None:
        return ""
    names = [name for name in ours if name != "label_source"]
    rows = [(name, decimal(ours[name]), decimal(metrics["pearson"][name]), decimal(loud[name])) for name in names]
    meaning = {
        "mapped": "The labels are mapped from the emotion categories; nobody rated these clips.",
        "rated": "The labels are ratings by people.",
    }[ours["label_source"]]
    return f"## Agreement with {ours['label_source']} labels\n\n{meaning}\n\n" + markdown_table(
        ("dimension", "CCC", "Pearson r", "CCC, loudness only"), rows
    )


def _per_class(classes: Mapping[str, Any]) -> str:
    if not classes:
        return ""
    rows = [(name, c["num_clips"], percent(c["recall"]), percent(c["precision"])) for name, c in classes.items()]
    return "## Emotions\n\n" + markdown_table(("emotion", "clips", "recall", "precision"), rows)


def _per_speaker(speakers: Mapping[str, Any]) -> str:
    rows = [
        (
            who,
            entry["sex"] or "unknown",
            entry["num_clips"],
            *(percent(entry[name]["ua"] if entry[name] else None) for name in ("emotion", "arousal", "valence")),
        )
        for who, entry in speakers.items()
    ]
    more = f"\n{len(rows) - _MAX_ROWS} more are in metrics.json.\n" if len(rows) > _MAX_ROWS else ""
    header = ("speaker", "sex", "clips", "emotion UA", "arousal UA", "valence UA")
    return "## Speakers\n\n" + markdown_table(header, rows[:_MAX_ROWS]) + more


def _calibration(found: Mapping[str, Any]) -> str:
    rows = [
        (name, percent(entry["ece"]), percent(entry["confidence"]), percent(entry["accuracy"]))
        for name, entry in found.items()
        if entry
    ]
    if not rows:
        return ""
    header = ("decision", "expected calibration error", "mean confidence", "accuracy")
    return "## Calibration\n\n" + markdown_table(header, rows)


def _wrong(clips: Sequence[Mapping[str, Any]]) -> str:
    if not clips:
        return ""
    rows = [(c["clip"], c["speaker"], c["emotion"], c["called"], percent(c["confidence"])) for c in clips]
    return "## Most confident mistakes\n\n" + markdown_table(("clip", "speaker", "is", "called", "confidence"), rows)


def _bad(clips: Mapping[str, str]) -> str:
    if not clips:
        return "## Clips that could not be used\n\nNone."
    rows = list(clips.items())
    return f"## Clips that could not be used: {len(rows)}\n\n" + markdown_table(("clip", "why"), rows[:_MAX_ROWS])
