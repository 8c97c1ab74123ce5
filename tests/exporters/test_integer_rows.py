"""Products of integers, row by row."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from pixel_mm.exporters.integer_rows import quantise_rows
from pixel_mm.exporters.onnx import OnnxModel

WEIGHTS = np.random.default_rng(0).normal(0, 1, (2, 40, 24)).astype(np.float32)
WEIGHTS[0, :, 3] = 0  # a column of zeros has no range


@pytest.fixture(params=[8, 16])
def quantised(tmp_path: Path, request: pytest.FixtureRequest) -> OnnxModel:
    """Two products of the same rows, one of which becomes the graph's result under its name; a third is left alone."""
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])
        for name, size in [("x", 40), ("one", 24), ("two", 24), ("plain", 24)]
    ]
    weights = [numpy_helper.from_array(values, f"w{number}") for number, values in enumerate(WEIGHTS)]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["one"], name="product_one"),
        helper.make_node("MatMul", ["x", "w1"], ["two"], name="product_two"),
        helper.make_node("MatMul", ["x", "w1"], ["plain"], name="left_alone"),
    ]
    graph = helper.make_graph(nodes, "graph", tensors[:1], tensors[1:], weights)
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    quantise_rows(model, lambda node: node.name != "left_alone", bits=request.param)
    path = tmp_path / "quantised.onnx"
    ir.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    kinds = [node.op_type for node in model.graph]
    assert (kinds.count("MatMulInteger"), kinds.count("ReduceMax"), kinds.count("MatMul")) == (request.param // 4, 1, 1)
    assert {name for name in model.graph.initializers if name.startswith("w")} == {
        "w0_int8", "w0_step", "w1_int8", "w1_step", "w1",
    }  # fmt: skip
    return OnnxModel(path)


@pytest.mark.parametrize(("quantised", "steps_of_a_row"), [(8, 127), (16, 127 * 254)], indirect=["quantised"])
def test_products_differ_by_rounding_alone(quantised: OnnxModel, steps_of_a_row: int) -> None:
    rows = np.random.default_rng(1).normal(0, 1, (50, 40)).astype(np.float32)
    rows[:, 7] *= 300  # one column dwarfs the rest
    rows[3] *= 1e-4
    rows[4] = 0
    found = quantised({"x": rows})
    for name, weights in zip(("one", "two"), WEIGHTS, strict=True):
        steps = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
        rounded = np.round(weights / steps) * steps
        expected = rows @ rounded
        limit = 40 * 127 * steps * np.abs(rows).max(axis=1, keepdims=True) / steps_of_a_row + 1e-6  # of the largest
        assert (np.abs(found[name] - expected) <= limit).all()
    np.testing.assert_array_equal(found["one"][:, 3], 0)
    np.testing.assert_array_equal(found["two"][4], 0)


def test_a_row_does_not_depend_on_the_others(quantised: OnnxModel) -> None:
    rows = np.random.default_rng(2).normal(0, 1, (30, 40)).astype(np.float32) * np.logspace(-3, 3, 30)[:, None]
    rows = rows.astype(np.float32)
    together = quantised({"x": rows})
    for number in range(len(rows)):
        alone = quantised({"x": rows[number : number + 1]})
        np.testing.assert_array_equal(alone["one"][0], together["one"][number])
        np.testing.assert_array_equal(alone["two"][0], together["two"][number])
