"""Report of a recognition evaluation: `metrics.json` and `report.md`, with the worst utterances word under word."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixel_mm.reports.aligned_texts import aligned_texts
from pixel_mm.reports.tables import MISSING, decimal, interval, markdown_table, percent
from pixel_mm.runs import atomic_path, write_json

_MAX_SPEAKERS = 60  # of the table; metrics.json has them all
_MAX_NAMED = 20
_UNITS = {"word": "words (WER)", "character": "characters (CER)"}


def write_recognition_report(folder: Path, metrics: Mapping[str, Any], model: str, corpus: str) -> None:
    """Write the report into a folder.

    Args:
        folder: gets `metrics.json` and `report.md`.
        metrics: what `evaluation.recognition.measure` gave, and `bad_clips`.
        model: name of the model.
        corpus: title of the corpus whose clips it heard.
    """
    write_json(folder / "metrics.json", {"model": model, "corpus": corpus, **metrics})
    with atomic_path(folder / "report.md") as aside:
        aside.write_text(_text(metrics, model, corpus), encoding="utf-8")


def _text(metrics: Mapping[str, Any], model: str, corpus: str) -> str:
    parts = [
        f"# {model} on {corpus}",
        f"{metrics['num_clips']} clips of {metrics['num_speakers']} speakers, {metrics['seconds'] / 60:.1f} minutes; "
        f"texts compared by the {metrics['normaliser']} normaliser. Intervals (95 %) are over speakers.",
        _rates(metrics),
        _batch(metrics["batch"]),
        "## By length",
        _lengths(metrics),
        "## Where the time goes",
        _components(metrics["components"]),
        "## By speaker",
        _speakers(metrics),
        "## Worst utterances",
        _suspect(metrics["suspect"]),
        _worst(metrics),
        *_bad(metrics["bad_clips"]),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _rates(metrics: Mapping[str, Any]) -> str:
    rows = [
        (
            _UNITS[unit],
            percent(entry["rate"]),
            interval(entry["ci95"]),
            *(entry[key] for key in ("substitutions", "deletions", "insertions", "references")),
        )
        for unit, entry in metrics["scores"].items()
    ]
    return markdown_table(("", "error rate", "95 %", "substituted", "deleted", "inserted", "said"), rows)


def _lengths(metrics: Mapping[str, Any]) -> str:
    rows = [
        (_span(part), part["num_clips"], percent(part["rate"]), interval(part["ci95"]), *_speed_cells(part["speed"]))
        for part in metrics["by_length"]
    ]
    all_clips = metrics["scores"]["word"]
    rows.append(
        (
            "all",
            metrics["num_clips"],
            percent(all_clips["rate"]),
            interval(all_clips["ci95"]),
            *_speed_cells(metrics["speed"]),
        )
    )
    header = ("length", "clips", "WER", "95 %", "latency p50 (s)", "p95 (s)", "p99 (s)", "real-time factor")
    return markdown_table(header, rows)


def _span(part: Mapping[str, Any]) -> str:
    if part["up_to_seconds"] is None:
        return f"over {part['above_seconds']:g} s"
    return f"up to {part['up_to_seconds']:g} s"


def _speed_cells(speed: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Latency percentiles and real-time factor, of clips recognised alone."""
    if speed is None:
        return (MISSING,) * 4
    latency = (decimal(speed["latency"][name]) for name in ("p50", "p95", "p99"))
    return (*latency, decimal(speed["real_time_factor"]))


def _speakers(metrics: Mapping[str, Any]) -> str:
    """The speakers understood worst first; those who say nothing last."""

    def order(item: tuple[str, Mapping[str, Any]]) -> float:
        rate = item[1]["rate"]
        return 1.0 if rate is None else -rate  # a rate is never below 0

    entries = sorted(metrics["per_speaker"].items(), key=order)
    rows = [
        (name, entry["num_clips"], entry["references"], percent(entry["rate"]))
        for name, entry in entries[:_MAX_SPEAKERS]
    ]
    table = markdown_table(("speaker", "clips", "words", "WER"), rows)
    left_out = len(entries) - len(rows)
    return f"{table}\n{left_out} more speakers are in metrics.json." if left_out else table


def _worst(metrics: Mapping[str, Any]) -> str:
    """The listing; a rate near 100 % of one utterance among good ones is often a transcript of another clip."""
    if not metrics["worst"]:
        return "No utterance has an error."
    parts = [
        "S: heard as another word, D: missing, I: nobody said it. Look first whether the transcript is the clip's."
    ]
    for each in metrics["worst"]:
        rate = "nothing was said" if each["rate"] is None else percent(each["rate"])
        parts.append(
            f"### {each['clip']}\n\nSpeaker {each['speaker']}, {each['seconds']:.1f} s, "
            f"{each['errors']} errors ({rate})\n\n"
            f"```text\n{aligned_texts(each['reference'], each['hypothesis'])}\n```"
        )
    return "\n\n".join(parts)


def _batch(batch: Mapping[str, Any]) -> str:
    different = batch["different"]
    if not different:
        return (
            f"In batches of {batch['size']}, each of {batch['num_clips']} clips has the transcript that it has alone."
        )
    return (
        f"**In batches of {batch['size']}, {len(different)} of {batch['num_clips']} clips have another transcript than "
        f"alone**: {', '.join(different[:_MAX_NAMED])}."
    )


def _components(components: Mapping[str, float] | None) -> str:
    if components is None:
        return "This engine cannot be taken apart."
    rows = [(name, f"{value:.4f}") for name, value in components.items()]
    return markdown_table(("part", "seconds of work for a second of audio"), rows)


def _suspect(clips: Sequence[str]) -> str:
    if not clips:
        return "No clip is understood so badly that its transcript may be another clip's."
    return f"Perhaps the transcript of another clip: {', '.join(clips[:_MAX_NAMED])} ({len(clips)} in all)."


def _bad(clips: Mapping[str, str]) -> list[str]:
    if not clips:
        return []
    return ["## Clips that could not be used", "\n".join(f"- {name}: {reason}" for name, reason in clips.items())]
