"""ONNX in float32: a portable graph for onnxruntime, and for Triton's onnxruntime backend.

The file holds standard operators only. onnxruntime fuses them for the machine it runs on when it loads the graph (tens
of milliseconds), so that no file is tied to one execution provider.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch
from onnx_ir.passes.common import ShapeInferencePass
from torch import nn

from pixel_mm.exporters.graph_file import read_graph, save_graph
from pixel_mm.exporters.parity import ParityError
from pixel_mm.exporters.portable import make_portable
from pixel_mm.model_folder import ModelSpec, TensorSpec

if TYPE_CHECKING:
    from pixel_mm.exporters.source import Source

OPSET_VERSION = 20

_ONNX_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}


def export_onnx(source: "Source", path: Path) -> None:
    """Write the float32 graph.

    Args:
        source: of the graph.
        path: file to write.

    Raises:
        RuntimeError: torch cannot express the graph in ONNX.
    """
    save_graph(read_graph(source.onnx), path)


def write_onnx(graph: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Write a network as ONNX, free in batch size and length.

    Args:
        graph: takes waveform float32 [B, T] and num_samples int64 [B]; results in the order of `spec.outputs`.
        spec: names and axes of inputs and outputs.
        path: file to write.

    Raises:
        RuntimeError: torch cannot express the graph in ONNX.
    """
    # Without gradients: torch picks attention kernels by them, and their layouts must not change between its passes.
    with quietly(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            example_inputs(spec),
            dynamo=True,
            opset_version=OPSET_VERSION,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_shapes=tuple(_dynamic_axes(tensor) for tensor in spec.inputs),
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch.onnx.export gave no program for {path.name}")
    ShapeInferencePass()(program.model)
    make_portable(program.model)
    save_graph(program.model, path)


class OnnxModel:
    """An ONNX file that runs as it would be deployed, for the parity check.

    Args:
        path: the file.
        num_threads: of onnxruntime; 0 leaves it to onnxruntime.

    Raises:
        ParityError: onnxruntime cannot load the file.
    """

    def __init__(self, path: Path, num_threads: int = 0) -> None:
        """Load the file on the CPU."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            raise ParityError(f"{path.name} does not load in onnxruntime: {error}") from error

    def declared(self) -> dict[str, tuple[str, int]]:
        """Dtype and rank that the file states for each input and output, in the file's order."""
        tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
        return {tensor.name: (_ONNX_DTYPES.get(tensor.type, tensor.type), len(tensor.shape)) for tensor in tensors}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.

        Raises:
            Exception: onnxruntime refuses the shapes.
        """
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))


def example_inputs(spec: ModelSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clips of noise of different lengths, the longest 2.3 s.

    More than one, since a batch of 1 would become a constant in the graph (pytorch#157621); no length or batch size of
    these appears in the parity check.
    """
    num_samples = torch.tensor([int(share * spec.sample_rate_hz) for share in (2.3, 1.1, 0.7)])
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(len(num_samples), int(num_samples.max()), generator=generator)
    return waveform, num_samples


def _dynamic_axes(tensor: TensorSpec) -> dict[int, torch.export.Dim]:
    return {index: torch.export.Dim.DYNAMIC for index, axis in enumerate(tensor.axes) if isinstance(axis, str)}


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes off the user's screen; errors are raised all the same."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
