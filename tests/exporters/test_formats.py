"""Every format of conf/formats on a tiny network: it is faithful, and one that is broken on purpose is caught."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from pixel_mm.exporters import graph_file
from pixel_mm.exporters.graph_file import read_graph, save_graph
from pixel_mm.exporters.low_precision import RoundedModel, lower
from pixel_mm.exporters.onnx import OnnxModel
from pixel_mm.exporters.parity import ParityError, check_metrics
from pixel_mm.exporters.publish import Format, publish
from pixel_mm.exporters.quantisation import CalibrationError
from pixel_mm.exporters.sensitivity import wide_products
from pixel_mm.exporters.source import Source
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from tests.exporters.formats import ONNX_FORMATS, FewClips, configured, files_of
from tests.tiny_emotion import tiny_graph

pytestmark = pytest.mark.slow  # torch takes ten seconds for the first ONNX file

GRAPH, SPEC = tiny_graph()
GRAPH.network.scores.bias.data += torch.tensor([1.0, -1.0, 0.0])  # so that no score can pass for another


@pytest.fixture(scope="module")
def float32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as ONNX, traced once for all tests."""
    return Source(GRAPH, SPEC, tmp_path_factory.mktemp("float32")).onnx


@pytest.fixture
def without_tracing(float32: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Source, "onnx", float32)


@pytest.fixture
def source(float32: Path, tmp_path: Path, without_tracing: None) -> Source:
    (tmp_path / "scratch").mkdir()
    return Source(GRAPH, SPEC, tmp_path / "scratch", FewClips())


def publish_one(output: Path, form: Format, **more: object) -> ModelFolder:
    return publish(GRAPH, SPEC, output, {"one": form}, seed=7, metrics={}, clips=FewClips(), **more)


def broken(form: Format, change: Callable[[ir.Model], None]) -> Format:
    """The format with every file changed after it is written."""

    def export(source: Source, path: Path) -> None:
        form.export(source, path)
        model = read_graph(path)
        change(model)
        ir.save(model, path)

    return replace(form, export=export)


def change_a_weight(model: ir.Model) -> None:
    """Of the heads, or of the convolution where those are integers: half of its numbers become others."""
    for value in model.graph.initializers.values():
        if value.const_value is not None and value.const_value.size > 40 and value.dtype.name != "INT64":
            array = value.const_value.numpy().copy()
            array.reshape(-1)[::2] = 100 if array.dtype == np.int8 else 2
            value.const_value = ir.tensor(array, name=value.name, dtype=value.dtype)


def swap_two_outputs(model: ir.Model) -> None:
    first, second = model.graph.outputs[:2]
    first.name, second.name = "swapped", first.name
    first.name = "arousal"
    model.graph.outputs[0], model.graph.outputs[1] = second, first


def fix_the_batch(model: ir.Model) -> None:
    model.graph.inputs[0].shape = ir.Shape([3, None])


def test_all_formats_are_published_with_their_parity_and_metrics(without_tracing: None, tmp_path: Path) -> None:
    folder = publish(GRAPH, SPEC, tmp_path / "model", configured(), seed=7, metrics={}, clips=FewClips())
    files = {form.file for name, form in configured().items() if name != "tensorrt"}
    assert files_of(folder.path) == files | {"tensorrt.json", "model.yaml", "parity.json", "README.md"}
    assert set(folder.open().files) == files | {"tensorrt.json", "parity.json", "README.md"}
    report = json.loads(folder.parity.read_text())
    assert set(report["files"]) == files
    assert report["network"]["part"] == "test"
    for measured in report["files"].values():
        assert max(measured["largest_difference"].values()) <= measured["tolerance"]
        assert abs(measured["metrics"]["ccc_valence"] - report["network"]["metrics"]["ccc_valence"]) < 0.05
    assert report["missing"]["model.plan"]["required"] is False
    assert "| model.int8.onnx |" in folder.card.read_text().split("The task's metrics")[1]


@pytest.mark.parametrize("name", ONNX_FORMATS)
@pytest.mark.parametrize("change", [change_a_weight, swap_two_outputs, fix_the_batch])
def test_a_broken_file_is_caught_and_nothing_published(
    without_tracing: None, name: str, change: Callable[[ir.Model], None], tmp_path: Path
) -> None:
    with pytest.raises(ParityError) as caught:
        publish_one(tmp_path / "model", broken(configured()[name], change))
    if change is not fix_the_batch:
        assert "largest difference per output: valence" in str(caught.value)
    assert files_of(tmp_path) == set()


@pytest.mark.parametrize("change", ["weight", "axis", "output"])
def test_a_broken_torchscript_file_is_caught(change: str, tmp_path: Path) -> None:
    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph = tiny_graph()[0]
            if change == "weight":
                self.graph.network.scores.weight.data[:, ::2] += 1

        def forward(self, waveform: torch.Tensor, num_samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
            fixed = waveform.reshape(3, -1) if change == "axis" else waveform
            valence, arousal, *rest = self.graph(fixed, num_samples)
            return (arousal, valence, *rest) if change == "output" else (valence, arousal, *rest)

    form = configured()["torchscript"]
    export = form.export
    bad = replace(form, export=lambda source, path: export(Source(Broken(), SPEC, source.scratch), path))
    with pytest.raises(ParityError):
        publish_one(tmp_path / "model", bad)
    assert files_of(tmp_path) == set()


def overflowing(model: ir.Model) -> None:
    """Scale a product up by a million and down again: nothing changes in float32, and float16 ends at 65504."""
    product = next(node for node in model.graph if node.op_type == "Conv")
    value = product.outputs[0]
    graph, up, down = model.graph, _scalar(model.graph, "up", 1e6), _scalar(model.graph, "down", 1e-6)
    larger = ir.Node("", "Mul", [value, up], name="larger")
    smaller = ir.Node("", "Mul", [larger.outputs[0], down], name="smaller")
    for node in (larger, smaller):
        node.outputs[0].name = f"{node.name}_value"
        node.outputs[0].type = value.type
    value.replace_all_uses_with(smaller.outputs[0])
    larger.replace_input_with(0, value)
    graph.insert_after(product, [larger, smaller])


def _scalar(graph: ir.Graph, name: str, number: float) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.float32(number), name=name))
    value.dtype, value.shape = ir.DataType.FLOAT, ir.Shape([])
    graph.register_initializer(value)
    return value


def test_an_overflow_of_float16_is_caught_where_a_cpu_alone_would_hide_it(float32: Path, tmp_path: Path) -> None:
    model = read_graph(float32)
    overflowing(model)
    save_graph(model, tmp_path / "float32.onnx")

    def publish_low(name: str) -> ModelFolder:
        form = configured()[name]
        export = form.export

        def with_overflow(source: Source, path: Path) -> None:
            source.__dict__["onnx"] = tmp_path / "float32.onnx"
            export(source, path)

        return publish_one(tmp_path / name, replace(form, export=with_overflow))

    with pytest.raises(ParityError, match=r"NaN or infinity|largest difference per output"):
        publish_low("onnx_fp16")
    publish_low("onnx_bf16")  # which has float32's range
    lowered = read_graph(tmp_path / "float32.onnx")
    lower(lowered, ir.DataType.FLOAT16)
    save_graph(lowered, tmp_path / "plain.onnx")
    inputs = {"waveform": np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32)}
    inputs["num_samples"] = np.array([16_000])
    assert np.isfinite(OnnxModel(tmp_path / "plain.onnx")(inputs)["valence"]).all()  # what hides it
    assert not np.isfinite(RoundedModel(tmp_path / "plain.onnx")(inputs)["valence"]).all()


def test_a_weight_that_float16_cannot_hold_is_named(float32: Path) -> None:
    model = read_graph(float32)
    weight = next(value for name, value in model.graph.initializers.items() if name.endswith("frames.weight"))
    weight.const_value = ir.tensor(weight.const_value.numpy() * 1e7, name=weight.name)
    with pytest.raises(ParityError, match=r"frames\.weight reaches .*bfloat16"):
        lower(model, ir.DataType.FLOAT16)


def test_modules_that_are_kept_stay_in_float32(float32: Path) -> None:
    def precisions(keep: list[str]) -> set[str]:
        model = read_graph(float32)
        lower(model, ir.DataType.FLOAT16, keep)
        return {node.outputs[0].dtype.name for node in model.graph if node.op_type in ("Conv", "Gemm", "MatMul")}

    assert precisions([]) == {"FLOAT16"}
    assert precisions(["scores", "emotions"]) == {"FLOAT16", "FLOAT"}
    assert precisions(["frames", "scores", "emotions"]) == {"FLOAT"}


@pytest.mark.parametrize("name", ["onnx_fp16", "onnx_bf16"])
def test_low_precision_files_take_and_give_float32(source: Source, name: str, tmp_path: Path) -> None:
    form = configured()[name]
    form.export(source, tmp_path / form.file)
    model = read_graph(tmp_path / form.file)
    assert {value.dtype.name for value in (*model.graph.inputs, *model.graph.outputs)} == {"FLOAT", "INT64"}
    assert not [name for name, value in model.graph.initializers.items() if not value.uses()]


def test_int8_is_calibrated_on_the_runs_clips_and_refuses_to_do_without(source: Source, tmp_path: Path) -> None:
    form = configured()["onnx_int8"]
    form.export(source, tmp_path / "model.int8.onnx")
    assert source.clips.calibrated == 5
    operators = {node.op_type for node in read_graph(tmp_path / "model.int8.onnx").graph}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    source.clips = None
    with pytest.raises(CalibrationError, match="corpus_root=DIR"):
        form.export(source, tmp_path / "again.onnx")


@pytest.mark.parametrize("name", ONNX_FORMATS)
def test_weights_beyond_the_limit_of_a_file_go_beside_it(
    source: Source, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_file, "MAX_FILE_BYTES", 1000)
    form = configured()[name]
    folder = publish_one(tmp_path / "model", form)
    assert (folder.path / f"{form.file}.data").stat().st_size > 1000
    form.load(folder.path / form.file)
    (folder.path / f"{form.file}.data").write_bytes(b"other")
    with pytest.raises(ModelFolderError, match="is not the file that was exported"):
        folder.open(form.file)


def test_products_of_inputs_with_rare_huge_values_are_found(float32: Path, tmp_path: Path) -> None:
    def found(waveform: np.ndarray) -> list[str]:
        model = read_graph(float32)
        products = [node for node in model.graph if node.op_type == "Conv"]
        clip = {"waveform": waveform.astype(np.float32)[None], "num_samples": np.array([waveform.size])}
        return wide_products(model, products, [clip], max_spread=100, scratch=tmp_path)

    noise = np.random.default_rng(0).normal(0, 0.1, 30_000)
    assert found(noise) == []
    noise[1000] = 100.0  # 30 000 samples with one spike: its square root of 30 000, 173, times their root mean square
    assert len(found(noise)) == 1


def test_the_files_name_no_folder_of_the_machine(float32: Path) -> None:
    assert b"/pixel_mm/" not in float32.read_bytes()


def test_metrics_that_moved_are_refused_unless_it_is_one_clip() -> None:
    network = {"num_clips": 20.0, "ccc_valence": 0.60, "ua": 0.80, "ua_of_one_clip": 0.05}
    check_metrics("model.onnx", {**network, "ua": 0.84}, network, tolerance=0.01)
    with pytest.raises(ParityError, match=r"ua 0\.8000 became 0\.7000"):
        check_metrics("model.onnx", {**network, "ua": 0.70}, network, tolerance=0.01)
    with pytest.raises(ParityError, match=r"ccc_valence 0\.6000 became 0\.5800"):
        check_metrics("model.onnx", {**network, "ccc_valence": 0.58}, network, tolerance=0.01)
    with pytest.raises(ParityError, match="became nan"):
        check_metrics("model.onnx", {"num_clips": 20.0, "ua": 0.8}, network, tolerance=0.01)


def test_a_file_whose_metric_moved_is_not_published(without_tracing: None, tmp_path: Path) -> None:
    class Drifting(FewClips):
        measured = 0.7

        def measure(self, model: object) -> dict[str, float]:
            self.measured -= 0.1
            return {"num_clips": 9.0, "ccc_valence": self.measured}

    with pytest.raises(ParityError, match="scores the corpus otherwise"):
        publish(GRAPH, SPEC, tmp_path / "model", {"one": configured()["onnx"]}, 7, {}, clips=Drifting())
    assert files_of(tmp_path) == set()
