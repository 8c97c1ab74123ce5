"""Which products of a network 8 bits are too few for.

Some layers of speech encoders give a few values that are hundreds of times larger than the rest (Whisper base: those
before the second matrix of one feed-forward block). A range that holds them leaves the rest a handful of steps.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from pixel_mm.exporters.graph_file import save_graph
from pixel_mm.exporters.onnx import OnnxModel
from pixel_mm.exporters.parity import Arrays


def wide_products(
    model: ir.Model, products: Sequence[ir.Node], clips: Iterable[Arrays], max_spread: float, scratch: Path
) -> list[str]:
    """Names of the products whose input spreads too wide.

    Args:
        model: float32 graph; left with more outputs.
        products: nodes of it whose first input would be quantised.
        clips: what to look at.
        max_spread: range of all values, divided by their root mean square, that 8 bits are given to. Rounding to 255
            steps of a range that wide adds noise of `max_spread` / 883 of the root mean square.
        scratch: folder for a file.
    """
    inputs = {value for node in products if (value := node.inputs[0]) is not None and not value.is_graph_input()}
    for value in inputs - set(model.graph.outputs):
        model.graph.outputs.append(value)
    path = scratch / "watched.onnx"
    save_graph(model, path)
    spreads = _spreads(OnnxModel(path), clips)
    return [str(node.name) for node in products if spreads.get(str(_input_name(node)), 0.0) > max_spread]


def _spreads(model: OnnxModel, clips: Iterable[Arrays]) -> dict[str, float]:
    """Range over root mean square of every output, over all clips."""
    lowest: dict[str, float] = {}
    highest: dict[str, float] = {}
    squares: dict[str, list[float]] = {}
    for clip in clips:
        for name, array in model(clip).items():
            lowest[name] = min(lowest.get(name, 0.0), float(array.min()))
            highest[name] = max(highest.get(name, 0.0), float(array.max()))
            squares.setdefault(name, []).append(float(np.square(array, dtype=np.float64).mean()))
    return {name: (highest[name] - lowest[name]) / max(np.sqrt(np.mean(squares[name])), 1e-12) for name in lowest}


def _input_name(node: ir.Node) -> str | None:
    value = node.inputs[0]
    return None if value is None else value.name
