"""Report of a fusion evaluation: `metrics.json`, `report.md` and figures. What was not measured is said so."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pixel_mm.reports.figures import save_figure
from pixel_mm.reports.fusion_figures import agreement_figure, risk_coverage_figure
from pixel_mm.reports.tables import MISSING, decimal, markdown_table, percent
from pixel_mm.runs import atomic_path, write_json

_NOT_MEASURED = "Not measured in this run."


def write_fusion_report(
    folder: Path,
    metrics: Mapping[str, Any],
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    pictures: Mapping[str, Figure],
) -> None:
    """Write the report into a folder.

    Args:
        folder: gets `metrics.json`, `report.md` and `figures/`.
        metrics: what `evaluation.fusion` measured; sections that are missing are named in the report.
        curves: by source of the confidence, coverage and risk.
        pictures: further figures by title, such as attention and gates.
    """
    write_json(folder / "metrics.json", dict(metrics))
    figures: dict[str, Figure] = {}
    if metrics.get("scores"):
        figures["Agreement by what is given"] = agreement_figure(metrics["scores"], _labels(metrics))
    if curves:
        figures["Confidence"] = risk_coverage_figure(curves, metrics["confidence"], _labels(metrics))
    names = {title: f"figures/{_file_name(title)}.png" for title in (*figures, *pictures)}
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for title, figure in {**figures, **pictures}.items():
        save_figure(figure, folder / names[title])
    with atomic_path(folder / "report.md") as aside:
        aside.write_text(_text(metrics, names), encoding="utf-8")


def _labels(metrics: Mapping[str, Any]) -> str:
    return (
        f"{metrics['num_rows']} test rows of {metrics['num_speakers']} speakers, "
        f"{metrics['label_source'] or 'no'} labels"
    )


def _text(metrics: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    parts = [
        f"# Fusion: {metrics['model']}",
        f"{_labels(metrics)}. Neither speakers nor sentences were learnt from. Intervals (95 %) are over speakers.",
        "## Agreement by what is given",
        _section(metrics, "scores", _agreement),
        "## Gain of what is fused",
        _section(metrics, "gains", _gains),
        "## Masked distress",
        _section(metrics, "masked_distress", _distress),
        "## Loss of answers",
        _section(metrics, "response_loss", _response),
        "## Confidence",
        _section(metrics, "confidence", _confidence),
        "## Scores of danger and hate",
        "Read by heads that were trained for it, on texts that they have not learnt from; alarms at 0.5 and above.",
        _section(metrics, "heads", _heads),
        "## Harm: before and after",
        "Before is the bare language model, asked in words. A model that harms nothing says the same after.",
        *(_alarms(metrics, name, title) for name, title in (("hatecheck", "HateCheck"), ("crisis", "Crisis suite"))),
        "### CrowS-Pairs",
        _section(metrics, "crows_pairs", _stereotypes),
        *(f"![{title}]({file})" for title, file in pictures.items()),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _section(metrics: Mapping[str, Any], name: str, write: Any) -> str:
    return str(write(metrics[name])) if metrics.get(name) else _NOT_MEASURED


def _agreement(scores: Mapping[str, Any]) -> str:
    rows = [
        (score, variant, decimal(entry["ccc"]), _limits(entry["ci95"]), decimal(entry["pearson"]))
        for score, entries in scores.items()
        for variant, entry in entries.items()
    ]
    return markdown_table(("score", "given", "CCC", "95 %", "Pearson"), rows)


def _gains(gains: Mapping[str, Any]) -> str:
    rows = [
        (score, variant, decimal(entry["difference"]), _limits(entry["ci95"]))
        for score, entries in gains.items()
        for variant, entry in entries.items()
    ]
    return markdown_table(("score", "fused above", "difference of CCC", "95 %"), rows)


def _distress(found: Mapping[str, Any]) -> str:
    groups = list(dict.fromkeys(group for entries in found.values() for group in entries))
    rows = [
        (variant, *(percent(entries[group]["accuracy"]) if group in entries else MISSING for group in groups))
        for variant, entries in found.items()
    ]
    table = markdown_table(("given", *groups), rows)
    return f"Share of rows in which distress was told from its absence; the voice decides.\n\n{table}"


def _response(found: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            decimal(entry["loss"]),
            decimal(entry.get("above_right")),
            _limits(entry.get("ci95")),
        )
        for name, entry in found.items()
    ]
    return markdown_table(("voice", "nats per token", "above the right voice's", "95 %"), rows)


def _confidence(found: Mapping[str, Any]) -> str:
    rows = [
        (
            source,
            entry["num_rows"],
            percent(entry["accuracy"]),
            percent(entry["confidence"]),
            percent(entry["ece"]),
            decimal(entry["aurc"]),
            decimal(entry["excess_aurc"]),
        )
        for source, entry in found.items()
    ]
    header = ("read from", "rows", "right", "confidence", "calibration error", "risk-coverage area", "above the best")
    return markdown_table(header, rows)


def _alarms(metrics: Mapping[str, Any], name: str, title: str) -> str:
    found = metrics.get(name)
    if not found:
        return f"### {title}\n\n{_NOT_MEASURED}"
    rows = [
        (state, percent(entry["recall"]), percent(entry["false_alarms"]), decimal(entry.get("largest_change"), 4))
        for state, entry in found.items()
    ]
    groups = list(dict.fromkeys(group for entry in found.values() for group in entry["groups"]))
    by_group = [(group, *(percent(_group(entry, group)) for entry in found.values())) for group in groups]
    return (
        f"### {title}\n\n{markdown_table(('', 'recall', 'false alarms', 'largest change'), rows)}\n"
        f"{markdown_table(('alarmed, of', *found), by_group)}"
    )


def _heads(found: Mapping[str, Any]) -> str:
    rows, groups = [], []
    for name, entries in found.items():
        for given, entry in entries.items():
            shown = ("recall", "false_alarms")
            rows.append(
                (name, given, *(t for key in shown for t in (percent(entry[key]), _shares(entry[f"{key}_ci95"]))))
            )
            groups += [
                (name, given, group, share["num_rows"], percent(share["alarmed"]), _shares(share["ci95"]))
                for group, share in entry["groups"].items()
            ]
    header = ("texts", "given", "recall", "95 %", "false alarms", "95 %")
    of_groups = ("texts", "given", "group", "rows", "alarmed", "95 %")
    return f"{markdown_table(header, rows)}\n{markdown_table(of_groups, groups)}"


def _shares(limits: Sequence[float] | None) -> str:
    return MISSING if limits is None else f"{percent(limits[0])} to {percent(limits[1])}"


def _group(entry: Mapping[str, Any], group: str) -> float | None:
    share: float | None = entry["groups"].get(group, {}).get("alarmed")
    return share


def _stereotypes(found: Mapping[str, Any]) -> str:
    kinds = list(dict.fromkeys(kind for entries in found.values() for kind in entries))
    rows = [
        (kind, *(percent(entries[kind]["rate"]) if kind in entries else MISSING for entries in found.values()))
        for kind in kinds
    ]
    table = markdown_table(("the sentence with more of a stereotype is likelier", *found), rows)
    return f"Even-handed is 50 %.\n\n{table}"


def _limits(limits: Sequence[float] | None) -> str:
    """Limits of what is no share, such as a CCC."""
    return MISSING if limits is None else f"{limits[0]:.3f} to {limits[1]:.3f}"


def _file_name(title: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in title.lower())
