"""The command line of `pixel_mm.inference.audio_emotion_recognition`: a table or JSON for a list of files."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixel_mm.audio import AudioError
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer, EmotionEstimate
from pixel_mm.inference.triton_errors import TritonClientError
from pixel_mm.model_folder import ModelFolderError, ModelSpec

FAILED_FILES = 1
USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the files named on the command line.

    Returns:
        0 when all files were scored, `FAILED_FILES` when some were not, `USER_ERROR` without a usable model.
    """
    options = _parse(arguments)
    try:
        recognizer = _recognizer(options.model, options.threads)
        results = [
            _result(path, found)
            for path, found in recognizer.score_files(options.files, options.window_seconds, options.overlap_seconds)
        ]
    except (ModelFolderError, TritonClientError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    if options.json:
        print(json.dumps({"model": _model(recognizer.spec), "files": results}, indent=2, ensure_ascii=False))
    else:
        _print_table(recognizer.spec, results)
    errors = [result["error"] for result in results if "error" in result]
    for message in errors:
        print(f"error: {message}", file=sys.stderr)
    return FAILED_FILES if errors else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pixel_mm.inference.audio_emotion_recognition",
        description="Score how speech sounds: valence, arousal, dominance (0..1) and emotion.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL_DIR",
        help="what python -m pixel_mm.export wrote, or a server's model: grpc://HOST:PORT/MODEL",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILES", help="audio files of any length")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (default: all cores)")
    parser.add_argument("--window-seconds", type=float, default=5.0, help="of the timeline of files over 30 s")
    parser.add_argument("--overlap-seconds", type=float, default=2.5, help="that neighbouring windows share")
    return parser.parse_args(arguments)


def _recognizer(model: str, num_threads: int) -> AudioEmotionRecognizer:
    if "://" not in model:
        return AudioEmotionRecognizer.load(model, num_threads)
    try:
        from pixel_mm.inference.triton_recognizer import connect_address  # here, since most callers have no server
    except ModuleNotFoundError as error:
        raise ValueError(f"{model} needs the client of Triton ({error}); run: pip install 'pixel_mm[triton]'") from None
    return connect_address(model)


def _model(spec: ModelSpec) -> dict[str, Any]:
    """What the scores rest on, which goes wherever they go."""
    origin = spec.provenance
    return {
        "name": spec.name,
        "corpus": origin.corpus,
        "synthetic": origin.synthetic,
        "label_source": origin.label_source,
        "commit": origin.commit,
    }


def _result(path: Path, found: Sequence[EmotionEstimate] | AudioError) -> dict[str, Any]:
    """A file's entry; a long file's scores are the means of its windows, which follow as `timeline`."""
    if isinstance(found, AudioError):
        return {"file": str(path), "error": str(found)}
    emotions = _mean([estimate.emotions for estimate in found])
    result: dict[str, Any] = {
        "file": str(path),
        "duration_seconds": found[-1].end_seconds,
        "scores": _mean([estimate.scores for estimate in found]),
        "emotion": max(emotions, key=lambda name: emotions[name]) if emotions else None,
        "emotions": emotions,
    }
    if found[0].model_version is not None:
        result["model_version"] = found[0].model_version
    if len(found) > 1:
        result["timeline"] = [
            {
                "start_seconds": estimate.start_seconds,
                "end_seconds": estimate.end_seconds,
                "scores": _mean([estimate.scores]),
                "emotion": estimate.emotion,
            }
            for estimate in found
        ]
    return result


def _mean(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(sum(value[name] for value in values) / len(values), 6) for name in values[0]}


def _print_table(spec: ModelSpec, results: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console  # here, so that --json needs no rich
    from rich.markup import escape
    from rich.table import Table

    dimensions = [tensor.name for tensor in spec.outputs if not tensor.labels]
    origin = spec.provenance
    speech = "synthetic speech" if origin.synthetic else "speech"
    table = Table(title=f"{spec.name}: learnt from {origin.corpus} ({speech}, {origin.label_source} labels)")
    for column in ("file", "seconds", *dimensions, "emotion"):
        table.add_column(column, justify="left" if column in ("file", "emotion") else "right", overflow="fold")
    for result in (result for result in results if "error" not in result):
        for row in (result, *result.get("timeline", ())):
            whole = row is result
            seconds = (
                f"{row['duration_seconds']:.2f}" if whole else f"{row['start_seconds']:.1f}-{row['end_seconds']:.1f}"
            )
            scores = [f"{row['scores'][name]:.3f}" for name in dimensions]
            table.add_row(escape(result["file"]) if whole else "", seconds, *scores, row["emotion"] or "")
    Console().print(table)
