"""config.pbtxt: what is built, and what is refused because the server would take it without a word."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.exporters.triton import (
    TritonOptions,
    build_config,
    config_text,
    read_config,
    serve_versions,
    served_versions,
    shared_files,
)
from pixel_mm.exporters.triton_checks import TritonConfigError, check_config, check_file, check_options
from pixel_mm.model_folder import ModelSpec
from tests.tiny_emotion import LABELS, tiny_graph

SPEC = tiny_graph()[1]
BUCKETS = (48_000, 128_000, 480_000)
MANY = TritonOptions(
    max_batch_size=8,
    preferred_batch_sizes=(4, 8),
    max_queue_delay_microseconds=700,
    max_queue_size=9,
    queue_timeout_microseconds=11,
    timeout_action="delay",
    allow_timeout_override=False,
    instances=2,
    instance_kind="gpu",
    gpus=(0, 1),
    response_cache=True,
    version_policy="latest",
    latest_versions=2,
    warm_up_batch_sizes=(1, 8),
)


DEFAULT = TritonOptions()


def built(options: TritonOptions = DEFAULT, file: str = "model.onnx") -> ModelConfig:
    config = build_config("emotion", file, SPEC, options, BUCKETS)
    if options.version_policy == "specific":
        serve_versions(config, [1])
    return config


def lay_out(folder: Path, spec: ModelSpec = SPEC) -> Path:
    """A model's folder with the files that its configuration names."""
    for name, content in shared_files(spec, BUCKETS).items():
        (folder / "emotion" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "emotion" / name).write_bytes(content)
    return folder / "emotion"


def test_what_is_asked_for_is_in_the_text_that_the_server_reads() -> None:
    config = text_format.Parse(config_text(built(MANY)), ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("emotion", "onnxruntime", 8)
    batching, queue = config.dynamic_batching, config.dynamic_batching.default_queue_policy
    assert list(batching.preferred_batch_size) == [4, 8]
    assert batching.max_queue_delay_microseconds == 700
    assert (queue.max_queue_size, queue.default_timeout_microseconds) == (9, 11)
    assert queue.timeout_action == queue.DELAY
    assert not queue.allow_timeout_override
    group = config.instance_group[0]
    assert (group.count, group.kind, list(group.gpus)) == (2, group.KIND_GPU, [0, 1])
    assert config.response_cache.enable
    assert config.version_policy.latest.num_versions == 2
    assert [(sample.batch_size, sample.inputs["waveform"].dims[0]) for sample in config.model_warmup] == [
        (1, 48_000), (8, 48_000), (1, 128_000), (8, 128_000), (1, 480_000), (8, 480_000),
    ]  # fmt: skip


def test_tensors_are_those_of_the_graph() -> None:
    config = built()
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("waveform", [-1]), ("num_samples", [1])]
    assert config.input[1].HasField("reshape")
    assert not config.input[1].reshape.shape
    assert [tensor.name for tensor in config.output] == [tensor.name for tensor in SPEC.outputs]
    assert config.output[3].label_filename == "emotion_probabilities.labels.txt"
    assert shared_files(SPEC, BUCKETS)["emotion_probabilities.labels.txt"].decode().split() == list(LABELS)


def test_a_client_finds_what_it_must_know() -> None:
    parameters = {key: value.string_value for key, value in built(TritonOptions(threads=3)).parameters.items()}
    assert ModelSpec.parse(json.loads(parameters["model_spec"])) == SPEC
    assert json.loads(parameters["length_buckets_samples"]) == list(BUCKETS)
    assert parameters["sample_rate_hz"] == "16000"
    assert parameters["intra_op_thread_count"] == "3"
    script = built(TritonOptions(threads=3), "model.pt").parameters
    assert script["INTRA_OP_THREAD_COUNT"].string_value == "3"


def test_the_kind_of_instance_is_left_out_unless_it_is_asked_for() -> None:
    assert "KIND" not in config_text(built())
    assert "KIND_CPU" in config_text(built(TritonOptions(instance_kind="cpu")))


def test_policies_say_which_versions_are_served() -> None:
    assert served_versions(built(MANY), {1, 2, 5}) == [2, 5]
    assert served_versions(built(replace(MANY, version_policy="all")), {1, 2, 5}) == [1, 2, 5]
    assert served_versions(built(), {1, 2, 5}) == [1]
    assert served_versions(ModelConfig(), {1, 2, 5}) == [5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size is 0"),
        ({"instances": 0}, "instances is 0"),
        ({"max_queue_size": -1}, "max_queue_size is -1"),
        ({"preferred_batch_sizes": (4, 32)}, r"preferred_batch_sizes is \[4, 32\].*max_batch_size, 16"),
        ({"preferred_batch_sizes": (8, 4)}, "ascending"),
        ({"warm_up_batch_sizes": (17,)}, "warm_up_batch_sizes"),
        ({"preferred_batch_sizes": (4,), "dynamic_batching": False}, "does nothing"),
        ({"timeout_action": "wait"}, "timeout_action is 'wait'; it is one of reject, delay"),
        ({"gpus": (0,)}, "instance_kind=gpu"),
        ({"instance_kind": "gpu", "threads": 2}, "triton.threads"),
        ({"latest_versions": 0}, "latest_versions is 0"),
    ],
)
def test_options_that_cannot_be_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TritonConfigError, match=message):
        check_options(replace(TritonOptions(), **change), "onnxruntime")


def test_an_engine_needs_a_gpu() -> None:
    check_options(MANY, "tensorrt")
    with pytest.raises(TritonConfigError, match="TensorRT engine"):
        check_options(TritonOptions(instance_kind="cpu"), "tensorrt")


def clear(field: str) -> Any:
    return lambda config: config.ClearField(field)


def put(field: str, value: Any) -> Any:
    return lambda config: setattr(config, field, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (clear("backend"), "backend is ''"),
        (put("max_batch_size", 0), "max_batch_size is 0"),
        (put("name", "emotions"), "name is 'emotions'"),
        (lambda config: config.dynamic_batching.preferred_batch_size.append(99), "preferred_batch_size 99"),
        (lambda config: setattr(config.model_warmup[0], "batch_size", 99), "batch_size 99"),
        (lambda config: config.model_warmup[0].inputs.pop("num_samples"), "the model takes"),
        (lambda config: setattr(config.output[3], "label_filename", "none.txt"), r"none\.txt, is not there"),
        (lambda config: serve_versions(config, [1, 4]), "names 4, which is not there"),
        (lambda config: serve_versions(config, []), "serves no version"),
        (
            lambda config: setattr(config.parameters["INTRA_OP_THREAD_COUNT"], "string_value", "2"),
            "INTRA_OP_THREAD_COUNT is of pytorch",
        ),
    ],
)
def test_what_the_server_would_take_without_a_word_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    config, folder = built(), lay_out(tmp_path)
    check_config(config, folder, [1])
    change(config)
    with pytest.raises(TritonConfigError, match=message):
        check_config(config, folder, [1])


def test_labels_and_warm_up_must_fit_their_tensors(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    (folder / "warmup" / "waveform_48000").write_bytes(b"1234")
    with pytest.raises(TritonConfigError, match="has 4 bytes, its dims make 192000"):
        check_config(built(), folder, [1])
    lay_out(tmp_path)
    (folder / "emotion_probabilities.labels.txt").write_text("anger\ncalm\n")
    with pytest.raises(TritonConfigError, match="has 2 labels, 'emotion_probabilities' has 4 values"):
        check_config(built(), folder, [1])


def test_a_field_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('name: "emotion"\nmax_batch_sise: 4')
    with pytest.raises(ValueError, match=r"config\.pbtxt is no model configuration.*max_batch_sise"):
        read_config(tmp_path / "config.pbtxt")


def changed(source: Path, target: Path, change: Any) -> Path:
    model = onnx.load(str(source))
    change(model.graph)
    onnx.save(model, str(target))
    return target


def fix_batch(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fix_batch, "'waveform' takes batches of 1 only"),
        (lambda graph: setattr(graph.output[0], "name", "happiness"), "has no tensor 'valence'"),
        (
            lambda graph: setattr(graph.input[1].type.tensor_type, "elem_type", onnx.TensorProto.INT32),
            "'num_samples' is TYPE_INT32 in the graph, TYPE_INT64",
        ),
        (
            lambda graph: setattr(graph.output[3].type.tensor_type.shape.dim[1], "dim_value", 7),
            r"has the axes \[7\] behind the batch in the graph, \[4\]",
        ),
    ],
)
def test_a_graph_that_is_not_the_configured_one_is_refused(
    tmp_path: Path, tiny_model_folder: Path, change: Any, message: str
) -> None:
    check_file(built(), tiny_model_folder / "model.onnx")
    path = changed(tiny_model_folder / "model.onnx", tmp_path / "model.onnx", change)
    with pytest.raises(TritonConfigError, match=message):
        check_file(built(), path)


def test_torchscript_takes_its_inputs_in_the_order_of_the_configuration(tiny_model_folder: Path) -> None:
    config = built(file="model.pt")
    check_file(config, tiny_model_folder / "model.pt")
    config.input.reverse()
    with pytest.raises(TritonConfigError, match=r"takes \['waveform', 'num_samples'\]"):
        check_file(config, tiny_model_folder / "model.pt")
