"""Small Triton repositories for tests of the server."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.tiny_emotion import LABELS, tiny_graph

BACKENDS = {"onnxruntime": "model.onnx", "pytorch": "model.pt"}
BUCKETS_SAMPLES = (48_000, 128_000, 480_000)


def emotion_config(
    name: str, backend: str = "onnxruntime", delay_microseconds: int = 20_000
) -> model_config_pb2.ModelConfig:
    config = model_config_pb2.ModelConfig(name=name, backend=backend, max_batch_size=16)
    config.input.add(name="waveform", data_type="TYPE_FP32", dims=[-1])
    samples = config.input.add(name="num_samples", data_type="TYPE_INT64", dims=[1])
    samples.reshape.SetInParent()
    for dimension in ("valence", "arousal", "dominance"):
        output = config.output.add(name=dimension, data_type="TYPE_FP32", dims=[1])
        output.reshape.SetInParent()
    config.output.add(
        name="emotion_probabilities", data_type="TYPE_FP32", dims=[len(LABELS)], label_filename="emotions.txt"
    )
    config.dynamic_batching.max_queue_delay_microseconds = delay_microseconds
    config.instance_group.add(kind="KIND_CPU", count=1)
    config.version_policy.all.SetInParent()
    for key, value in parameters().items():
        config.parameters[key].string_value = value
    return config


def parameters() -> Mapping[str, str]:
    return {
        "model_spec": json.dumps(tiny_graph()[1].as_dict()),
        "length_buckets_samples": json.dumps(BUCKETS_SAMPLES),
        "intra_op_thread_count": "1",
    }


def add_model(
    repository: Path, config: model_config_pb2.ModelConfig, model_folder: Path, file: str | None = None
) -> None:
    """Version 1 of a model; `file` of the folder, by default the backend's float32 one."""
    folder = repository / config.name
    add_version(folder, BACKENDS[config.backend], model_folder / (file or BACKENDS[config.backend]), 1)
    (folder / "emotions.txt").write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


def add_version(folder: Path, served_as: str, file: Path, version: int) -> None:
    (folder / str(version)).mkdir(parents=True)
    shutil.copy(file, folder / str(version) / served_as)


def add_ensemble(repository: Path, config: model_config_pb2.ModelConfig, step: str) -> None:
    """A model that hands everything on to another one, as a pipeline of several models would."""
    for field in ("backend", "dynamic_batching", "instance_group"):
        config.ClearField(field)  # type: ignore[arg-type]
    config.platform = "ensemble"
    only = config.ensemble_scheduling.step.add(model_name=step, model_version=1)
    for tensor in config.input:
        tensor.ClearField("reshape")
        only.input_map[tensor.name] = tensor.name
    for tensor in config.output:
        tensor.ClearField("reshape")
        only.output_map[tensor.name] = tensor.name
    place = repository / config.name
    (place / "1").mkdir(parents=True)
    for tensor in config.output:
        tensor.label_filename = ""
    (place / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
