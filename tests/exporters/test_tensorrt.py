"""What is known of TensorRT without it: the lint, the profiles, the command, and what happens where it is missing."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from pixel_mm.exporters import tensorrt
from pixel_mm.exporters.graph_file import read_graph
from pixel_mm.exporters.parity import ParityError
from pixel_mm.exporters.portable import make_portable
from pixel_mm.exporters.publish import publish
from pixel_mm.exporters.source import Source
from pixel_mm.exporters.tensorrt import UnavailableError, build_command, export_tensorrt, make_profiles
from pixel_mm.exporters.tensorrt_lint import UnbuildableError, lint
from tests.exporters.formats import FewClips, configured, files_of
from tests.tiny_emotion import tiny_graph

FLOAT, INT64, BOOL, INT8, UINT8 = (
    ir.DataType.FLOAT,
    ir.DataType.INT64,
    ir.DataType.BOOL,
    ir.DataType.INT8,
    ir.DataType.UINT8,
)


def value(name: str, dtype: ir.DataType = FLOAT) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(["n"]))


def constant(name: str, array: np.ndarray) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.from_numpy(array.dtype)), const_value=ir.tensor(array))


def graph_of(operator: str, *inputs: ir.Value, domain: str = "", opset: int = 20, num_outputs: int = 1) -> ir.Model:
    """One node; inputs without a constant are inputs of the graph."""
    node = ir.Node(domain, operator, inputs, num_outputs=num_outputs, name="the_node")
    for number, output in enumerate(node.outputs):
        output.name, output.type, output.shape = f"y{number}", ir.TensorType(FLOAT), ir.Shape(["n"])
    free = [value for value in inputs if value.const_value is None]
    known = [value for value in inputs if value.const_value is not None]
    graph = ir.Graph(free, [node.outputs[0]], nodes=[node], initializers=known, opset_imports={"": opset}, name="g")
    return ir.Model(graph, ir_version=10)


ZERO = np.zeros((), np.int8)
REFUSED: dict[str, tuple[Callable[[], ir.Model], str]] = {
    "stft": (lambda: graph_of("STFT", value("x")), "no operator STFT"),
    "dft": (lambda: graph_of("DFT", value("x")), "no operator DFT"),
    "integer product": (
        lambda: graph_of("MatMulInteger", value("x", INT8), value("w", INT8)),
        "no operator MatMulInteger",
    ),
    "dynamic": (lambda: graph_of("DynamicQuantizeLinear", value("x")), "no operator DynamicQuantizeLinear"),
    "quantised convolution": (lambda: graph_of("QLinearConv", value("x", INT8)), "no operator QLinearConv"),
    "other domain": (lambda: graph_of("Add", value("x"), domain="com.microsoft"), r"no operator com\.microsoft\.Add"),
    "axis": (lambda: graph_of("CumSum", value("x"), value("axis", INT64)), "CumSum needs its 2. input as a constant"),
    "k": (lambda: graph_of("TopK", value("x"), value("k", INT64)), "TopK needs its 2. input as a constant"),
    "axes": (lambda: graph_of("ReduceSum", value("x"), value("axes", INT64)), "ReduceSum needs its 2. input"),
    "truth": (lambda: graph_of("Equal", value("x", BOOL), value("z", BOOL)), "Equal does not take BOOL"),
    "clipped integers": (lambda: graph_of("Clip", value("x", INT64)), "Clip does not take INT64"),
    "unknown type": (lambda: graph_of("Relu", ir.Value(name="x")), "Relu does not take an unknown type"),
    "unsigned": (
        lambda: graph_of("QuantizeLinear", value("x"), value("s"), constant("z", np.zeros((), np.uint8))),
        "needs int8 with a zero point of 0",
    ),
    "shifted": (
        lambda: graph_of("DequantizeLinear", value("x", INT8), value("s"), constant("z", ZERO + np.int8(3))),
        "needs int8 with a zero point of 0",
    ),
    "opset": (lambda: graph_of("Relu", value("x"), opset=25), "opset 25 is above 24"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_tensorrt_cannot_build_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(UnbuildableError, match=f"TensorRT cannot build it.onnx: .*{message}"):
        lint(make(), "it.onnx")


def test_what_it_can_build_passes() -> None:
    axis = constant("axis", np.array(1))
    for model in (
        graph_of("CumSum", value("x"), axis),
        graph_of("Relu", value("x")),
        graph_of("QuantizeLinear", value("x"), value("s"), constant("z", ZERO)),
        graph_of("Where", value("c", BOOL), value("x"), value("z")),
    ):
        assert lint(model, "it.onnx") == 1


@pytest.mark.parametrize("operator", ["Equal", "Clip"])
def test_what_torch_exports_for_lengths_is_rewritten_into_what_it_can_build(operator: str) -> None:
    bounds = [constant("low", np.array(1)), constant("high", np.array(3))]
    inputs = [value("x", INT64), *bounds] if operator == "Clip" else [value("x", BOOL), value("z", BOOL)]
    model = graph_of(operator, *inputs)
    model.graph.outputs[0].type = ir.TensorType(INT64 if operator == "Clip" else BOOL)
    before = ir.to_proto(model)
    make_portable(model)
    assert lint(model, "it.onnx") == 2
    feeds = (
        {"x": np.array([0, 2, 9])} if operator == "Clip" else {"x": np.array([1, 0], bool), "z": np.array([0, 0], bool)}
    )
    results = [
        onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(["y0"], feeds)[
            0
        ]
        for proto in (before, ir.to_proto(model))
    ]
    np.testing.assert_array_equal(*results)


def test_profiles_follow_the_corpus_and_take_every_length() -> None:
    speech, everything = make_profiles(np.array([19_200, 32_000, 144_000]), usual_batch=8, max_batch=16)
    assert speech.samples == (19_200, 32_000, 144_000)
    assert speech.batch == (1, 8, 16)
    assert (everything.samples[0], everything.samples[-1]) == (400, 480_000)
    assert make_profiles(np.array([]), 8, 16) == [everything]


def test_the_command_is_what_trtexec_takes() -> None:
    profiles = make_profiles(np.array([16_000, 32_000, 48_000]), 8, 16)
    command = build_command("model.fp16.onnx", "model.plan", profiles)
    assert command[:4] == ["trtexec", "--onnx=model.fp16.onnx", "--saveEngine=model.plan", "--stronglyTyped"]
    assert command[5:9] == [
        "--profile=0",
        "--minShapes=waveform:1x16000,num_samples:1",
        "--optShapes=waveform:8x32000,num_samples:8",
        "--maxShapes=waveform:16x48000,num_samples:16",
    ]
    assert "--profile=1" in command


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.fp16.onnx of the tiny network."""
    folder = tmp_path_factory.mktemp("low")
    (folder / "scratch").mkdir()
    configured()["onnx_fp16"].export(Source(*tiny_graph(), folder / "scratch"), folder / "model.fp16.onnx")
    return folder / "model.fp16.onnx"


def exported(low: Path, folder: Path) -> None:
    (folder / "model.fp16.onnx").write_bytes(low.read_bytes())
    export_tensorrt(Source(*tiny_graph(), folder, FewClips()), folder / "model.plan", "model.fp16.onnx", 8, 16)


@pytest.mark.slow
def test_without_a_gpu_everything_but_the_engine_is_written(low: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no GPU.*trtexec --onnx=model\.fp16\.onnx") as caught:
        exported(low, tmp_path)
    assert "\n" not in str(caught.value)
    facts = json.loads((tmp_path / "tensorrt.json").read_text())
    assert facts["command"] in str(caught.value)
    assert facts["profiles"][0]["--minShapes"] == "waveform:1x16000,num_samples:1"
    assert facts["linted"]["nodes"] == len(list(read_graph(low).graph))


@pytest.mark.slow
@pytest.mark.parametrize("works", [True, False])
def test_where_it_is_the_command_is_run(
    low: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    """On a stand-in for trtexec: no machine of the tests has the real one."""
    monkeypatch.setattr(tensorrt, "missing_here", lambda: None)
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n" + ('echo "$@" > model.plan\n' if works else "echo no kernel >&2; exit 1\n"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    if works:
        exported(low, tmp_path)
        assert "--stronglyTyped" in (tmp_path / "model.plan").read_text()
    else:
        with pytest.raises(ParityError, match="exit code 1: no kernel"):
            exported(low, tmp_path)


@pytest.mark.slow
def test_a_graph_that_cannot_be_built_fails_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low: Path
) -> None:
    monkeypatch.setattr(Source, "onnx", low)  # of the right names; what is in it does not matter here

    def with_stft(source: Source, path: Path) -> None:
        ir.save(graph_of("STFT", value("x")), path)
        export_tensorrt(source, path.with_name("model.plan"), path.name, 8, 16)

    form = replace(configured()["tensorrt"], export=with_stft, required=False)
    with pytest.raises(UnbuildableError, match="STFT"):
        publish(*tiny_graph(), tmp_path / "model", {"tensorrt": form}, 7, {})
    assert files_of(tmp_path) == set()


def test_an_engine_without_its_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="export its format beside tensorrt"):
        export_tensorrt(Source(*tiny_graph(), tmp_path), tmp_path / "model.plan", "model.fp16.onnx", 8, 16)
