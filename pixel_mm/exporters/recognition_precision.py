"""A recogniser's graphs in float16 and int8.

int8 keeps a clip's scores independent of its batch, but for rounding: what is multiplied is quantised row by row.
"""

import logging
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pixel_mm.exporters.graph_file import read_graph, save_graph, scopes_of
from pixel_mm.exporters.integer_rows import quantise_rows
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


def encoder_to_int8(source: Path, target: Path) -> None:
    """Write the encoder with int8 products, ranges measured for each frame. Standard operators only.

    The front end stays in float32, and what int8 costs most transcripts: the second product of each feed-forward block,
    whose inputs range widely.
    """
    model = read_graph(source)
    quantise_rows(model, lambda node: _is_learnt(node) and not scopes_of(node) & _SENSITIVE, bits=8)
    save_graph(model, target)


def decoder_to_int8(source: Path, target: Path) -> None:
    """Write the decoder with weights in int8.

    Inside the layers by `integer_rows`; what gives the scores by blocks of a row, with onnxruntime's own operator: its
    weights, the embedding, range too widely within a token for one step size.
    """
    model = read_graph(source)
    quantise_rows(model, lambda node: _is_learnt(node) and not node.outputs[0].is_graph_output(), bits=16)
    quantiser = quantiser_of_blocks()(
        ir.to_proto(model), bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=_INT8_PRODUCTS
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


def _is_learnt(node: ir.Node) -> bool:
    """Whether the second factor of a product is known."""
    weights = node.inputs[1]
    return weights is not None and weights.is_initializer()
