"""Products of rows in 8 or 16-bit integers and learnt weights in 8-bit ones, by products of 8 bits. Standard operators.

A row is a frame or a token, with a range of its own. Its result does not depend on what else is multiplied, to the last
bit: sums of integers are exact in any order. But rounding to 8 bits makes a difference in the last bit of what came
before, as floating point has it from batch to batch, a thousand times larger; rounding to 16 does not.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

_STEPS = 127
_MIDDLE = 128  # unsigned inputs and signed weights: the pair that processors have instructions for


def quantise_rows(model: ir.Model, chosen: Callable[[ir.Node], bool], bits: Literal[8, 16]) -> None:
    """Replace products by those of integers, in place.

    Args:
        model: with the dtype of every value.
        chosen: whether a product becomes one of integers; its second factor is learnt.
        bits: of the rows; 16 take two products.
    """
    graph = model.graph
    rewriter = _Rewriter(graph, bits)
    for node in [node for node in graph if node.op_type == "MatMul" and chosen(node)]:
        rewriter.replace(node)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


class _Rewriter:
    """Adds nodes to a graph; what products share, inputs and weights, is quantised once."""

    def __init__(self, graph: ir.Graph, bits: int) -> None:
        self._graph, self._bits = graph, bits
        self._inputs: dict[ir.Value, tuple[ir.Value, ir.Value | None, ir.Value]] = {}
        self._weights: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        self._number = 0
        self._axis = self._constant("rows_axis", np.array([-1], dtype=np.int64))
        self._steps = self._constant("rows_steps", np.float32(_STEPS))
        self._smallest = self._constant("rows_smallest", np.float32(1e-9))
        self._one = self._constant("rows_one", np.float32(1))
        self._middle = self._constant("rows_middle", np.uint8(_MIDDLE))
        # What rounding leaves is at most half a step; it is given the same steps again.
        self._finer = self._constant("rows_finer", np.float32(2 * _STEPS))
        self._coarser = self._constant("rows_coarser", np.float32(1 / (2 * _STEPS)))

    def replace(self, node: ir.Node) -> None:
        """Put integers in the place of a product."""
        made: list[ir.Node] = []
        source, weights = node.inputs
        assert source is not None
        assert weights is not None
        if source not in self._inputs:
            self._inputs[source] = self._quantise(made, node, source)
        if weights not in self._weights:
            self._weights[weights] = self._quantised(weights)
        (coarse, fine, largest), (integers, scale) = self._inputs[source], self._weights[weights]
        total = self._product(made, node, coarse, integers)
        if fine is not None:
            rest = self._add(made, node, "Mul", self._product(made, node, fine, integers), self._coarser)
            total = self._add(made, node, "Add", total, rest)
        result = self._add(made, node, "Mul", self._add(made, node, "Mul", total, largest), scale)
        self._graph.insert_before(node, made)
        name, old = str(node.outputs[0].name), node.outputs[0]
        result.type, result.shape = old.type, old.shape
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        self._graph.remove(node, safe=True)
        result.name = name

    def _quantise(
        self, made: list[ir.Node], node: ir.Node, source: ir.Value
    ) -> tuple[ir.Value, ir.Value | None, ir.Value]:
        """Rows as uint8 around the middle; what that leaves, the same way, for 16 bits; the largest of each row."""
        sizes = self._add(made, node, "Abs", source)
        largest = self._add(made, node, "ReduceMax", sizes, self._axis, keepdims=1)
        largest = self._add(made, node, "Max", largest, self._smallest)
        scaled = self._add(made, node, "Mul", source, self._add(made, node, "Div", self._steps, largest))
        coarse = self._add(made, node, "QuantizeLinear", scaled, self._one, self._middle)
        if self._bits == 8:
            return coarse, None, largest
        rounded = self._add(made, node, "DequantizeLinear", coarse, self._one, self._middle)
        left = self._add(made, node, "Mul", self._add(made, node, "Sub", scaled, rounded), self._finer)
        return coarse, self._add(made, node, "QuantizeLinear", left, self._one, self._middle), largest

    def _product(self, made: list[ir.Node], node: ir.Node, rows: ir.Value, integers: ir.Value) -> ir.Value:
        product = self._add(made, node, "MatMulInteger", rows, integers, self._middle)
        return self._add(made, node, "Cast", product, to=ir.DataType.FLOAT.value)

    def _quantised(self, weights: ir.Value) -> tuple[ir.Value, ir.Value]:
        """int8 [D, N], and float32 [N]: what a step of a column is worth, by a step of a row."""
        assert weights.const_value is not None
        values = weights.const_value.numpy()
        steps = np.maximum(np.abs(values).max(axis=0), 1e-9) / _STEPS
        integers = np.round(values / steps).astype(np.int8)
        return (
            self._constant(f"{weights.name}_int8", integers),
            self._constant(f"{weights.name}_step", (steps / _STEPS).astype(np.float32)),
        )

    def _add(
        self, made: list[ir.Node], place: ir.Node, operator: str, *inputs: ir.Value, **attributes: int
    ) -> ir.Value:
        self._number += 1
        name = f"{place.name}_rows_{self._number}"
        node = ir.node(operator, inputs, attributes, name=name, metadata_props=dict(place.metadata_props))
        node.outputs[0].name = name
        made.append(node)
        return node.outputs[0]

    def _constant(self, name: str, values: NDArray | np.generic) -> ir.Value:
        tensor = ir.tensor(values, name=name)
        value = ir.Value(name=name, const_value=tensor)
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(values.shape)
        self._graph.register_initializer(value)
        return value
