"""One exported model on the real Triton server, and Triton's own load generator before it."""

import csv
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.environment import TritonEnvironment
from pixel_mm.serving.server import TritonServer

MODEL = "emotion"
MAX_BATCH = 16


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw.

    Attributes:
        clips_per_second: answered.
        p95_milliseconds: from the sending of a request to its answer, 95th percentile.
    """

    clips_per_second: float
    p95_milliseconds: float


def write_repository(
    place: Path, folder: ModelFolder, threads: int, buckets_samples: Sequence[int], delay_microseconds: int | None
) -> None:
    """Make a Triton repository of one model, all else equal with and without dynamic batching.

    Args:
        place: to make.
        folder: whose model.onnx is served.
        threads: of onnxruntime; one instance.
        buckets_samples: lengths that clients pad to.
        delay_microseconds: that the server waits to fill a batch; None serves request by request.
    """
    spec = folder.open(folder.onnx.name)
    config = model_config_pb2.ModelConfig(name=MODEL, backend="onnxruntime", max_batch_size=MAX_BATCH)
    config.input.add(name="waveform", data_type="TYPE_FP32", dims=[-1])
    config.input.add(name="num_samples", data_type="TYPE_INT64", dims=[1]).reshape.SetInParent()
    for tensor in spec.outputs:
        output = config.output.add(name=tensor.name, data_type="TYPE_FP32", dims=[len(tensor.labels) or 1])
        if not tensor.labels:
            output.reshape.SetInParent()
    if delay_microseconds is not None:
        config.dynamic_batching.max_queue_delay_microseconds = delay_microseconds
    config.instance_group.add(kind="KIND_CPU", count=1)
    config.parameters["intra_op_thread_count"].string_value = str(threads)
    config.parameters["model_spec"].string_value = json.dumps(spec.as_dict())
    config.parameters["length_buckets_samples"].string_value = json.dumps(list(buckets_samples))
    version = place / MODEL / "1"
    version.mkdir(parents=True)
    shutil.copy(folder.onnx, version)
    (place / MODEL / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


def write_requests(path: Path, waveforms: Sequence[NDArray[np.float32]], lengths: Sequence[int]) -> None:
    """Write clips, zero-padded to the lengths given, in the load generator's format."""
    data = []
    for waveform, length in zip(waveforms, lengths, strict=True):
        padded = np.zeros(length, dtype=np.float32)
        padded[: waveform.size] = waveform
        content = [round(float(sample), 5) for sample in padded]
        data.append({"waveform": {"content": content, "shape": [length]}, "num_samples": [waveform.size]})
    path.write_text(json.dumps({"data": data}), encoding="utf-8")


def generate_load(server: TritonServer, requests: Path, concurrency: int, count: int) -> Load:
    """Keep so many requests under way until so many were answered.

    Args:
        server: to ask, over gRPC.
        requests: what `write_requests` wrote; taken in turn.
        concurrency: requests under way.
        count: requests to be answered.

    Raises:
        RuntimeError: the load generator failed; the message is its own.
    """
    environment = TritonEnvironment.ensure()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.csv")
        command = [str(environment.perf_analyzer), "-m", MODEL, "-u", server.grpc_url, "-i", "grpc", "-b", "1"]
        command += ["--input-data", str(requests), "--request-count", str(count), "-f", str(report)]
        command += ["--concurrency-range", str(concurrency)]
        done = subprocess.run(command, env=environment.variables(), capture_output=True, text=True, check=False)
        if done.returncode or not report.is_file():
            raise RuntimeError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-2000:]}")
        with report.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
    return Load(float(row["Inferences/Second"]), float(row["p95 latency"]) / 1000)
