"""What export costs, and how fast a Triton server gives back what it made.

    python -m benchmarks.export_serving --output FILE.json --run RUN_DIR [--quick]

Measures (the numbers are those of the targets):
  1  throughput of the real tritonserver with 8 concurrent clients of 3 s clips, as a share of in-process onnxruntime in
     batches of 8: same file, same threads, in turns. Load from Triton's perf_analyzer, over gRPC
  2  throughput with 16 clients of 1 to 8 s clips: dynamic batching of clips padded to length buckets, against request
     by request at the clips' own lengths; and how far the scores are from those one by one
  3  int8 against fp32, one 3 s clip, onnxruntime; and what int8 costs in UA and CCC on the run's test clips
  4  time and memory of exporting the run in all formats that a processor makes, parity and publishing included

RUN_DIR is a run of Whisper base that pixel_mm.train wrote, e.g. with `experiment=emotion`; its corpus must be where
the run read it. The server comes from wheels (docs/serving.md), its onnxruntime backend is the stand-in for the C++
one. Takes about 20 minutes on two cores and 6 GiB; --quick trains a toy and takes about three.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.report import Measure, print_table, write_report
from benchmarks.served_model import Load, generate_load, write_repository, write_requests
from pixel_mm.exporters.onnx import OnnxModel
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import SERVED_AS, TritonOptions
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.inference.triton_recognizer import connect_recognizer
from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.server import TritonServer

RATE_HZ = 16_000
CLIP_SECONDS = 3.0
CLIENTS, MIXED_CLIENTS = 8, 16
FORMATS = ("onnx", "torchscript", "onnx_fp16", "onnx_bf16", "onnx_int8", "onnx_int8_dynamic")
MEASURED_CLIPS = 1000  # all test clips of the run: one clip of 64 is worth more than the point that is judged
INT8_FILES = ("model.int8.onnx", "model.int8_dynamic.onnx")
TOY = (
    "experiment=quickstart",
    "encoder=whisper_micro_random",
    "data.corpus.clips=40",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
)
# A toy's random weights lose more by int8 than a trained network may.
TOY_EXPORT = tuple(f"formats.{name}.{what}=1" for name in FORMATS[4:] for what in ("tolerance", "metric_tolerance"))
SEED = 5


def options(threads: int) -> TritonOptions:
    """How the server serves: as the export sets it up, but that a batch of all clients waits for nobody else."""
    return TritonOptions(instance_kind="cpu", threads=threads, preferred_batch_sizes=(CLIENTS, MIXED_CLIENTS))


def speech_like(seconds: Sequence[float]) -> list[np.ndarray]:
    """Noise with the level of prepared speech, float32 [T] each."""
    generator = np.random.default_rng(SEED)
    return [generator.normal(0, 0.05, round(s * RATE_HZ)).astype(np.float32) for s in seconds]


def in_turns(sides: Mapping[str, Callable[[], float]], turns: int) -> dict[str, np.ndarray]:
    """Clips per second of each side, one after the other in every turn, so that whatever else runs meets all."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            speed = side()
            if turn:  # the first warms up
                found[name].append(speed)
    return {name: np.array(speeds) for name, speeds in found.items()}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Ratio of the medians, and smallest and largest ratio of a turn."""
    turns = ours / theirs
    return float(np.median(ours) / np.median(theirs)), (float(turns.min()), float(turns.max()))


def server_speed(folder: ModelFolder, threads: int, turns: int, seconds: float) -> list[Measure]:
    """Measure 1."""
    clips = speech_like([CLIP_SECONDS] * CLIENTS)
    model = OnnxModel(folder.onnx, threads)
    batch = {"waveform": np.stack(clips), "num_samples": np.full(CLIENTS, clips[0].size)}

    def in_process() -> float:
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            model(batch)
            done += CLIENTS
        return done / (time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as place:
        repository, requests = Path(place, "repository"), Path(place, "requests.json")
        write_repository(repository, folder, options(threads))
        write_requests(requests, clips, [clips[0].size] * CLIENTS)
        with TritonServer(repository, models=["emotion"]) as server:
            latencies: list[float] = []

            def served() -> float:
                load = generate_load(server, requests, CLIENTS, max(2 * CLIENTS, round(seconds * in_process_speed)))
                latencies.append(load.p95_milliseconds)
                return load.clips_per_second

            in_process_speed = in_process()
            speeds = in_turns({"served": served, "in process": in_process}, turns)
    share, spread = ratio(speeds["served"], speeds["in process"])
    clients = f"{CLIENTS} clients over gRPC"
    what = f"{CLIP_SECONDS:g} s clips, CPU, {threads} threads of onnxruntime, {turns} turns"
    against = f"onnxruntime in process, batches of {CLIENTS}"
    served_speed, in_process_speed = (float(np.median(speeds[side])) for side in ("served", "in process"))
    p95 = float(np.median(latencies[1:]))
    return [
        Measure("1", f"server's throughput as a share, {clients}: {what}", share, "times", ">= 0.9", spread, against),
        Measure("1-served", f"server, {clients}: {what}", served_speed, "clips/s"),
        Measure("1-in-process", f"{against}: {what}", in_process_speed, "clips/s"),
        Measure("1-p95", f"server, request to answer, 95th percentile, {clients}: {what}", p95, "ms"),
    ]


def mixed_lengths(folder: ModelFolder, threads: int, turns: int, count: int) -> list[Measure]:
    """Measure 2."""
    seconds = np.random.default_rng(SEED).uniform(1, 8, 64)
    clips = speech_like(list(seconds))
    own = [clip.size for clip in clips]
    loads: dict[str, list[Load]] = {}

    def side(repository: Path, requests: Path, name: str) -> float:
        with TritonServer(repository, models=["emotion"]) as server:
            load = generate_load(server, requests, MIXED_CLIENTS, count)
        loads.setdefault(name, []).append(load)
        return load.clips_per_second

    with tempfile.TemporaryDirectory() as place:
        buckets = write_repository(Path(place, "with"), folder, options(threads))
        write_repository(
            Path(place, "without"), folder, replace(options(threads), dynamic_batching=False, preferred_batch_sizes=())
        )
        padded = [next((bucket for bucket in buckets if bucket >= length), length) for length in own]
        write_requests(Path(place, "padded.json"), clips, padded)
        write_requests(Path(place, "own.json"), clips, own)
        sides = {
            "batching": lambda: side(Path(place, "with"), Path(place, "padded.json"), "batching"),
            "one by one": lambda: side(Path(place, "without"), Path(place, "own.json"), "one by one"),
        }
        speeds = in_turns(sides, turns)
        difference = served_difference(Path(place, "with"), folder, clips, threads)
    gain, spread = ratio(speeds["batching"], speeds["one by one"])
    what = f"{MIXED_CLIENTS} clients, clips of 1 to 8 s, CPU, {threads} threads of onnxruntime, {turns} turns"
    padding = "buckets of " + ", ".join(f"{bucket / RATE_HZ:g}" for bucket in buckets) + " s"
    against = "the same server without batching, clips at their own lengths"
    compared = "largest difference of a score, served in batches of mixed lengths or in process one by one"
    measures = [
        Measure("2", f"gain by dynamic batching, {padding}: {what}", gain, "times", ">= 2", spread, against),
        Measure("2-difference", compared, difference, "score", "<= 1e-4"),
    ]
    for name, found in loads.items():
        p95 = float(np.median([load.p95_milliseconds for load in found[1:]]))
        label = name.replace(" ", "-")
        measures.append(Measure(f"2-{label}", f"{name}: {what}", float(np.median(speeds[name])), "clips/s"))
        measures.append(Measure(f"2-{label}-p95", f"{name}, request to answer, 95th percentile: {what}", p95, "ms"))
    return measures


def served_difference(repository: Path, folder: ModelFolder, clips: Sequence[np.ndarray], threads: int) -> float:
    """Largest difference of a score or probability between a server that batches and one by one in process."""
    local = AudioEmotionRecognizer.load(folder.path, threads)
    with (
        TritonServer(repository, models=["emotion"]) as server,
        connect_recognizer(server.grpc_url, "emotion") as remote,
    ):
        found = remote.batch(clips, RATE_HZ)
    largest = 0.0
    for clip, estimate in zip(clips, found, strict=True):
        alone = local(clip, RATE_HZ)
        pairs = [(estimate.scores, alone.scores), (estimate.emotions, alone.emotions)]
        largest = max(largest, *(abs(ours[name] - theirs[name]) for ours, theirs in pairs for name in ours))
    return largest


def int8_speed(folder: ModelFolder, threads: int, repeats: int) -> list[Measure]:
    """Measure 3."""
    clip = speech_like([CLIP_SECONDS])[0][None]
    inputs = {"waveform": clip, "num_samples": np.array([clip.shape[1]])}
    files = ["model.onnx", *(name for name in INT8_FILES if (folder.path / name).is_file())]

    def timed(model: OnnxModel) -> float:
        start = time.perf_counter()
        model(inputs)
        return 1 / (time.perf_counter() - start)

    sides = {name: partial(timed, OnnxModel(folder.path / name, threads)) for name in files}
    speeds = in_turns(sides, repeats)
    measured = json.loads(folder.parity.read_text(encoding="utf-8"))["files"]
    whole = measured["model.onnx"].get("metrics", {})
    what = f"one {CLIP_SECONDS:g} s clip, CPU, {threads} threads, {repeats} runs"
    measures = []
    for name in files[1:]:
        kind = name.removeprefix("model.").removesuffix(".onnx").replace("_", "-")
        gain, _ = ratio(speeds[name], speeds["model.onnx"])
        judged = name == INT8_FILES[0]  # the other is shown beside it: what needs no calibration
        against = "model.onnx, float32"
        target = ">= 1.5" if judged else None
        measures.append(
            Measure(f"3-{kind}", f"speed-up of the median, {name}: {what}", gain, "times", target, None, against)
        )
        for metric, value in measured[name].get("metrics", {}).items():
            if metric == "ua" or metric.startswith("ccc_"):
                lost = round(100 * (whole[metric] - value), 6)  # a point is a point
                what_lost = f"{metric} lost by {name}, {whole['num_clips']:g} clips of the run's corpus"
                target = "<= 1" if judged else None
                measures.append(Measure(f"3-{kind}-{metric}", what_lost, lost, "points", target, None, against))
    return measures


def export_cost(run: Path, output: Path, overrides: Sequence[str]) -> list[Measure]:
    """Measure 4; the model folder is used by the others."""
    command = [sys.executable, "-m", "pixel_mm.export", f"run={run}", f"output={output}"]
    command += [f"formats=[{','.join(FORMATS)}]", f"clips.max_measured={MEASURED_CLIPS}", *overrides]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}")
    folder = ModelFolder(output)
    with tempfile.TemporaryDirectory() as place:
        for file in folder.open().files:
            if Path(file).suffix in SERVED_AS:
                name = file.replace(".", "_")
                ModelRepository(Path(place, "repository"), name).publish(folder, file, TritonOptions())
    minutes = (time.perf_counter() - start) / 60
    what = f"export, parity, metrics on the run's test clips and publishing in {len(FORMATS)} formats"
    return [
        Measure("4-time", f"{what}, from the command to the last version in a repository", minutes, "min", "<= 5"),
        Measure("4-memory", f"{what}, resident memory at its peak", usage.ru_maxrss / 2**20, "GiB", "<= 6"),
    ]


def train_toy(folder: Path) -> Path:
    """A run that takes seconds, for --quick."""
    run = folder / "run"
    subprocess.run([sys.executable, "-m", "pixel_mm.train", *TOY, f"paths.run={run}"], check=True)
    return run


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--run", type=Path, help="run folder of a trained regressor; needed without --quick")
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime on either side (default: 1, the load "
                        "generator and the server's own threads take the rest)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="smoke run with a toy: the numbers mean nothing")
    given = parser.parse_args()
    if given.run is None and not given.quick:
        parser.error("--run RUN_DIR is needed: a run of Whisper base")
    # The load generator takes the time of a run in whole seconds, so that a short one looks slower than it was.
    turns, seconds, count, repeats = (1, 0.5, 32, 3) if given.quick else (5, 30.0, 192, 30)
    with tempfile.TemporaryDirectory() as place:
        run = given.run or train_toy(Path(place))
        folder = ModelFolder(Path(place, "model"))
        cost = export_cost(run, folder.path, () if given.run else TOY_EXPORT)
        measures = [
            *server_speed(folder, given.threads, turns, seconds),
            *mixed_lengths(folder, given.threads, turns, count),
            *int8_speed(folder, given.threads, repeats),
            *cost,
        ]
    write_report(given.output, "export_serving", measures, given.quick)
    print_table(measures)


if __name__ == "__main__":
    main()
