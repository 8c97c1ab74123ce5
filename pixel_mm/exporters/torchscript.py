"""TorchScript: the network as a file that PyTorch runs without its Python source, in Python, C++ or Triton.

PyTorch counts TorchScript as legacy, so everything that knows of it is in this file.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pixel_mm.exporters.onnx import example_inputs
from pixel_mm.exporters.parity import ParityError

if TYPE_CHECKING:
    from pixel_mm.exporters.source import Source

_DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.int64: "int64"}


def _by_name(traced: torch.jit.ScriptModule, names: tuple[str, ...]) -> torch.jit.ScriptModule:
    """Give a traced graph's results as a named tuple: names for Python, and a tuple, which is what Triton takes."""
    # TorchScript keeps types by name for as long as the process lives, so another set of fields needs another name.
    name = "_".join(("Scores", *names))
    scores: Any = NamedTuple(name, [(name, Tensor) for name in names])  # type: ignore[misc]  # made at run time

    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph = traced

        def forward(self, waveform: Tensor, num_samples: Tensor) -> scores:
            return scores(*self.graph(waveform, num_samples))

    return torch.jit.script(ByName().eval())


def export_torchscript(source: "Source", path: Path) -> None:
    """Write a graph as TorchScript that returns a named tuple of the outputs.

    Args:
        source: of the graph.
        path: file to write.

    Raises:
        RuntimeError: the graph cannot be traced.
    """
    with warnings.catch_warnings(), torch.no_grad():
        # Tracing warns of every shape that Python looks at; the parity check at other shapes finds those that matter.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(source.graph, example_inputs(source.spec), check_trace=False)
        named = _by_name(traced, tuple(tensor.name for tensor in source.spec.outputs))
        torch.jit.save(torch.jit.freeze(named), str(path))


class TorchScriptModel:
    """A TorchScript file that runs as it would be deployed, for the parity check.

    Args:
        path: the file.

    Raises:
        ParityError: torch cannot load the file.
    """

    def __init__(self, path: Path) -> None:
        """Load the file on the CPU."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._model = torch.jit.load(str(path), map_location="cpu")
        except Exception as error:  # torch raises RuntimeError, ValueError and errors of zip for a broken file
            raise ParityError(f"{path.name} does not load in torch: {error}") from error

    def declared(self) -> dict[str, tuple[str, int]]:
        """Nothing: a TorchScript file states no shapes."""
        return {}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.

        Raises:
            RuntimeError: the shapes don't fit the graph.
        """
        with torch.no_grad():
            outputs = self._model(*(torch.from_numpy(array) for array in inputs.values()))
        return {name: tensor.numpy() for name, tensor in outputs._asdict().items()}
