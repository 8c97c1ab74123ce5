"""TensorRT: an engine where TensorRT and a GPU are, and everywhere what is needed to build it there.

tensorrt.json holds the profiles of shapes and the exact command. The graph is the float16 or bfloat16 ONNX file of the
same folder: TensorRT 11 takes precision from the graph alone, and 10 does so with --stronglyTyped.
"""

import importlib.util
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from pixel_mm.audio import MAX_SAMPLES, MIN_SAMPLES
from pixel_mm.exporters.graph_file import read_graph
from pixel_mm.exporters.parity import ParityError
from pixel_mm.exporters.tensorrt_lint import MATRIX, lint
from pixel_mm.runs import write_json

if TYPE_CHECKING:
    from pixel_mm.exporters.source import Source

PLAN_FACTS = "tensorrt.json"
UNAVAILABLE = 3
"""Exit code where a file that was asked for cannot be made on this machine; the folder holds all others."""
_DTYPES = {"FLOAT": torch.float32, "HALF": torch.float16, "BF16": torch.bfloat16, "INT64": torch.int64}


class Shapes(Protocol):
    """Shapes that an engine is built for."""

    def shapes(self) -> dict[str, str]:
        """trtexec's options for them."""


class UnavailableError(ValueError):
    """A file that cannot be made on this machine; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes that an engine is built for: batch size and samples, each at least, usual, at most."""

    batch: tuple[int, int, int]
    samples: tuple[int, int, int]

    def shapes(self) -> dict[str, str]:
        """trtexec's options for it."""
        names = ("--minShapes", "--optShapes", "--maxShapes")
        pairs = zip(names, zip(self.batch, self.samples, strict=True), strict=True)
        return {name: f"waveform:{batch}x{samples},num_samples:{batch}" for name, (batch, samples) in pairs}


def make_profiles(num_samples: np.ndarray, usual_batch: int, max_batch: int) -> list[Profile]:
    """One profile tuned to the corpus's lengths, and one that takes every length that the model promises.

    Args:
        num_samples: lengths of the corpus's clips, 16 kHz; none gives the second profile alone.
        usual_batch: batch size that the first is tuned for.
        max_batch: largest batch of both.
    """
    everything = Profile((1, 1, max_batch), (MIN_SAMPLES, 10 * MAX_SAMPLES // 30, MAX_SAMPLES))
    if not len(num_samples):
        return [everything]
    lengths = (int(num_samples.min()), int(np.median(num_samples)), int(num_samples.max()))
    return [Profile((1, usual_batch, max_batch), lengths), everything]


def build_command(onnx: str, plan: str, profiles: Sequence[Shapes]) -> list[str]:
    """The trtexec command that makes an engine of an ONNX file; paths are taken from the folder it is run in."""
    command = ["trtexec", f"--onnx={onnx}", f"--saveEngine={plan}", "--stronglyTyped", "--skipInference"]
    for number, profile in enumerate(profiles):
        command += [f"--profile={number}", *(f"{option}={shape}" for option, shape in profile.shapes().items())]
    return command


def export_tensorrt(source: "Source", path: Path, onnx: str, usual_batch: int, max_batch: int) -> None:
    """Check the graph, write tensorrt.json, and build the engine if that is possible here.

    Args:
        source: with clips for the profiles, or without.
        path: engine to write.
        onnx: name of the ONNX file in the same folder.
        usual_batch: see `make_profiles`.
        max_batch: see `make_profiles`.

    Raises:
        UnbuildableError: an operator that TensorRT does not have.
        UnavailableError: TensorRT or a GPU is missing here. All else is written.
        ParityError: trtexec failed, or the ONNX file is not among the formats.
    """
    graph = path.with_name(onnx)
    if not graph.is_file():
        raise ParityError(f"{path.name} is built from {onnx}, which is not there; export its format beside tensorrt")
    num_nodes = lint(read_graph(graph), onnx)
    profiles = make_profiles(source.clips.num_samples if source.clips else np.array([]), usual_batch, max_batch)
    command = build_command(onnx, path.name, profiles)
    facts = {"onnx": onnx, "command": shlex.join(command), "profiles": [profile.shapes() for profile in profiles]}
    write_json(path.with_name(PLAN_FACTS), {**facts, "linted": {"against": MATRIX, "nodes": num_nodes}})
    if lacking := missing_here():
        raise UnavailableError(
            f"{path.name} was not built: {lacking}. {onnx} passed the check against {MATRIX}; on a machine with a GPU, "
            f"run in the model folder: {shlex.join(command)}"
        )
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode or not path.is_file():
        raise ParityError(f"trtexec failed with exit code {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")


def missing_here() -> str | None:
    """What is missing on this machine to build and run an engine, or None."""
    if not torch.cuda.is_available():
        return "there is no GPU that torch can use"
    if importlib.util.find_spec("tensorrt") is None:
        return "the Python package tensorrt is not installed"
    return None if shutil.which("trtexec") else "trtexec is not on the PATH"


class TensorRTModel:
    """An engine that runs on the first GPU, for the parity check.

    Args:
        path: the engine.

    Raises:
        ParityError: TensorRT cannot load the file.
    """

    def __init__(self, path: Path) -> None:
        """Load the engine."""
        import tensorrt

        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._engine: Any = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise ParityError(f"{path.name} does not load in TensorRT {tensorrt.__version__}")
        self._context: Any = self._engine.create_execution_context()
        self._names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]

    def declared(self) -> dict[str, tuple[str, int]]:
        """Dtype and rank that the engine states for each input and output."""
        return {name: (self._dtype(name), len(self._engine.get_tensor_shape(name))) for name in self._names}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.

        Raises:
            ParityError: no profile takes the shapes, or the engine fails.
        """
        stream = torch.cuda.current_stream().cuda_stream
        self._choose_profile(inputs, stream)
        tensors = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
        for name, tensor in tensors.items():
            self._context.set_input_shape(name, tuple(tensor.shape))
        outputs = [name for name in self._names if name not in tensors]
        for name in outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            tensors[name] = torch.empty(shape, dtype=_DTYPES[self._engine.get_tensor_dtype(name).name], device="cuda")
        for name, tensor in tensors.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(stream):
            raise ParityError("the engine failed")
        torch.cuda.synchronize()
        return {name: tensors[name].cpu().numpy() for name in outputs}

    def _choose_profile(self, inputs: Mapping[str, np.ndarray], stream: int) -> None:
        for number in range(self._engine.num_optimization_profiles):
            bounds = {name: self._engine.get_tensor_profile_shape(name, number) for name in inputs}
            if all(_within(array.shape, *bounds[name]) for name, array in inputs.items()):
                self._context.set_optimization_profile_async(number, stream)
                return
        raise ParityError(f"no profile of the engine takes {[array.shape for array in inputs.values()]}")

    def _dtype(self, name: str) -> str:
        return str(_DTYPES[self._engine.get_tensor_dtype(name).name]).removeprefix("torch.")


def _within(shape: tuple[int, ...], smallest: tuple[int, ...], _: object, largest: tuple[int, ...]) -> bool:
    return all(low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True))
