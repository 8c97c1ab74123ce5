"""A model's `config.pbtxt`, built from Triton's own protobuf classes: a field that does not exist cannot be written.

The format is described in Triton's documentation, "Model Configuration"; `triton_checks` refuses what the server would
take without a word and then not do.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.model_folder import ModelSpec, TensorSpec

CONFIG = "config.pbtxt"
WARM_UP_FOLDER = "warmup"
SERVED_AS = {".onnx": "model.onnx", ".pt": "model.pt", ".plan": "model.plan"}
"""What a file is called in a repository, by its suffix."""
BACKENDS = {"model.onnx": "onnxruntime", "model.pt": "pytorch", "model.plan": "tensorrt"}
JOINER_BACKEND = "python"
"""Runs what joins the encoder and decoder of a recogniser."""
THREADS = {"onnxruntime": "intra_op_thread_count", "pytorch": "INTRA_OP_THREAD_COUNT"}
"""The parameter with the threads of an instance, by backend; a backend ignores any other name."""
_TYPES = {
    "float32": "TYPE_FP32", "float16": "TYPE_FP16", "bfloat16": "TYPE_BF16", "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
}  # fmt: skip
_LEVEL = 0.05  # of the warm-up's noise, RMS; about that of speech


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How a model is served.

    Attributes:
        max_batch_size: clips in a batch at most.
        dynamic_batching: whether the server joins requests; false serves them one by one.
        preferred_batch_sizes: at which a batch is not held for more requests.
        max_queue_delay_microseconds: that a request is held for others.
        max_queue_size: requests that may wait; further ones are refused. 0 for any number.
        queue_timeout_microseconds: that a request may wait; 0 for ever.
        timeout_action: "reject" refuses a request that waited too long, "delay" serves it after all others.
        allow_timeout_override: whether a request may bring its own timeout.
        instances: copies of the model.
        instance_kind: "auto" leaves it to the server: a GPU where there is one.
        gpus: numbers of the GPUs that instances are put on; none leaves it to the server.
        threads: of one instance on a processor, 0 for as many as there are.
        response_cache: whether equal requests are answered from the server's cache, which it must be started with.
        version_policy: which versions are served: "specific" ones (published and promoted ones, by number), the
            "latest" ones, or "all" that are there.
        latest_versions: how many the latest ones are.
        length_buckets: that clients pad clips to, at most.
        warm_up_batch_sizes: of the batches that a loaded model runs, at each bucket, before it is ready.
    """

    max_batch_size: int = 16
    dynamic_batching: bool = True
    preferred_batch_sizes: Sequence[int] = ()
    max_queue_delay_microseconds: int = 5000
    max_queue_size: int = 256
    queue_timeout_microseconds: int = 10_000_000
    timeout_action: Literal["reject", "delay"] = "reject"
    allow_timeout_override: bool = True
    instances: int = 1
    instance_kind: Literal["auto", "cpu", "gpu"] = "auto"
    gpus: Sequence[int] = ()
    threads: int = 0
    response_cache: bool = False
    version_policy: Literal["specific", "latest", "all"] = "specific"
    latest_versions: int = 1
    length_buckets: int = 3
    warm_up_batch_sizes: Sequence[int] = (1,)


def build_config(
    name: str, file: str, spec: ModelSpec, options: TritonOptions, buckets_samples: Sequence[int]
) -> ModelConfig:
    """The configuration of a model. With the policy "specific" it serves no version yet; see `serve_versions`.

    Args:
        name: of the model's folder.
        file: as it is called in the repository, a key of `BACKENDS`.
        spec: of the model.
        options: how it is served.
        buckets_samples: lengths that clients pad to, ascending.
    """
    config = ModelConfig(name=name, backend=BACKENDS[file], max_batch_size=options.max_batch_size)
    config.default_model_filename = file
    for tensor in spec.inputs:
        _set_shape(config.input.add(name=tensor.name, data_type=_TYPES[tensor.dtype]), tensor)
    for tensor in spec.outputs:
        output = config.output.add(name=tensor.name, data_type=_TYPES[tensor.dtype])
        _set_shape(output, tensor)
        if tensor.labels:
            output.label_filename = label_file(tensor)
    if options.dynamic_batching:
        _set_batching(config.dynamic_batching, options)
    _set_policy(config, options)
    config.instance_group.add(kind=f"KIND_{options.instance_kind.upper()}", count=options.instances, gpus=options.gpus)
    config.response_cache.enable = options.response_cache
    describe_model(config, spec)
    _set_parameters(config, options, buckets_samples)
    for length in buckets_samples:
        for batch_size in options.warm_up_batch_sizes:
            _add_warm_up(config, spec, length, batch_size)
    return config


def describe_model(config: ModelConfig, spec: ModelSpec) -> None:
    """Put what a client must know of a model into its configuration's parameters."""
    values = {
        "model_spec": json.dumps(spec.as_dict(), ensure_ascii=False),
        "task": spec.task,
        "sample_rate_hz": str(spec.sample_rate_hz),
        "min_seconds": f"{spec.min_seconds:g}",
        "max_seconds": f"{spec.max_seconds:g}",
    }
    for key, value in values.items():
        config.parameters[key].string_value = value


def label_file(tensor: TensorSpec) -> str:
    """Name of the file with an output's labels, one a line."""
    return f"{tensor.name}.labels.txt"


def shared_files(spec: ModelSpec, buckets_samples: Sequence[int]) -> dict[str, bytes]:
    """Content of the files that a configuration names, by path in the model's folder.

    Labels, one a line; and for warm-up noise as waveform, and its length.
    """
    files = {}
    for tensor in spec.outputs:
        if tensor.labels:
            files[label_file(tensor)] = "".join(f"{label}\n" for label in tensor.labels).encode()
    for length in buckets_samples:
        noise = np.random.default_rng(length).normal(0, _LEVEL, length).astype(np.float32)
        values = {"waveform": noise.tobytes(), "num_samples": np.array([length], dtype=np.int64).tobytes()}
        for tensor in spec.inputs:
            files[f"{WARM_UP_FOLDER}/{_warm_up_file(tensor.name, length)}"] = values[tensor.name]
    return files


def serve_versions(config: ModelConfig, versions: Sequence[int]) -> None:
    """Let a configuration serve these versions, side by side, and no others."""
    config.version_policy.specific.ClearField("versions")
    config.version_policy.specific.versions.extend(sorted(versions))


def served_versions(config: ModelConfig, there: Collection[int]) -> list[int]:
    """Versions that a configuration serves, ascending.

    Args:
        config: of a model.
        there: the versions that the model's folder has.
    """
    policy = config.version_policy
    match policy.WhichOneof("policy_choice"):
        case "specific":
            return sorted(policy.specific.versions)
        case "all":
            return sorted(there)
        case _:  # the server's default is the latest one
            return sorted(there)[-(policy.latest.num_versions or 1) :]


def read_config(path: Path) -> ModelConfig:
    """Read a config.pbtxt.

    Raises:
        ValueError: it is not one; the message names the line.
        OSError: it cannot be read.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no model configuration: {error}") from None


def config_text(config: ModelConfig) -> str:
    """What config.pbtxt holds."""
    return str(text_format.MessageToString(config))


def _set_shape(tensor: "model_config_pb2.ModelInput | model_config_pb2.ModelOutput", spec: TensorSpec) -> None:
    """The batch axis is not written; one value per clip is [1] for the server and [] for the graph."""
    dims = [axis if isinstance(axis, int) else -1 for axis in spec.axes[1:]]
    tensor.dims.extend(dims or [1])
    if not dims:
        tensor.reshape.SetInParent()


def _set_batching(batching: "model_config_pb2.ModelDynamicBatching", options: TritonOptions) -> None:
    batching.preferred_batch_size.extend(options.preferred_batch_sizes)
    batching.max_queue_delay_microseconds = options.max_queue_delay_microseconds
    policy = batching.default_queue_policy
    policy.max_queue_size = options.max_queue_size
    policy.default_timeout_microseconds = options.queue_timeout_microseconds
    policy.timeout_action = model_config_pb2.ModelQueuePolicy.TimeoutAction.Value(options.timeout_action.upper())
    policy.allow_timeout_override = options.allow_timeout_override


def _set_policy(config: ModelConfig, options: TritonOptions) -> None:
    policy = config.version_policy
    if options.version_policy == "latest":
        policy.latest.num_versions = options.latest_versions
    else:
        getattr(policy, options.version_policy).SetInParent()


def _set_parameters(config: ModelConfig, options: TritonOptions, buckets_samples: Sequence[int]) -> None:
    config.parameters["length_buckets_samples"].string_value = json.dumps(list(buckets_samples))
    if options.threads:
        config.parameters[THREADS[config.backend]].string_value = str(options.threads)


def _warm_up_file(tensor: str, length: int) -> str:
    return f"{tensor}_{length}"


def _add_warm_up(config: ModelConfig, spec: ModelSpec, length: int, batch_size: int) -> None:
    sample = config.model_warmup.add(name=f"{batch_size} x {length} samples", batch_size=batch_size)
    for tensor in spec.inputs:
        value = sample.inputs[tensor.name]
        value.data_type = model_config_pb2.DataType.Value(_TYPES[tensor.dtype])
        value.dims.extend([length] if tensor.name == "waveform" else [1])
        value.input_data_file = _warm_up_file(tensor.name, length)
