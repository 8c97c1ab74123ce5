"""Small Triton repositories for tests of the server."""

import shutil
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.exporters.triton import TritonOptions, build_config, config_text, shared_files
from tests.tiny_emotion import tiny_graph

BACKENDS = {"onnxruntime": "model.onnx", "pytorch": "model.pt"}
BUCKETS_SAMPLES = (48_000, 128_000, 480_000)


def emotion_config(name: str, backend: str = "onnxruntime", delay_microseconds: int = 20_000) -> ModelConfig:
    options = TritonOptions(
        max_queue_delay_microseconds=delay_microseconds,
        max_queue_size=0,
        queue_timeout_microseconds=0,
        instance_kind="cpu",
        threads=1,
        version_policy="all",
        warm_up_batch_sizes=(),
    )
    return build_config(name, BACKENDS[backend], tiny_graph()[1], options, BUCKETS_SAMPLES)


def add_model(repository: Path, config: ModelConfig, model_folder: Path, file: str | None = None) -> None:
    """Version 1 of a model; `file` of the folder, by default the backend's float32 one."""
    folder = repository / config.name
    add_version(folder, BACKENDS[config.backend], model_folder / (file or BACKENDS[config.backend]), 1)
    for name, content in shared_files(tiny_graph()[1], ()).items():
        (folder / name).write_bytes(content)
    (folder / "config.pbtxt").write_text(config_text(config), encoding="utf-8")


def add_version(folder: Path, served_as: str, file: Path, version: int) -> None:
    (folder / str(version)).mkdir(parents=True)
    shutil.copy(file, folder / str(version) / served_as)


def add_ensemble(repository: Path, config: ModelConfig, step: str) -> None:
    """A model that hands everything on to another one, as a pipeline of several models would."""
    for field in ("backend", "dynamic_batching", "instance_group", "default_model_filename", "response_cache"):
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
    (place / "config.pbtxt").write_text(config_text(config), encoding="utf-8")
