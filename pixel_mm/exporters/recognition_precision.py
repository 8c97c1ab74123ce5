"""A recogniser's graphs in float16 and int8.

int8 keeps a transcript independent of its batch: inputs of the decoder's products are quantised in blocks of a row, and
the encoder, whose inputs are quantised as a whole, hears one clip at a time (`inference.whisper_onnx`).
"""

import logging
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxruntime.quantization import QuantType, quantize_dynamic

from pixel_mm.exporters.graph_file import SCOPES, read_graph, save_graph, scopes_of
from pixel_mm.exporters.low_precision import lower
from pixel_mm.exporters.quantisation import quietly

_BLOCK = 32
_INT8_PRODUCTS = 4  # `accuracy_level` of onnxruntime's MatMulNBits: inputs become int8, block by block
KEEP_FLOAT32 = ("log_mel",)
_SENSITIVE = {*KEEP_FLOAT32, "fc2"}


def to_float16(source: Path, target: Path) -> None:
    """Write a float32 graph in float16; the front end, inputs and outputs stay in float32.

    Raises:
        ParityError: a weight that float16 cannot hold.
    """
    model = read_graph(source)
    lower(model, ir.DataType.FLOAT16, KEEP_FLOAT32)
    RemoveUnusedNodesPass()(model)
    save_graph(model, target)


def encoder_to_int8(source: Path, target: Path, scratch: Path) -> None:
    """Write the encoder with int8 products, ranges measured at each call. Standard operators only.

    Args:
        source: the float32 graph.
        target: file to write.
        scratch: folder for what lies between.
    """
    model = read_graph(source)
    kept = [str(node.name) for node in model.graph if node.op_type == "MatMul" and _stays(node)]
    between = scratch / "quantised.onnx"
    with quietly():
        quantize_dynamic(
            source, between, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"],
            nodes_to_exclude=kept, use_external_data_format=True,
        )  # fmt: skip
    save_graph(ir.load(between), target)


def decoder_to_int8(source: Path, target: Path) -> None:
    """Write the decoder with weights and inputs of its products in int8, by blocks; onnxruntime's own operator."""
    quantiser = quantiser_of_blocks()(
        onnx.load(source), bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=_INT8_PRODUCTS
    )
    with quietly():
        quantiser.process()
    save_graph(ir.from_proto(quantiser.model.model), target)


def quantiser_of_blocks() -> Any:
    """onnxruntime's class. Its module turns on everybody's messages when it is imported; that is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    root.handlers[:] = handlers
    root.setLevel(level)
    return MatMulNBitsQuantizer


def _stays(node: ir.Node) -> bool:
    """Whether a product of the encoder stays in float32.

    Those are the front end's, those of two activations, as in attention, and what int8 costs most transcripts: the
    second product of each feed-forward block, whose inputs range widely, and what the decoder looks at.
    """
    weights = node.inputs[1]
    of_two = weights is None or not weights.is_initializer()
    return of_two or bool(scopes_of(node) & _SENSITIVE) or "encoder_attn" in node.metadata_props.get(SCOPES, "")
