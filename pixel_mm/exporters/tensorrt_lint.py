"""Whether TensorRT can build a graph, as far as that is known without TensorRT: operators, types, constants.

TensorRT needs a GPU even to parse. What it takes is documented, and this holds a graph against the documentation: the
operator matrix of its ONNX parser (onnx/onnx-tensorrt, docs/operators.md, TensorRT 10.15). STFT, Attention and other
operators that only the latest releases take are left out of it.
"""

import onnx_ir as ir

from pixel_mm.exporters.parity import ParityError

MATRIX = "TensorRT 10.15"

_FLOATS = frozenset({"FLOAT", "FLOAT16", "BFLOAT16"})
_NUMBERS = _FLOATS | {"INT32", "INT64"}
_ANY = _NUMBERS | {"BOOL"}

_ON_TRUTH = "And Not Or Xor"
_ON_FLOATS = """
Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos Cosh CumSum
Dropout Einsum Elu Erf Exp Floor Gemm GlobalAveragePool GlobalMaxPool GRU GroupNormalization HardSigmoid HardSwish
InstanceNormalization IsInf LSTM LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MatMul MaxPool
MeanVarianceNormalization PRelu QuantizeLinear RNN Reciprocal Resize Round Selu Sigmoid Sin Sinh Softmax Softplus
Softsign Sqrt Tan Tanh ThresholdedRelu
"""
_ON_NUMBERS = """
Abs Add ArgMax ArgMin DepthToSpace Div Equal Gelu Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min Mod Mul
Neg Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK
"""
_ON_ANYTHING = """
Cast CastLike Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop
NonZero OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where
"""
# Types of an operator's data: its first input (the second one of Where, which begins with the condition).
_TYPES: dict[str, frozenset[str]] = {
    **dict.fromkeys(_ON_TRUTH.split(), frozenset({"BOOL"})),
    **dict.fromkeys(_ON_FLOATS.split(), _FLOATS),
    **dict.fromkeys(_ON_NUMBERS.split(), _NUMBERS),
    **dict.fromkeys(_ON_ANYTHING.split(), _ANY),
    "DequantizeLinear": frozenset({"INT8"}),
}
# Inputs that must be known when the engine is built.
_CONSTANTS = {"CumSum": 1, "TopK": 1, "Squeeze": 1, "Unsqueeze": 1}
_REDUCTIONS = "Reduce"
_MAX_OPSET = 24


class UnbuildableError(ParityError):
    """A graph that TensorRT cannot build."""


def lint(model: ir.Model, name: str) -> int:
    """Hold a graph against TensorRT's operators.

    Args:
        model: with the dtype of every value.
        name: of the file, for messages.

    Returns:
        Number of nodes looked at.

    Raises:
        UnbuildableError: lists every kind of node that cannot be built, with the first node of it.
    """
    problems: dict[str, str] = {}
    if model.opset_imports.get("", 0) > _MAX_OPSET:
        problems[f"opset {model.opset_imports['']} is above {_MAX_OPSET}"] = "the file"
    nodes = list(model.graph.all_nodes())
    for node in nodes:
        if problem := _problem(node):
            problems.setdefault(problem, str(node.name))
    if problems:
        listed = "; ".join(f"{problem} (first: {node})" for problem, node in problems.items())
        raise UnbuildableError(
            f"TensorRT cannot build {name}: {listed}. Change the network so that it exports other operators, or leave "
            f"the format out; held against the operators of {MATRIX}"
        )
    return len(nodes)


def _problem(node: ir.Node) -> str | None:
    """What TensorRT has against a node, or None."""
    operator = node.op_type
    if node.domain not in ("", "ai.onnx") or operator not in _TYPES:
        return f"it has no operator {node.domain + '.' if node.domain else ''}{operator}"
    data = node.inputs[1 if operator == "Where" else 0] if node.inputs else None
    if data is not None and (dtype := _dtype(data)) not in _TYPES[operator]:
        return f"{operator} does not take {dtype}"
    place = 1 if operator.startswith(_REDUCTIONS) else _CONSTANTS.get(operator)
    if place is not None and not _known(node, place):
        return f"{operator} needs its {place + 1}. input as a constant"
    if operator in ("QuantizeLinear", "DequantizeLinear") and not _symmetric(node):
        return f"{operator} needs int8 with a zero point of 0"
    if operator == "LayerNormalization" and any(list(value.uses()) for value in node.outputs[1:]):
        return "LayerNormalization has one output there"
    return None


def _dtype(value: ir.Value) -> str:
    return "an unknown type" if value.dtype is None else value.dtype.name


def _known(node: ir.Node, place: int) -> bool:
    value = node.inputs[place] if len(node.inputs) > place else None
    return value is None or ir.convenience.get_const_tensor(value) is not None


def _symmetric(node: ir.Node) -> bool:
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    if zero_point is None:
        return node.op_type == "DequantizeLinear"  # without one, ONNX quantises to uint8
    tensor = ir.convenience.get_const_tensor(zero_point)
    return tensor is not None and tensor.dtype == ir.DataType.INT8 and not tensor.numpy().any()
