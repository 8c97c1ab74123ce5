"""ONNX in float16 and bfloat16: the precision stands in the graph, as a strongly typed TensorRT wants it.

Learnt products and what follows them run in the lower precision; the front end, the pooling, the heads and sums that
need the range (variances, powers, roots) stay in float32, as do all inputs and outputs.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass
from onnxscript.version_converter import convert_version

from pixel_mm.exporters.graph_file import read_graph, save_graph, scopes_of
from pixel_mm.exporters.onnx import OnnxModel
from pixel_mm.exporters.parity import ParityError

if TYPE_CHECKING:
    from pixel_mm.exporters.source import Source

DTYPES = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}

_BFLOAT16_OPSET = 22  # the first whose convolution takes it
_PRODUCTS = frozenset({"MatMul", "Conv", "Gemm"})
# What runs in the precision of its inputs. Others, such as Pow, Sqrt and ReduceMean, go back to float32.
_FOLLOWING = """
Add Sub Mul Gelu Erf Relu Tanh Sigmoid LayerNormalization Softmax Where IsNaN Transpose Reshape Concat Slice Split
Squeeze Unsqueeze Expand Pad Gather Flatten Identity
"""
_FOLLOWERS = frozenset(_FOLLOWING.split())
_BLIND = frozenset({"Shape", "Size"})  # look at no value


def export_low_precision(source: "Source", path: Path, dtype: str, keep_float32: Collection[str]) -> None:
    """Write the float32 graph in a lower precision.

    Args:
        source: of the float32 graph.
        path: file to write.
        dtype: "float16" or "bfloat16".
        keep_float32: names of modules that stay in float32, such as `log_mel`.

    Raises:
        ParityError: a weight that the lower precision cannot hold.
        KeyError: another dtype.
    """
    model = read_graph(source.onnx)
    if dtype == "bfloat16":
        convert_version(model, target_version=_BFLOAT16_OPSET)
        ShapeInferencePass()(model)
    lower(model, DTYPES[dtype], keep_float32)
    RemoveUnusedNodesPass()(model)  # the float32 weights
    save_graph(model, path)


def lower(model: ir.Model, dtype: ir.DataType, keep_float32: Collection[str] = ()) -> None:
    """Move a float32 graph to a lower precision, in place.

    Args:
        model: with the dtype of every value.
        dtype: float16 or bfloat16.
        keep_float32: see `export_low_precision`.

    Raises:
        ParityError: a weight that the lower precision cannot hold.
    """
    casts = _Casts(model.graph, dtype)
    for node in list(model.graph):
        lowered = any(value is not None and value.dtype == dtype for value in node.inputs)
        kept = not scopes_of(node).isdisjoint(keep_float32)
        wanted = not kept and (node.op_type in _PRODUCTS or (lowered and node.op_type in _FOLLOWERS))
        if node.op_type in _BLIND or not (wanted or lowered):
            continue
        for place, value in enumerate(node.inputs):
            if value is not None and value.dtype == (ir.DataType.FLOAT if wanted else dtype):
                node.replace_input_with(place, casts.low(value, node) if wanted else casts.full(value, node))
        for value in node.outputs if wanted else ():
            if value.dtype == ir.DataType.FLOAT:
                value.dtype = dtype
    casts.restore_outputs()


class _Casts:
    """Values in the other precision, each made once."""

    def __init__(self, graph: ir.Graph, dtype: ir.DataType) -> None:
        self._graph, self._dtype = graph, dtype
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def low(self, value: ir.Value, before: ir.Node) -> ir.Value:
        return self._cast(value, self._dtype, before)

    def full(self, value: ir.Value, before: ir.Node) -> ir.Value:
        return self._cast(value, ir.DataType.FLOAT, before)

    def restore_outputs(self) -> None:
        """Outputs of the graph are float32 under the name that they had."""
        for place, value in enumerate(self._graph.outputs):
            if value.dtype == self._dtype:
                node = _cast_node(value, ir.DataType.FLOAT)
                self._graph.append(node)
                node.outputs[0].name, value.name = value.name, f"{value.name}_low"
                node.outputs[0].shape = value.shape
                self._graph.outputs[place] = node.outputs[0]

    def _cast(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        key = (value, dtype)
        if key not in self._made:
            self._made[key] = self._constant(value) if value.is_initializer() else self._node(value, dtype, before)
        return self._made[key]

    def _node(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        node = _cast_node(value, dtype)
        self._graph.insert_before(before, node)
        return node.outputs[0]

    def _constant(self, value: ir.Value) -> ir.Value:
        assert value.const_value is not None
        name = f"{value.name}_{self._dtype.name.lower()}"
        constant = ir.tensor(_rounded(value.const_value.numpy(), self._dtype, value.name), name=name)
        low = ir.Value(name=name, const_value=constant)
        low.dtype, low.shape = self._dtype, value.shape
        self._graph.register_initializer(low)
        return low


def _cast_node(value: ir.Value, dtype: ir.DataType) -> ir.Node:
    node = ir.Node(
        "", "Cast", [value], [ir.AttrInt64("to", int(dtype))], name=f"cast_{value.name}_{dtype.name.lower()}"
    )
    node.outputs[0].name = f"{value.name}_{dtype.name.lower()}"
    node.outputs[0].dtype, node.outputs[0].shape = dtype, value.shape
    return node


def _rounded(array: np.ndarray, dtype: ir.DataType, name: str | None) -> np.ndarray:
    """A constant in the lower precision. A single number that does not fit is a bound or a mask, and is cut to fit."""
    target = ml_dtypes.bfloat16 if dtype == ir.DataType.BFLOAT16 else np.float16
    largest = float(ml_dtypes.finfo(target).max)
    if array.size == 1:
        finite = np.isfinite(array)
        return np.where(finite, np.clip(array, -largest, largest), array).astype(target)
    if np.abs(array).max(initial=0.0) > largest:
        raise ParityError(
            f"the weight {name} reaches {np.abs(array).max():.1e} and {np.dtype(target).name} ends at {largest:.1e}; "
            "use the format with bfloat16, or add its module to the format's keep_float32"
        )
    return array.astype(target)


class RoundedModel:
    """A low-precision ONNX file that runs with every value rounded as a GPU would round it, for the parity check.

    On a CPU onnxruntime has no bfloat16 kernels, and computes float16 in float32 without rounding in between, so that
    an overflow would not be seen. Here each node runs in float32 and what it gives is rounded to the type that the file
    states, which is what hardware with float32 accumulators does.

    Args:
        path: the file.

    Raises:
        ParityError: the file is no graph that runs.
    """

    def __init__(self, path: Path) -> None:
        """Load the file and put the rounding in."""
        try:
            model = read_graph(path)
        except Exception as error:  # of protobuf, onnx and onnx_ir, without a common base
            raise ParityError(f"{path.name} does not load: {error}") from error
        round_values(model)
        twin = path.with_name(f".rounded-{path.name}")
        try:
            ir.save(model, twin)
            self._model = OnnxModel(twin)
        finally:
            twin.unlink(missing_ok=True)
        self.declared = self._model.declared

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.

        Raises:
            Exception: onnxruntime refuses the shapes.
        """
        return self._model(inputs)


def round_values(model: ir.Model) -> None:
    """Let every node of a low-precision graph run in float32, its results rounded to the dtype they had; in place."""
    low = set(DTYPES.values())
    for value in list(model.graph.initializers.values()):
        if value.dtype in low:
            assert value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
            value.dtype = ir.DataType.FLOAT
    for node in list(model.graph):
        for value in node.outputs:
            if value.dtype not in low:
                continue
            dtype = value.dtype
            back = _cast_node(value, ir.DataType.FLOAT)
            if node.op_type == "Cast":
                added = [back]
            else:
                value.dtype = ir.DataType.FLOAT
                rounding = _cast_node(value, dtype)
                back = _cast_node(rounding.outputs[0], ir.DataType.FLOAT)
                added = [rounding, back]
            value.replace_all_uses_with(back.outputs[0])
            added[0].replace_input_with(0, value)
            model.graph.insert_after(node, added)
