from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pixel_mm.exporters.onnx import OnnxModel, example_inputs
from pixel_mm.exporters.parity import Arrays, Case, ParityError, check_parity, make_cases
from pixel_mm.exporters.torchscript import TorchScriptModel
from pixel_mm.model_folder import ModelSpec
from tests.tiny_emotion import tiny_graph

GRAPH, SPEC = tiny_graph()
CASES = make_cases(SPEC, seed=7)


def reference(inputs: Arrays) -> dict[str, np.ndarray]:
    with torch.no_grad():
        outputs = GRAPH(*(torch.from_numpy(array) for array in inputs.values()))
    return {name: output.numpy() for name, output in zip(GRAPH.output_names, outputs, strict=True)}


EXPECTED = [reference(case.inputs) for case in CASES]


class Stub:
    """An exported file whose outputs are the network's after `change`."""

    def __init__(self, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
        self.change = change

    def declared(self) -> dict[str, tuple[str, int]]:
        return {}

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        return self.change(reference(inputs))


def check(model: OnnxModel | TorchScriptModel | Stub, spec: ModelSpec = SPEC) -> None:
    check_parity("model.onnx", model, EXPECTED, spec, CASES, 1e-4)


def tampered(folder: Path, copy: Path, change: Callable[[onnx.ModelProto], None]) -> OnnxModel:
    model = onnx.load(folder / "model.onnx")
    change(model)
    onnx.save(model, copy / "model.onnx")
    return OnnxModel(copy / "model.onnx")


def test_cases_use_other_lengths_and_batches_than_the_export_and_reach_both_ends() -> None:
    traced, lengths = example_inputs(SPEC)
    sizes = {case.inputs["waveform"].shape[0] for case in CASES}
    seen = {int(n) for case in CASES for n in case.inputs["num_samples"]}
    assert sizes == {1, 2, 5}
    assert len(traced) not in sizes
    assert {400, 480_000} <= seen
    assert not seen & set(lengths.tolist())


def test_cases_are_seeded_and_carry_noise_beyond_the_end_of_a_clip() -> None:
    again = make_cases(SPEC, seed=7)
    for case, other in zip(CASES, again, strict=True):
        np.testing.assert_array_equal(case.inputs["waveform"], other.inputs["waveform"])
    batch = CASES[-1].inputs
    assert np.abs(batch["waveform"][0, batch["num_samples"][0] :]).max() > 0.01


def test_faithful_exports_pass(tiny_model_folder: Path) -> None:
    check(OnnxModel(tiny_model_folder / "model.onnx"))
    check(TorchScriptModel(tiny_model_folder / "model.pt"))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("num_samples", [400, 401, 5_333, 160_000, 480_000])
def test_every_length_and_batch_size_runs(tiny_model_folder: Path, num_samples: int, batch_size: int) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, (batch_size, num_samples)).astype(np.float32)
    inputs = {"waveform": waveform, "num_samples": np.full(batch_size, num_samples)}
    expected = reference(inputs)
    for model in (OnnxModel(tiny_model_folder / "model.onnx"), TorchScriptModel(tiny_model_folder / "model.pt")):
        for name, found in model(inputs).items():
            np.testing.assert_allclose(found, expected[name], atol=1e-4)


def test_a_changed_weight_is_caught_with_the_difference_of_each_output(tiny_model_folder: Path, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("scores.bias"))
        values = onnx.numpy_helper.to_array(weight) + np.array([0, 0.01, 0], dtype=np.float32)
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weight.name))

    with pytest.raises(ParityError, match=r"valence \d.*arousal 2\.\d+e-03.*emotion_probabilities.*allowed is 0.0001"):
        check(tampered(tiny_model_folder, tmp_path, change))


def test_a_static_axis_is_caught(tiny_model_folder: Path, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 36_800

    with pytest.raises(ParityError, match="does not run on 1 clips of 400 samples"):
        check(tampered(tiny_model_folder, tmp_path, change))


def test_swapped_outputs_are_caught(tiny_model_folder: Path, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        swap = {"valence": "arousal", "arousal": "valence"}
        for node in model.graph.node:
            for index, name in enumerate(node.output):
                node.output[index] = swap.get(name, name)

    with pytest.raises(ParityError, match="differs from the network"):
        check(tampered(tiny_model_folder, tmp_path, change))


def test_a_renamed_output_is_caught(tiny_model_folder: Path, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for holder in [model.graph.output[0], *model.graph.value_info]:
            if holder.name == "valence":
                holder.name = "pleasure"
        for node in model.graph.node:
            for index, name in enumerate(node.output):
                node.output[index] = "pleasure" if name == "valence" else name

    with pytest.raises(ParityError, match="has the tensors waveform, num_samples, pleasure"):
        check(tampered(tiny_model_folder, tmp_path, change))


def test_a_file_that_is_no_graph_is_caught(tmp_path: Path) -> None:
    for name, loader in (("model.onnx", OnnxModel), ("model.pt", TorchScriptModel)):
        (tmp_path / name).write_bytes(b"not a graph")
        with pytest.raises(ParityError, match=f"{name} does not load"):
            loader(tmp_path / name)


def test_nan_is_caught() -> None:
    def change(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs["arousal"][-1] = np.nan
        return outputs

    with pytest.raises(ParityError, match="'arousal' holds NaN"):
        check(Stub(change))


def test_nan_in_the_network_is_caught() -> None:
    expected = [{**outputs, "valence": outputs["valence"] * np.nan} for outputs in EXPECTED]
    with pytest.raises(ParityError, match="valence inf"):
        check_parity("model.onnx", Stub(lambda outputs: outputs), expected, SPEC, CASES, 1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda outputs: {name: outputs[name] for name in reversed(outputs)},
            "gives the outputs emotion_probabilities",
        ),
        (lambda outputs: {**outputs, "valence": outputs["valence"].astype(np.float64)}, "'valence' is float64"),
        (lambda outputs: {**outputs, "valence": outputs["valence"][:, None]}, r"'valence' has shape \(1, 1\)"),
    ],
    ids=["names", "dtypes", "shapes"],
)
def test_names_then_dtypes_then_shapes(change: Callable[..., dict[str, np.ndarray]], message: str) -> None:
    with pytest.raises(ParityError, match=message):
        check(Stub(change))


def test_a_score_that_depends_on_its_batch_is_caught() -> None:
    """The difference from the network stays below the tolerance; alone against batch it does not."""

    class Leaky(Stub):
        def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
            outputs = reference(inputs)
            shift = 0.9e-4 if len(inputs["num_samples"]) > 1 else -0.9e-4
            return {**outputs, "dominance": outputs["dominance"] + np.float32(shift)}

    with pytest.raises(ParityError, match=r"otherwise than alone.*dominance 1\.8\de-04"):
        check(Leaky(lambda outputs: outputs))


def test_alone_cuts_the_padding_off() -> None:
    case = Case("two", {"waveform": np.ones((2, 9), np.float32), "num_samples": np.array([4, 9])})
    assert case.alone(0)["waveform"].shape == (1, 4)
