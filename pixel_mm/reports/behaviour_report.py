"""Report of a behaviour suite: `behaviour.json` and `report.md`, a table of checks with their numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixel_mm.reports.tables import decimal, markdown_table
from pixel_mm.runs import atomic_path, write_json

_OUTCOME = {True: "pass", False: "FAIL", None: "not tested"}


def write_behaviour_report(folder: Path, findings: Mapping[str, Any], model: str, corpus: str) -> None:
    """Write the report into a folder.

    Args:
        folder: gets `behaviour.json` and `report.md`.
        findings: what `evaluation.behaviours.run_suite` gave.
        model: name of the model.
        corpus: title of the corpus whose clips it heard.
    """
    write_json(folder / "behaviour.json", {"model": model, "corpus": corpus, **findings})
    with atomic_path(folder / "report.md") as aside:
        aside.write_text(_text(findings, model, corpus), encoding="utf-8")


def _text(findings: Mapping[str, Any], model: str, corpus: str) -> str:
    checks = findings["checks"]
    outcomes = [check["passed"] for check in checks]
    parts = [
        f"# Behaviour of {model} on {corpus}",
        f"{outcomes.count(True)} checks passed, {outcomes.count(False)} failed, {outcomes.count(None)} not tested, on "
        f"{findings['num_clips']} clips of {findings['num_speakers']} speakers "
        f"({len(findings['bad_clips'])} could not be used). Labels: {findings['label_source'] or 'no ratings'}.",
        "Correctness says something about speakers the model has not learnt from, and nothing about those it has.",
    ]
    for kind in dict.fromkeys(check["kind"] for check in checks):
        rows = [
            (
                check["name"],
                decimal(check["value"]),
                f"{check['sense']} {decimal(check['limit'])}",
                _OUTCOME[check["passed"]],
            )
            for check in checks
            if check["kind"] == kind
        ]
        parts += [f"## {kind.capitalize()}", markdown_table(("check", "measured", "wanted", "outcome"), rows)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
