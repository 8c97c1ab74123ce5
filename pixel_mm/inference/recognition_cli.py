"""The command line of `pixel_mm.inference.speech_recognition`: text, JSON or subtitles for files, or for a stream."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import MAX_CHANNELS, SAMPLE_RATE_HZ, AudioError
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.transcript import Transcript, to_srt, to_vtt
from pixel_mm.models.speech_recognition.decoding import DecodingOptions

FAILED_FILES = 1
USER_ERROR = 2

# Subtitles are short; more context makes fewer errors.
_WINDOW_SECONDS, _SUBTITLE_SECONDS = 28.0, 8.0
_SUBTITLES = {"srt": to_srt, "vtt": to_vtt}
_RAW_BYTES = 1 << 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Transcribe the files named on the command line, or standard input.

    Returns:
        0 when all files were transcribed, `FAILED_FILES` when some were not, `USER_ERROR` without a usable model.
    """
    options = _parse(arguments)
    subtitles = options.format in ("srt", "vtt")
    if mistake := _mistake(options):
        print(f"error: {mistake}", file=sys.stderr)
        return USER_ERROR
    try:
        recognizer = SpeechRecognizer.load(
            options.model,
            options.backend,
            options.precision,
            options.threads,
            DecodingOptions(
                language=None if options.language == "auto" else options.language,
                task="translate" if options.translate else "transcribe",
                beam_size=options.beam_size,
                hot_words=tuple(options.hot_word),
            ),
            options.window_seconds or (_SUBTITLE_SECONDS if subtitles else _WINDOW_SECONDS),
            options.words,
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    if options.stream:
        return _stream(recognizer, options)
    found = list(recognizer.files(options.files))
    _print(found, options.format)
    failures = [result for _, result in found if isinstance(result, AudioError)]
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return FAILED_FILES if failures else 0


def _mistake(options: argparse.Namespace) -> str | None:
    """What is wrong with the options together."""
    if options.stream == bool(options.files):
        return "give FILES, or --stream to read standard input; not both"
    if options.format in ("srt", "vtt") and len(options.files) > 1:
        return f"--{options.format} takes one file; it was given {len(options.files)}"
    if options.words and options.format != "json":
        return "--words needs --json, which has room for them"
    if not 1 <= options.channels <= MAX_CHANNELS:
        return f"--channels is {options.channels}; it is 1 to {MAX_CHANNELS}"
    return None


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pixel_mm.inference.speech_recognition", description="Write down what is said."
    )
    parser.add_argument(
        "model",
        metavar="MODEL_DIR",
        help="what python -m pixel_mm.export target=recognizer or target=ctc wrote; or see --backend",
    )
    parser.add_argument("files", type=Path, nargs="*", metavar="FILES", help="audio files of any length")
    parser.add_argument(
        "--stream",
        action="store_true",
        help="transcribe raw 16-bit PCM (little-endian) from standard input as it comes",
    )
    parser.add_argument("--sample-rate", type=float, default=SAMPLE_RATE_HZ, help="of --stream, Hz (default: 16000)")
    parser.add_argument("--channels", type=int, default=1, help="of --stream, interleaved (default: 1)")
    formats = parser.add_mutually_exclusive_group()
    for name, what in (("json", "JSON with segments"), ("srt", "SubRip subtitles"), ("vtt", "WebVTT subtitles")):
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"{what} on stdout")
    parser.add_argument("--language", default="en", help="ISO 639-1 code, or auto to find it (default: en)")
    parser.add_argument("--translate", action="store_true", help="into English")
    parser.add_argument("--beam-size", type=int, default=1, help="transcripts followed at a time (default: 1)")
    parser.add_argument("--hot-word", action="append", default=[], help="word or phrase to expect; may be repeated")
    parser.add_argument("--words", action="store_true", help="times and confidence of each word, in JSON")
    parser.add_argument("--backend", choices=("onnx", "torch", "faster-whisper"), help="default: by what MODEL_DIR is")
    parser.add_argument("--precision", choices=("float32", "float16", "int8"), default="float32")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (default: all cores)")
    parser.add_argument("--window-seconds", type=float, help="longest segment, 8 to 30 (default: 28; subtitles: 8)")
    return parser.parse_intermixed_args(arguments)  # FILES may come behind options, though there may be none


def _stream(recognizer: SpeechRecognizer, options: argparse.Namespace) -> int:
    """Transcribe standard input, and write what is known as soon as it is."""
    written = ""
    # Ctrl-C ends the program that records, too: what it has sent is still written. A second one ends this program.
    before = signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        for partial in recognizer.stream(_raw_chunks(options.channels), options.sample_rate):
            if options.format == "json":
                whole = {"transcript": _fields(partial.transcript)} if partial.transcript else {}
                known = {"text": partial.text, "tentative": partial.tentative, "heard_seconds": partial.heard_seconds}
                print(json.dumps({**known, **whole}, ensure_ascii=False), flush=True)
            elif options.format is None:
                print(partial.text[len(written) :], end="\n" if partial.transcript else "", flush=True)
                written = partial.text
            elif partial.transcript:
                print(_SUBTITLES[options.format](partial.transcript.segments), end="")
    except AudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _raw_chunks(num_channels: int) -> Iterator[NDArray[np.int16]]:
    """What standard input has, [channels, samples], as soon as it is there; half a sample at its end is left out."""
    source = cast(BufferedReader, sys.stdin.buffer)
    size, rest = 2 * num_channels, b""
    while data := source.read1(_RAW_BYTES):
        data = rest + data
        whole = len(data) // size * size
        yield np.frombuffer(data[:whole], dtype="<i2").reshape(-1, num_channels).T
        rest = data[whole:]


def _print(found: Sequence[tuple[Path, Transcript | AudioError]], format_name: str | None) -> None:
    if format_name == "json":
        print(json.dumps({"files": [_result(*each) for each in found]}, indent=2, ensure_ascii=False))
        return
    for path, transcript in found:
        if isinstance(transcript, AudioError):
            continue
        if format_name is None:
            print(f"{path}: {transcript.text}" if len(found) > 1 else transcript.text)
        else:
            print(_SUBTITLES[format_name](transcript.segments), end="")


def _result(path: Path, found: Transcript | AudioError) -> dict[str, Any]:
    if isinstance(found, AudioError):
        return {"file": str(path), "error": str(found)}
    return {"file": str(path), **_fields(found)}


def _fields(found: Transcript) -> dict[str, Any]:
    return {"text": found.text, "confidence": found.confidence, **asdict(found)}
