"""ONNX in int8 for processors: weights and the inputs of learnt products become 8-bit integers.

Static: the ranges of activations come from calibration on training clips and stand in the graph (Q/DQ). Dynamic: they
are measured at each call, over the whole batch, so that a score depends a little on what shares its batch.
"""

import contextlib
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from pixel_mm.exporters.graph_file import read_graph, save_graph, scopes_of
from pixel_mm.exporters.parity import Arrays
from pixel_mm.exporters.sensitivity import wide_products

if TYPE_CHECKING:
    from pixel_mm.exporters.source import Source


class CalibrationError(ValueError):
    """No clips to calibrate on."""


def export_int8(source: "Source", path: Path, keep_float32: Collection[str], max_spread: float) -> None:
    """Write the float32 graph quantised with ranges from training clips.

    Activations are unsigned and weights signed, by output channel: the pair that processors have instructions for.

    Args:
        source: of the graph, with clips.
        path: file to write.
        keep_float32: names of modules that are not quantised, such as `log_mel`.
        max_spread: products whose input spreads wider stay in float32; see `wide_products`.

    Raises:
        CalibrationError: the run's corpus is not at hand.
    """
    if source.clips is None:
        raise CalibrationError(
            "int8 with fixed ranges is calibrated on the run's training clips, and its corpus is not at hand: "
            "say where it lies with corpus_root=DIR, or export formats=onnx_int8_dynamic"
        )
    clips = list(source.clips.calibration())
    model = read_graph(source.onnx)
    options = _options(model, keep_float32, ["MatMul", "Gemm", "Conv"])
    quantised = source.scratch / "int8.onnx"
    products = [
        node
        for node in model.graph
        if node.op_type in options["op_types_to_quantize"] and node.name not in options["nodes_to_exclude"]
    ]
    options["nodes_to_exclude"] += wide_products(model, products, clips, max_spread, source.scratch)
    with quietly():
        quantize_static(
            source.onnx,
            quantised,
            _Reader(iter(clips)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            use_external_data_format=True,
            **options,
        )
    save_graph(ir.load(quantised), path)


def export_int8_dynamic(source: "Source", path: Path, keep_float32: Collection[str]) -> None:
    """Write the float32 graph with quantised weights; what they are multiplied with is quantised at each call.

    Args:
        source: of the graph.
        path: file to write.
        keep_float32: names of modules that are not quantised.
    """
    quantised = source.scratch / "int8_dynamic.onnx"
    with quietly():
        # Without Conv: onnxruntime's integer convolution is slower than that in float32.
        options = _options(read_graph(source.onnx), keep_float32, ["MatMul", "Gemm"])
        quantize_dynamic(source.onnx, quantised, use_external_data_format=True, **options)
    save_graph(ir.load(quantised), path)


def _options(model: ir.Model, keep_float32: Collection[str], operators: list[str]) -> dict[str, Any]:
    """What both ways have in common: which nodes, and how weights are quantised."""
    kept = [
        str(node.name)
        for node in model.graph
        if node.op_type in operators and (scopes_of(node) & set(keep_float32) or not _has_weights(node))
    ]
    return {
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "op_types_to_quantize": operators,
        "nodes_to_exclude": kept,
    }


def _has_weights(node: ir.Node) -> bool:
    """Whether one factor is known; products of two activations, as in attention, are small and sensitive."""
    weights = node.inputs[1]
    return weights is not None and weights.is_initializer()


class _Reader(CalibrationDataReader):
    """Clips in the form that onnxruntime asks for them."""

    def __init__(self, clips: Iterator[Arrays]) -> None:
        self._clips = clips

    def get_next(self) -> Arrays | None:
        return next(self._clips, None)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep onnxruntime's advice about pre-processing, which it logs for everybody, off the user's screen."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
