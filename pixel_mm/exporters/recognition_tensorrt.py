"""TensorRT for a recogniser: engines of its float16 pair where TensorRT and a GPU are, elsewhere what is needed there.

tensorrt.json holds, for each engine, the profiles of shapes and the exact command; see `pixel_mm.exporters.tensorrt`.
"""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pixel_mm.audio import MAX_SAMPLES, MIN_SAMPLES
from pixel_mm.exporters.graph_file import read_graph
from pixel_mm.exporters.parity import ParityError
from pixel_mm.exporters.tensorrt import PLAN_FACTS, TensorRTModel, build_command, missing_here
from pixel_mm.exporters.tensorrt_lint import MATRIX, lint
from pixel_mm.inference.whisper_onnx import FILES, OnnxDecoder, open_session
from pixel_mm.runs import write_json

ENGINES = ("encoder.plan", "decoder.plan")
_MAX_BATCH = 8
_PROMPT = 4  # tokens of the longest one
_USUAL_SAMPLES = MAX_SAMPLES // 6
_USUAL_PAST = 32

Shape = Sequence[int | str]


@dataclass(frozen=True, slots=True)
class PairProfile:
    """Shapes that an engine is built for: of each input, each axis at least, usual, at most."""

    inputs: Mapping[str, Shape]
    sizes: Mapping[str, tuple[int, int, int]]

    def shapes(self) -> dict[str, str]:
        """trtexec's options for it."""
        options = {}
        for place, option in enumerate(("--minShapes", "--optShapes", "--maxShapes")):
            shapes = (
                "x".join(str(axis if isinstance(axis, int) else self.sizes[axis][place]) for axis in axes)
                for axes in self.inputs.values()
            )
            options[option] = ",".join(f"{name}:{shape}" for name, shape in zip(self.inputs, shapes, strict=True))
        return options


def export_engines(folder: Path, max_tokens: int) -> str | None:
    """Check the float16 graphs of a model folder, write tensorrt.json, and build the engines if that is possible here.

    Args:
        folder: with `encoder.fp16.onnx` and `decoder.fp16.onnx`.
        max_tokens: that the decoder has positions for.

    Returns:
        Why they were not built, and how to do it; None if they were.

    Raises:
        UnbuildableError: an operator that TensorRT does not have.
        ParityError: trtexec failed, or the float16 pair is not there.
    """
    graphs = FILES["float16"]
    if absent := [name for name in graphs if not (folder / name).is_file()]:
        raise ParityError(f"TensorRT's engines are built of {absent[0]}, which is not there; add float16 to precisions")
    nodes = [lint(read_graph(folder / name), name) for name in graphs]
    encoder, decoder = (folder / name for name in graphs)
    profiles = ([_encoder_profile(encoder)], _decoder_profiles(encoder, decoder, max_tokens))
    commands = [build_command(*names) for names in zip(graphs, ENGINES, profiles, strict=True)]
    facts = {
        engine: {
            "onnx": graph,
            "command": shlex.join(command),
            "profiles": [profile.shapes() for profile in shapes],
            "linted": {"against": MATRIX, "nodes": count},
        }
        for engine, graph, command, shapes, count in zip(ENGINES, graphs, commands, profiles, nodes, strict=True)
    }
    write_json(folder / PLAN_FACTS, facts)
    if lacking := missing_here():
        return (
            f"{' and '.join(ENGINES)} were not built: {lacking}. {' and '.join(graphs)} passed the check against "
            f"{MATRIX}; on a machine with a GPU, run in the model folder: {' && '.join(map(shlex.join, commands))}"
        )
    for command, engine in zip(commands, ENGINES, strict=True):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / engine).is_file():
            said = (done.stderr or done.stdout)[-2000:]
            raise ParityError(f"trtexec failed for {engine} with exit code {done.returncode}: {said}")
    return None


class EngineSession:
    """An engine where `OnnxDecoder` expects a session of onnxruntime, for the parity check.

    Args:
        engine: runs.
        graph: session of the graph that it was built from, which names inputs and outputs.
    """

    def __init__(self, engine: TensorRTModel, graph: Any) -> None:
        """Take both; most callers want `open_engines`."""
        self._engine = engine
        self.get_inputs, self.get_outputs = graph.get_inputs, graph.get_outputs

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in the order of their names."""
        outputs = self._engine(inputs)
        return [outputs[name] for name in names]


def open_engines(folder: Path) -> OnnxDecoder:
    """The engines of a model folder.

    Raises:
        ParityError: TensorRT cannot load one.
    """
    pairs = zip(ENGINES, FILES["float16"], strict=True)
    return OnnxDecoder(
        *(EngineSession(TensorRTModel(folder / plan), open_session(folder / onnx)) for plan, onnx in pairs)
    )


def _encoder_profile(graph: Path) -> PairProfile:
    """Every length that the model promises."""
    inputs = _inputs(graph)
    samples = (MIN_SAMPLES, _USUAL_SAMPLES, MAX_SAMPLES)
    return PairProfile(inputs, {"batch": (1, 1, _MAX_BATCH), "samples": samples})


def _decoder_profiles(encoder: Path, decoder: Path, max_tokens: int) -> list[PairProfile]:
    """The steps of a search, prompt included; and a whole transcript at once, which times its words."""
    inputs = _inputs(decoder)
    session = open_session(encoder)
    least, usual, most = (_num_frames(session, length) for length in (MIN_SAMPLES, _USUAL_SAMPLES, MAX_SAMPLES))
    shared = {"batch": (1, 1, _MAX_BATCH), "frames": (least, usual, most)}
    past = (0, min(_USUAL_PAST, max_tokens - _PROMPT), max_tokens - _PROMPT)
    whole = (1, min(_USUAL_PAST, max_tokens), max_tokens)
    return [
        PairProfile(inputs, {**shared, "tokens": (1, 1, _PROMPT), "past": past}),
        PairProfile(inputs, {**shared, "tokens": whole, "past": (0, 0, 0)}),
    ]


def _num_frames(encoder: Any, num_samples: int) -> int:
    """Frames that the decoder looks at."""
    generator = np.random.default_rng(0)
    waveform = generator.normal(0, 0.05, (1, num_samples)).astype(np.float32)
    keys = encoder.run(["speech_keys_0"], {"waveform": waveform, "num_samples": np.array([num_samples])})[0]
    return int(keys.shape[2])


def _inputs(graph: Path) -> dict[str, Shape]:
    """Axes of each input of a graph: a size, or what a free one counts."""
    free = {"waveform": ("batch", "samples"), "tokens": ("batch", "tokens")}
    found: dict[str, Shape] = {}
    for value in onnx.load(str(graph), load_external_data=False).graph.input:
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        kind = value.name.partition("_")[0]
        if value.name in free:
            found[value.name] = free[value.name]
        elif kind in ("speech", "past"):
            found[value.name] = ("batch", sizes[1], "frames" if kind == "speech" else "past", sizes[3])
        else:
            found[value.name] = ("batch",)
    return found
