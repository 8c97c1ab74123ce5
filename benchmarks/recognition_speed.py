"""How fast speech is recognised on the context there is, against faster-whisper.

    python -m benchmarks.recognition_speed --output FILE.json --faster-whisper PYTHON \
        --model whisper_tiny_en=MODEL_DIR --model whisper_base=MODEL_DIR [--librispeech-root DIR] [--quick]

Measures (the numbers are those of the targets):
  2  utterances of up to 6 s one by one, from a 16 kHz array in memory to the transcript: median latency of the exported
     int8 graphs against faster-whisper int8 with the published weights of the same model, and of float32 beside it
  3  all utterances at once: clips per second, against faster-whisper's batched pipeline at its best batch size. Beside
     it: the pipeline on the same speech packed into 30 s, as it packs one long recording, which gives no transcript of
     an utterance

Each model is named as in conf/recognizer; MODEL_DIR is written by `python -m pixel_mm.export target=recognizer
recognizer=NAME recognizer.network.context=short precisions=[float32,int8]`, or with run=RUN_DIR of
experiment=whisper_dynamic_context. PYTHON is that of an environment of its own with faster-whisper in it. Both sides
decode greedily on the same number of threads and take turns, so that whatever else the machine does meets both. What
the speed costs in words is measured by the benchmark of recognition's accuracy. About ten minutes on two cores; --quick
takes four utterances and one turn.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.recognition_peer import FasterWhisper, published_folder
from benchmarks.report import Measure, print_table, write_report
from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from pixel_mm.inference.batched_recognition import decode_many
from pixel_mm.inference.whisper_onnx import OnnxDecoder, Precision, load_tokenizer
from pixel_mm.models.speech_recognition.decoding import decode
from pixel_mm.whisper_tokens import WhisperTokenizer

SHORT_SECONDS = 6.0
BATCH_SIZES = (8, 16)
PACKED_SECONDS = 30.0
PRECISIONS: tuple[Precision, ...] = ("int8", "float32")
Clips = dict[str, Waveform]


@dataclass(frozen=True)
class Setting:
    """What is the same for all measures.

    Attributes:
        python: of the environment with faster-whisper.
        threads: of each side.
        turns: of each side.
    """

    python: Path
    threads: int
    turns: int


def latency(name: str, folder: Path, theirs: Path, clips: Clips, setting: Setting) -> list[Measure]:
    """Measure 2 of a model, on clips that are short enough."""
    tokenizer, measures = load_tokenizer(folder), []
    short = {key: clip for key, clip in clips.items() if clip.size <= SHORT_SECONDS * SAMPLE_RATE_HZ}
    for precision in PRECISIONS:
        ours = OnnxDecoder.load(folder, precision, setting.threads)
        times = np.zeros((2, setting.turns, len(short)))
        with FasterWhisper(setting.python, theirs, short, "int8", setting.threads) as peer:
            for turn in range(-1, setting.turns):  # turn -1 warms up
                for place, (key, clip) in enumerate(short.items()):
                    times[0, turn, place] = _seconds_of_one(ours, clip, tokenizer)
                    times[1, turn, place] = peer.one(key)[1]
        measures += latency_measures(name, precision, times, setting)
    return measures


def latency_measures(name: str, precision: str, times: np.ndarray, setting: Setting) -> list[Measure]:
    """Measure 2 from seconds [side, turn, utterance]: ours, theirs."""
    ours, theirs = np.median(times, axis=1)  # of an utterance
    rows = np.random.default_rng(0).integers(0, len(ours), (1000, len(ours)))
    ratios = np.median(theirs[rows], axis=1) / np.median(ours[rows], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    what = f"{name}, {len(ours)} utterances up to {SHORT_SECONDS:g} s, one by one, array to text, {_setting(setting)}"
    key, target = f"2-{name}-{precision}", ">= 4" if precision == "int8" else None
    return [
        Measure(f"{key}", f"speed-up of the median latency, {precision}: {what}",
                float(np.median(theirs) / np.median(ours)), "times", target, (float(low), float(high)),
                f"faster-whisper int8, {name} as published, greedy, 30 s padded"),
        Measure(f"{key}-median", f"median latency, {precision}: {what}", 1000 * float(np.median(ours)), "ms"),
        Measure(f"{key}-p95", f"95th percentile, {precision}: {what}", 1000 * float(np.percentile(ours, 95)), "ms"),
        Measure(f"{key}-faster-whisper", f"median latency of faster-whisper int8 in the same turns: {what}",
                1000 * float(np.median(theirs)), "ms"),
    ]  # fmt: skip


def throughput(name: str, folder: Path, theirs: Path, clips: Clips, setting: Setting) -> list[Measure]:
    """Measure 3 of a model, on all clips: the best batch size of each side."""
    tokenizer, waveforms, packs = load_tokenizer(folder), list(clips.values()), packed(clips)
    decoder = OnnxDecoder.load(folder, "int8", num_threads=1)  # whole batches run side by side in its place
    sides: dict[str, list[float]] = {}
    with FasterWhisper(setting.python, theirs, {**clips, **packs}, "int8", setting.threads) as peer:
        for turn in range(-1, setting.turns):
            for size in BATCH_SIZES:
                start = time.perf_counter()
                decode_many(decoder, waveforms, tokenizer, batch_size=size, num_workers=setting.threads)
                seconds = {
                    f"ours, {size}": time.perf_counter() - start,
                    f"theirs, {size}": peer.batch(list(clips), size)[1],
                    f"packed, {size}": peer.batch(list(packs), size)[1],
                }
                for side, each in seconds.items() if turn >= 0 else ():
                    sides.setdefault(side, []).append(each)
    return throughput_measures(name, sides, len(clips), setting)


def throughput_measures(name: str, sides: dict[str, list[float]], num_clips: int, setting: Setting) -> list[Measure]:
    """Measure 3 from the seconds of each turn, by side and batch size."""
    best = {
        kind: min((key for key in sides if key.startswith(kind)), key=lambda key: float(np.median(sides[key])))
        for kind in ("ours", "theirs", "packed")
    }
    ours, theirs, pack = (np.array(sides[best[kind]]) for kind in ("ours", "theirs", "packed"))
    what = f"{name}, int8, {num_clips} utterances, array to text, {_setting(setting)}"
    ratios, size = theirs / ours, {kind: key.split()[-1] for kind, key in best.items()}
    against = f"faster-whisper int8, BatchedInferencePipeline, an utterance a place, batch size {size['theirs']}"
    return [
        Measure(f"3-{name}", f"throughput over that of the batched pipeline, batches of {size['ours']}: {what}",
                float(np.median(theirs) / np.median(ours)), "times", ">= 2",
                (float(ratios.min()), float(ratios.max())), against),
        Measure(f"3-{name}-clips", f"clips per second: {what}", num_clips / float(np.median(ours)), "clips/s"),
        Measure(f"3-{name}-faster-whisper", f"clips per second of faster-whisper's batched pipeline: {what}",
                num_clips / float(np.median(theirs)), "clips/s"),
        Measure(f"3-{name}-packed", f"the same with utterances packed into 30 s, which tells none apart: {what}",
                num_clips / float(np.median(pack)), "clips/s"),
    ]  # fmt: skip


def packed(clips: Clips) -> Clips:
    """The same speech in as few pieces of up to 30 s as its order allows."""
    pieces: list[list[Waveform]] = [[]]
    for clip in clips.values():
        if sum(each.size for each in pieces[-1]) + clip.size > PACKED_SECONDS * SAMPLE_RATE_HZ:
            pieces.append([])
        pieces[-1].append(clip)
    return {f"packed {number}": np.concatenate(piece) for number, piece in enumerate(pieces) if piece}


def read_clips(root: Path, limit: int | None) -> Clips:
    """Utterances of LibriSpeech test-other by their names.

    Raises:
        ValueError: there are none below the folder.
    """
    paths = sorted((root / "test-other").rglob("*.flac"))[:limit]
    if not paths:
        raise ValueError(f"--librispeech-root: no test-other/**/*.flac below {root}")
    return {path.stem: read_audio(path).waveform for path in paths}


def _seconds_of_one(decoder: OnnxDecoder, clip: Waveform, tokenizer: WhisperTokenizer) -> float:
    start = time.perf_counter()
    tokenizer.decode(list(decode(decoder, [clip], tokenizer)[0].tokens))
    return time.perf_counter() - start


def _setting(setting: Setting) -> str:
    return f"CPU, {setting.threads} threads, {setting.turns} turns"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    data = os.environ.get("PIXEL_MM_DATA")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=DIR", help="see above")
    parser.add_argument("--faster-whisper", type=Path, required=True, help="Python of an environment that has it")
    parser.add_argument(
        "--librispeech-root", type=Path, default=Path(data or ".", "librispeech"), help="default: below PIXEL_MM_DATA"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5, help="of each side")
    parser.add_argument("--quick", action="store_true", help="four utterances, one turn; its numbers mean nothing")
    options = parser.parse_args(arguments)
    setting = Setting(options.faster_whisper, options.threads, 1 if options.quick else options.turns)
    clips = read_clips(options.librispeech_root, 4 if options.quick else None)
    measures = []
    for entry in options.model:
        name, _, folder = entry.partition("=")
        with tempfile.TemporaryDirectory() as scratch:
            theirs = published_folder(name, Path(scratch) / "model")
            measures += latency(name, Path(folder), theirs, clips, setting)
            measures += throughput(name, Path(folder), theirs, clips, setting)
    print_table(measures)
    write_report(options.output, "recognition_speed", measures, options.quick)


if __name__ == "__main__":
    main()
