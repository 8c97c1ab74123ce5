"""What a Triton server would take without a word and then not do, or crash on: found before anything is published."""

from collections.abc import Callable, Collection
from pathlib import Path

import onnx
import torch
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.exporters.triton import (
    BACKENDS,
    JOINER_BACKEND,
    THREADS,
    WARM_UP_FOLDER,
    TritonOptions,
    served_versions,
)

_ITEM_BYTES = {"TYPE_FP32": 4, "TYPE_FP16": 2, "TYPE_BF16": 2, "TYPE_INT64": 8, "TYPE_INT32": 4}
_ONNX_TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.FLOAT16: "TYPE_FP16", onnx.TensorProto.BFLOAT16: "TYPE_BF16",
    onnx.TensorProto.INT64: "TYPE_INT64", onnx.TensorProto.INT32: "TYPE_INT32",
}  # fmt: skip
_CHOICES = {
    "timeout_action": ("reject", "delay"),
    "instance_kind": ("auto", "cpu", "gpu"),
    "version_policy": ("specific", "latest", "all"),
}


class TritonConfigError(ValueError):
    """A configuration that the server would ignore in part, or not of its graph; the message names the field."""


def check_options(options: TritonOptions, backend: str) -> None:
    """Refuse options that cannot be, or that would change nothing.

    Raises:
        TritonConfigError: names the option.
    """
    largest = options.max_batch_size
    positive = {
        "max_batch_size": largest,
        "instances": options.instances,
        "length_buckets": options.length_buckets,
        "latest_versions": options.latest_versions,
    }
    not_negative = {
        "max_queue_delay_microseconds": options.max_queue_delay_microseconds,
        "max_queue_size": options.max_queue_size,
        "queue_timeout_microseconds": options.queue_timeout_microseconds,
        "threads": options.threads,
    }
    for names, least in ((positive, 1), (not_negative, 0)):
        for name, value in names.items():
            _require(value >= least, f"triton.{name} is {value}; it must be at least {least}")
    for name in ("preferred_batch_sizes", "warm_up_batch_sizes"):
        sizes = list(getattr(options, name))
        fits = all(1 <= size <= largest for size in sizes) and sizes == sorted(set(sizes))
        _require(fits, f"triton.{name} is {sizes}; give ascending sizes from 1 to max_batch_size, {largest}")
    for name, allowed in _CHOICES.items():
        value = getattr(options, name)
        _require(value in allowed, f"triton.{name} is '{value}'; it is one of {', '.join(allowed)}")
    batches = options.dynamic_batching or not options.preferred_batch_sizes
    _require(batches, "triton.preferred_batch_sizes does nothing with triton.dynamic_batching=false; leave it out")
    on_gpu = options.instance_kind == "gpu"
    _require(not options.gpus or on_gpu, "triton.gpus is for instances on a GPU; add triton.instance_kind=gpu")
    _require(not options.threads or not on_gpu, "triton.threads is of instances on a processor; leave it out")
    if backend == "tensorrt":
        _require(options.instance_kind != "cpu", "triton.instance_kind is cpu; a TensorRT engine runs on a GPU")
        _require(not options.threads, "triton.threads is of instances on a processor; leave it out")


def check_config(config: ModelConfig, folder: Path, versions: Collection[int]) -> None:
    """Hold a configuration, built or written by hand, against the folder of its model.

    Args:
        config: of the model.
        folder: the model's.
        versions: that it has, or will have when the configuration is in place.

    Raises:
        TritonConfigError: names the field.
    """
    where = f"{folder.name}/config.pbtxt"
    _require(config.name == folder.name, f"{where}: name is '{config.name}'; the folder's is '{folder.name}'")
    known = {*BACKENDS.values(), JOINER_BACKEND}
    _require(config.backend in known, f"{where}: backend is '{config.backend}'; it is {', '.join(sorted(known))}")
    if config.backend == JOINER_BACKEND:
        streams = config.model_transaction_policy.decoupled and config.max_batch_size == 0
        _require(streams, f"{where}: what streams texts needs model_transaction_policy.decoupled and max_batch_size 0")
    else:
        _require(config.max_batch_size >= 1, f"{where}: max_batch_size is 0, so that dynamic_batching does nothing")
    for size in config.dynamic_batching.preferred_batch_size:
        fits = 1 <= size <= config.max_batch_size
        _require(fits, f"{where}: preferred_batch_size {size} is outside 1 to max_batch_size, {config.max_batch_size}")
    _check_parameters(config, where)
    _check_labels(config, folder, where)
    _check_warm_up(config, folder, where)
    if config.version_policy.WhichOneof("policy_choice") == "specific":
        served = served_versions(config, versions)
        _require(bool(served), f"{where}: version_policy serves no version")
        for version in served:
            _require(version in versions, f"{where}: version_policy names {version}, which is not there")


def check_file(config: ModelConfig, path: Path) -> None:
    """Hold a configuration against the inputs and outputs of the file that it is for.

    An engine says what it takes to its own version of TensorRT alone; it was built from a graph that passed this.

    Raises:
        TritonConfigError: names the tensor.
    """
    checks: dict[str, Callable[[ModelConfig, Path], None]] = {".onnx": _check_onnx, ".pt": _check_torchscript}
    if check := checks.get(path.suffix):
        check(config, path)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise TritonConfigError(message)


def _check_parameters(config: ModelConfig, where: str) -> None:
    """The server passes any parameter on, and a backend ignores what it does not know."""
    for backend, parameter in THREADS.items():
        ignored = parameter in config.parameters and backend != config.backend
        _require(not ignored, f"{where}: parameter {parameter} is of {backend}, and {config.backend} ignores it")


def _check_labels(config: ModelConfig, folder: Path, where: str) -> None:
    for output in config.output:
        if not output.label_filename:
            continue
        path = folder / output.label_filename
        _require(path.is_file(), f"{where}: label_filename of '{output.name}', {path.name}, is not there")
        count = len(path.read_text(encoding="utf-8").splitlines())
        fits = count == output.dims[-1]
        _require(fits, f"{where}: {path.name} has {count} labels, '{output.name}' has {output.dims[-1]} values")


def _check_warm_up(config: ModelConfig, folder: Path, where: str) -> None:
    """A batch that is too large can crash the server, a file of another size stops the model from loading."""
    named = {tensor.name for tensor in config.input}
    for sample in config.model_warmup:
        about = f"{where}: warm-up '{sample.name}'"
        fits = 1 <= sample.batch_size <= config.max_batch_size
        _require(fits, f"{about} has batch_size {sample.batch_size}, outside 1 to {config.max_batch_size}")
        _require(set(sample.inputs) == named, f"{about} gives {sorted(sample.inputs)}; the model takes {sorted(named)}")
        for name, value in sample.inputs.items():
            if value.WhichOneof("input_data_type") != "input_data_file":
                continue
            path = folder / WARM_UP_FOLDER / value.input_data_file
            _require(path.is_file(), f"{about}: {path.name} of '{name}' is not there")
            size = _ITEM_BYTES[model_config_pb2.DataType.Name(value.data_type)]
            for dim in value.dims:
                size *= dim
            found = path.stat().st_size
            _require(found == size, f"{about}: {path.name} of '{name}' has {found} bytes, its dims make {size}")


def _check_onnx(config: ModelConfig, path: Path) -> None:
    graph = onnx.load(str(path), load_external_data=False).graph
    for configured, found in ((config.input, graph.input), (config.output, graph.output)):
        tensors = {value.name: value.type.tensor_type for value in found}
        for wanted in configured:
            _require(wanted.name in tensors, f"{path.name} has no tensor '{wanted.name}'; it has {', '.join(tensors)}")
            _check_tensor(wanted, tensors[wanted.name], path.name)
        if lacking := set(tensors) - {wanted.name for wanted in configured}:
            raise TritonConfigError(f"{path.name}: '{sorted(lacking)[0]}' is not in the configuration")


def _check_tensor(
    wanted: "model_config_pb2.ModelInput | model_config_pb2.ModelOutput", found: onnx.TypeProto.Tensor, file: str
) -> None:
    about = f"{file}: '{wanted.name}'"
    datatype = model_config_pb2.DataType.Name(wanted.data_type)
    graph_type = _ONNX_TYPES.get(found.elem_type, "of another type")
    _require(graph_type == datatype, f"{about} is {graph_type} in the graph, {datatype} in the configuration")
    batch, *rest = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in found.shape.dim]
    _require(batch == -1, f"{about} takes batches of {batch} only; its first axis must be free")
    dims = list(wanted.reshape.shape) if wanted.HasField("reshape") else list(wanted.dims)
    _require(rest == dims, f"{about} has the axes {rest} behind the batch in the graph, {dims} in the configuration")


def _check_torchscript(config: ModelConfig, path: Path) -> None:
    """The backend goes by name where all names are those of `forward`, by the configuration's order otherwise."""
    arguments = [argument.name for argument in torch.jit.load(str(path)).forward.schema.arguments[1:]]
    configured = [tensor.name for tensor in config.input]
    _require(arguments == configured, f"{path.name} takes {arguments}, the configuration gives {configured}")
