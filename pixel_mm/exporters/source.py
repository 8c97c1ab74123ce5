"""What the files of a model folder are made from: the network, its description, clips of its corpus."""

from functools import cached_property
from pathlib import Path

from torch import nn

from pixel_mm.exporters.onnx import write_onnx
from pixel_mm.exporters.run_clips import RunClips
from pixel_mm.model_folder import ModelSpec


class Source:
    """What a format is written from.

    Attributes:
        graph: takes the spec's inputs in order, gives the spec's outputs in order; in evaluation mode, on the CPU.
        spec: what the graph promises.
        scratch: folder for what formats share; its owner removes it.
        clips: of the corpus; None where it is not at hand.
    """

    def __init__(self, graph: nn.Module, spec: ModelSpec, scratch: Path, clips: RunClips | None = None) -> None:
        """Take the parts; nothing is computed before a format asks for it."""
        self.graph, self.spec, self.scratch, self.clips = graph, spec, scratch, clips

    @cached_property
    def onnx(self) -> Path:
        """The float32 graph as ONNX, which all other ONNX files are made from; tracing costs more than all of them.

        Raises:
            RuntimeError: torch cannot express the graph in ONNX.
        """
        path = self.scratch / "float32.onnx"
        write_onnx(self.graph, self.spec, path)
        return path
