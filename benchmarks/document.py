"""Makes docs/benchmarks.md from the committed results.

    make benchmark-docs
    python -m benchmarks.document [--results benchmarks/results] [--output docs/benchmarks.md]

The same results give the same document, byte for byte; a test holds the committed one to them.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixel_mm.reports.tables import MISSING, markdown_table
from pixel_mm.runs import atomic_path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"

# What a reader wants to know of a topic before its numbers, in the order of the document.
TOPICS: Mapping[str, tuple[str, str]] = {
    "emotion_accuracy": (
        "Emotion: accuracy",
        "Each speaker is tested by a model that has learnt nothing from that speaker, and no epoch or threshold is\n"
        "chosen by a test fold ([evaluation.md](evaluation.md)); the recipe itself was found on some of EmoDB's\n"
        "speakers ([decisions.md](decisions.md)). UA is the unweighted average recall, pooled over all folds; its\n"
        "interval is a 95 % bootstrap over speakers. Valence and arousal are decided from the emotion categories;\n"
        "labels called mapped were made from categories, nobody rated those clips ([labels.md](labels.md)).",
    ),
    "emotion_speed": (
        "Emotion: speed and padding",
        "Our side and the one that it is compared with take turns in one run, on the same threads. The intervals of\n"
        "speed-ups are over turns.",
    ),
    "recognition_accuracy": (
        "Speech recognition: accuracy",
        "LibriSpeech test-other, greedy, texts compared by Whisper's basic normaliser. Both contexts have\n"
        "published weights; short context was chosen on unlabelled clips of other speakers\n"
        "([recognition.md](recognition.md)). Intervals are bootstrapped over speakers, drawn for both sides alike.",
    ),
    "recognition_padding": (
        "Speech recognition: padded as faster-whisper pads",
        "Whisper was trained on audio padded with silence; faster-whisper pads the log-mel spectrogram with zeros.\n"
        "Measure 1 above compares the two as they are; here the network gets the same zeros, and nothing else changes.",
    ),
    "recognition_speed": (
        "Speech recognition: speed",
        "LibriSpeech test-other on the context there is, against faster-whisper with the published weights of the\n"
        "same model, which pads each utterance to 30 s. Both decode greedily on the same threads and take turns.\n"
        "Intervals of latency are bootstrapped over utterances, those of throughput are a turn's smallest and largest.",
    ),
    "recognition_times": (
        "Speech recognition: when words were said",
        "Clips of LibriSpeech test-other, cut in their pauses and joined at known samples, with 0 to 0.8 s between\n"
        "them. The timing was tuned on recordings of other speakers, made the same way. An edge beside which other\n"
        "words are heard than in the phrases alone is left out; how many are not is the last row. Intervals are\n"
        "bootstrapped over recordings.",
    ),
    "fusion_training": (
        "Fusion: training",
        "Steps are forward, backward and optimiser on batches of the fusion recipe, whose encoders' frames are kept.\n"
        "As in training, the whole model holds the encoders beside them (79 MiB), the upper layers alone don't.\n"
        "Memory is resident memory in the steps, above a process that has loaded its libraries alone, and what is\n"
        "planned is `plan=true` without the allowance for a GPU ([training.md](training.md)).",
    ),
    "fusion_quality": (
        "Fusion: what hearing is worth",
        "Constructed pairs of EmoDB voices and EmoBank sentences, which nobody spoke or rated as a whole\n"
        "([fusion_data.md](fusion_data.md)). Each speaker is tested by models that have learnt nothing from that\n"
        "speaker, the emotion model that is heard with included, and no test sentence was learnt from. Intervals are\n"
        "a 95 % bootstrap over speakers of all folds together; gains are on the same draws for both sides.",
    ),
    "export_serving": (
        "Export and serving",
        "The real tritonserver from wheels, whose onnxruntime backend is a stand-in for the C++ one\n"
        "([serving.md](serving.md)), on a CPU. Both sides take turns on the same threads; the load generator runs on\n"
        "the same machine. A spread is the smallest and largest of a turn.",
    ),
}
_INTRODUCTION = """# Benchmarks

Made by `make benchmark-docs` from `benchmarks/results/*.json`; edits belong there, or into `benchmarks/document.py`.
`python -m benchmarks.TOPIC --help` says what a benchmark measures, how long it takes and what it needs;
`--output FILE.json` runs it, with `--quick` as a smoke test. The number that an id begins with is that of the target
in the list it came from.
"""


class DocumentError(ValueError):
    """Results that no document may be made from; the message names the file."""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Every result of a folder, topics in the document's order, then by name.

    Args:
        folder: holds what benchmarks wrote, `*.json`.

    Raises:
        DocumentError: a smoke run, or a file that no benchmark wrote.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(result, dict) or not {"topic", "measures", "machine"} <= result.keys():
            raise DocumentError(f"{path} was written by no benchmark: it lacks topic, measures or machine")
        if result.get("quick"):
            raise DocumentError(f"{path} is of a smoke run (--quick), whose numbers mean nothing; remove it")
        found.append(result)
    order = list(TOPICS)
    return sorted(found, key=lambda r: (order.index(r["topic"]) if r["topic"] in TOPICS else len(order), r["topic"]))


def make_document(results: Sequence[Mapping[str, Any]]) -> str:
    """The document's text, Markdown."""
    parts = [_INTRODUCTION]
    if not results:
        parts.append("No results have been committed yet.\n")
    return "\n".join([*parts, *(_section(result) for result in results)])


def _section(result: Mapping[str, Any]) -> str:
    title, text = TOPICS.get(result["topic"], (result["topic"].replace("_", " ").capitalize(), ""))
    measures = result["measures"]
    judged = [measure for measure in measures if measure["target"] is not None]
    parts = [f"## {title}\n", f"{text}\n" if text else "", _machine(result)]
    if judged:
        header = ("id", "measured", "value", "95 % interval or spread", "target", "reached")
        rows = [
            (m["id"], m["what"], _value(m), _interval(m), m["target"], "yes" if m["reached"] else "**no**")
            for m in judged
        ]
        parts.append(_table(header, rows))
    if beside := [measure for measure in measures if measure["target"] is None]:
        others = [(m["id"], m["what"], _value(m), _interval(m)) for m in beside]
        parts.append(("Beside them:\n\n" if judged else "") + _table(("id", "measured", "value", "interval"), others))
    if compared := [(m["id"], m["against"]) for m in measures if m["against"]]:
        parts.append("Compared with:\n\n" + "".join(f"- {name}: {against}\n" for name, against in compared))
    return "\n".join(part for part in parts if part)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first two columns are text."""
    lines = markdown_table(header, rows).splitlines()
    lines[1] = lines[1].replace("| ---: |", "| --- |", 1)
    return "\n".join(lines) + "\n"


def _machine(result: Mapping[str, Any]) -> str:
    """Command, commit, day, machine and versions."""
    machine, versions = result["machine"], result["versions"]
    commit, _, dirty = str(result["commit"] or "unknown").partition("-")
    shown = ("python", "torch", "transformers", "onnxruntime", "pytorch-lightning")
    facts = [
        f"commit {commit[:12]}{' with changes' if dirty else ''} of {result['date'][:10]}",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB",
        ", ".join(machine["gpus"]) or "no GPU",
        machine["system"],
        ", ".join(f"{name} {versions[name]}" for name in shown if name in versions),
    ]
    return f"```\n{result['command']}\n```\n\nRun at {'; '.join(facts)}.\n"


def _value(measure: Mapping[str, Any]) -> str:
    return MISSING if measure["value"] is None else f"{_number(measure['value'])} {measure['unit']}"


def _interval(measure: Mapping[str, Any]) -> str:
    limits = measure["interval"]
    return MISSING if limits is None else f"{_number(limits[0])} to {_number(limits[1])}"


def _number(value: float) -> str:
    """One decimal from ten on, three significant digits below."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="Markdown file to write")
    options = parser.parse_args(arguments)
    text = make_document(read_results(options.results))
    with atomic_path(options.output) as aside:
        aside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
