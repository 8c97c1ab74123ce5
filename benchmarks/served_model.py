"""One exported model on the real Triton server, and Triton's own load generator before it."""

import csv
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import CONFIG, TritonOptions, read_config
from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.environment import TritonEnvironment
from pixel_mm.serving.server import TritonServer

MODEL = "emotion"
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw.

    Attributes:
        clips_per_second: answered.
        p95_milliseconds: from the sending of a request to its answer, 95th percentile.
    """

    clips_per_second: float
    p95_milliseconds: float


def write_repository(place: Path, folder: ModelFolder, options: TritonOptions) -> tuple[int, ...]:
    """Make a Triton repository of one model, as the export does; gives the lengths that clients pad to.

    Args:
        place: to make.
        folder: whose model.onnx is served.
        options: how.
    """
    ModelRepository(place, MODEL).publish(folder, folder.onnx.name, options)
    config = read_config(place / MODEL / CONFIG)
    return tuple(json.loads(config.parameters["length_buckets_samples"].string_value))


def write_requests(path: Path, waveforms: Sequence[NDArray[np.float32]], lengths: Sequence[int]) -> None:
    """Write clips, zero-padded to the lengths given, in the load generator's format."""
    data = []
    for waveform, length in zip(waveforms, lengths, strict=True):
        padded = np.zeros(length, dtype=np.float32)
        padded[: waveform.size] = waveform
        content = [round(float(sample), 5) for sample in padded]
        data.append({"waveform": {"content": content, "shape": [length]}, "num_samples": [waveform.size]})
    path.write_text(json.dumps({"data": data}), encoding="utf-8")


def generate_load(
    server: TritonServer, requests: Path, concurrency: int, count: int, patience_seconds: float = 30.0
) -> Load:
    """Keep so many requests under way until so many were answered.

    The load generator can miss the answer that it waits for as its last, and would then wait for ever: where nothing
    more is answered, it is ended and tried again.

    Args:
        server: to ask, over gRPC.
        requests: what `write_requests` wrote; taken in turn.
        concurrency: requests under way.
        count: requests to be answered.
        patience_seconds: without an answer, until it is tried again.

    Raises:
        RuntimeError: the load generator failed, or stopped asking three times; the message is its own.
    """
    environment = TritonEnvironment.ensure()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.csv")
        command = [str(environment.perf_analyzer), "-m", MODEL, "-u", server.grpc_url, "-i", "grpc", "-b", "1"]
        command += ["--input-data", str(requests), "--request-count", str(count), "-f", str(report)]
        command += ["--concurrency-range", str(concurrency)]
        for _ in range(_ATTEMPTS):
            done = _watch(command, environment.variables(), lambda: _answered(server), patience_seconds)
            if done is None:
                continue
            if done.returncode or not report.is_file():
                raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}")
            with report.open(encoding="utf-8", newline="") as file:
                row = next(csv.DictReader(file))
            return Load(float(row["Inferences/Second"]), float(row["p95 latency"]) / 1000)
    raise RuntimeError(f"{' '.join(command)}\nstopped asking {_ATTEMPTS} times")


def _watch(
    command: Sequence[str], variables: Mapping[str, str], answered: Callable[[], float], patience_seconds: float
) -> subprocess.CompletedProcess[str] | None:
    """Run a command to its end; None where nothing more was answered and it was killed."""
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        last = None
        while True:
            try:
                said, _ = process.communicate(timeout=patience_seconds)
                return subprocess.CompletedProcess(command, process.returncode, said)
            except subprocess.TimeoutExpired:
                seen = answered()
                if seen == last:
                    process.kill()
                    return None
                last = seen


def _answered(server: TritonServer) -> float:
    """Requests that the server has answered since it was started."""
    lines = server.metrics().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("nv_inference_request_success{"))
