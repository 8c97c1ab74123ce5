"""From a graph to a model folder that is whole, checked and sealed, or to nothing at all."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from pixel_mm.exporters.model_card import model_card
from pixel_mm.exporters.parity import Arrays, Case, Parity, RunnableModel, check_parity, make_cases
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.runs import atomic_path, write_json

_VERSIONS = ("torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class Format:
    """One file of a model folder, and how to prove it.

    Attributes:
        file: its name in the folder.
        tolerance: largest difference allowed from the network.
        export: writes a graph to a path; called as `export(graph, spec, path)`.
        load: makes a runnable model of a path.
    """

    file: str
    tolerance: float
    export: Callable[[nn.Module, ModelSpec, Path], None]
    load: Callable[[Path], RunnableModel]


def publish(
    graph: nn.Module,
    spec: ModelSpec,
    output: Path,
    formats: Mapping[str, Format],
    seed: int,
    metrics: Mapping[str, float],
    overwrite: bool = False,
) -> ModelFolder:
    """Export a graph in every format, check each file against it, and put the model folder in place.

    The folder is built aside and moved once everything in it is proven, so `output` never holds half a model.

    Args:
        graph: takes the spec's inputs in order, gives the spec's outputs in order; in evaluation mode, on the CPU.
        spec: what the graph promises.
        output: folder to make.
        formats: what to write, by name.
        seed: of the inputs that parity is checked on.
        metrics: of the training run, for the model card.
        overwrite: replace a folder that is there.

    Raises:
        ModelFolderError: there is something at `output` already.
        ParityError: a file is not the network it came from.
    """
    if not overwrite and (output.is_file() or (output.is_dir() and any(output.iterdir()))):
        raise ModelFolderError(f"output={output} exists; choose another folder, or replace it with overwrite=true")
    cases = make_cases(spec, seed)
    expected = [_reference(graph, spec, case) for case in cases]
    with atomic_path(output) as aside:
        aside.mkdir()
        parities = {}
        for form in formats.values():
            path = aside / form.file
            form.export(graph, spec, path)
            parities[form.file] = check_parity(form.file, form.load(path), expected, spec, cases, form.tolerance)
        folder = ModelFolder(aside)
        write_json(folder.parity, _parity_content(parities, seed))
        folder.card.write_text(model_card(spec, parities, metrics), encoding="utf-8")
        folder.seal(spec)
    return ModelFolder(output)


def _reference(graph: nn.Module, spec: ModelSpec, case: Case) -> Arrays:
    """What the network itself gives, by name."""
    with torch.no_grad():
        outputs = graph(*(torch.from_numpy(case.inputs[tensor.name]) for tensor in spec.inputs))
    return {tensor.name: output.numpy() for tensor, output in zip(spec.outputs, outputs, strict=True)}


def _parity_content(parities: Mapping[str, Parity], seed: int) -> dict[str, object]:
    return {
        "seed": seed,
        "files": {file: asdict(parity) for file, parity in parities.items()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
    }
