"""From a graph to a model folder that is whole, checked and sealed, or to nothing at all."""

import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pixel_mm.exporters.model_card import model_card
from pixel_mm.exporters.parity import (
    Arrays,
    Parity,
    RunnableModel,
    check_metrics,
    check_parity,
    make_cases,
)
from pixel_mm.exporters.run_clips import RunClips
from pixel_mm.exporters.source import Source
from pixel_mm.exporters.tensorrt import UnavailableError
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.runs import atomic_path, write_json

_VERSIONS = ("torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class Format:
    """One file of a model folder, and how to prove it.

    Attributes:
        file: its name in the folder.
        tolerance: largest difference allowed from the network, of any output.
        export: writes it; called as `export(source, path)`. May raise `UnavailableError`.
        load: makes a runnable model of a path.
        metric_tolerance: largest difference allowed from the network's CCC and UA, as a share: 0.01 is one point.
        required: whether a machine that cannot make it is a failure; else the folder is whole without it.
    """

    file: str
    tolerance: float
    export: Callable[[Source, Path], None]
    load: Callable[[Path], RunnableModel]
    metric_tolerance: float = 0.01
    required: bool = True


def publish(
    graph: nn.Module,
    spec: ModelSpec,
    output: Path,
    formats: Mapping[str, Format],
    seed: int,
    metrics: Mapping[str, float],
    overwrite: bool = False,
    clips: RunClips | None = None,
    card: Callable[..., str] = model_card,
    add: Callable[[Path], None] | None = None,
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
        clips: of the corpus; None measures no metric.
        card: writes the model card; called as `model_card` is.
        add: writes more files into the folder before it is sealed, and may change what formats wrote.

    Raises:
        ModelFolderError: there is something at `output` already, or no format.
        ParityError: a file is not the network it came from.
    """
    if not overwrite and (output.is_file() or (output.is_dir() and any(output.iterdir()))):
        raise ModelFolderError(f"output={output} exists; choose another folder, or replace it with overwrite=true")
    if not formats:
        raise ModelFolderError("formats names no format; leave it out for ONNX and TorchScript")
    with atomic_path(output) as aside:
        scratch = aside / ".scratch"
        scratch.mkdir(parents=True)
        prover = _Prover(graph, spec, seed, clips)
        missing = prover.make(Source(graph, spec, scratch, clips), formats, aside)
        shutil.rmtree(scratch)
        folder = ModelFolder(aside)
        write_json(folder.parity, {**prover.report(), "missing": missing})
        folder.card.write_text(card(spec, prover.parities, metrics, prover.metrics), encoding="utf-8")
        if add is not None:
            add(aside)
        folder.seal(spec)
    return ModelFolder(output)


class _Prover:
    """Holds what the network itself gives, and compares files with it."""

    def __init__(self, graph: nn.Module, spec: ModelSpec, seed: int, clips: RunClips | None) -> None:
        self._spec, self._seed, self._clips = spec, seed, clips
        self._cases = make_cases(spec, seed)
        network = _Network(graph, spec)
        self._expected = [network(case.inputs) for case in self._cases]
        self.metrics = clips.measure(network) if clips else {}
        self.parities: dict[str, Parity] = {}

    def make(self, source: Source, formats: Mapping[str, Format], folder: Path) -> dict[str, dict[str, object]]:
        """Write and check every format; gives why one was left out, and whether it was required, by file."""
        missing: dict[str, dict[str, object]] = {}
        for form in formats.values():
            path = folder / form.file
            try:
                form.export(source, path)
            except UnavailableError as error:
                missing[form.file] = {"why": str(error), "required": form.required}
            else:
                self.parities[form.file] = self._check(form, path)
        return missing

    def _check(self, form: Format, path: Path) -> Parity:
        model = form.load(path)
        parity = check_parity(form.file, model, self._expected, self._spec, self._cases, form.tolerance)
        if self._clips is None:
            return parity
        metrics = self._clips.measure(model)
        check_metrics(form.file, metrics, self.metrics, form.metric_tolerance)
        return replace(parity, metrics=metrics)

    def report(self) -> dict[str, object]:
        """What parity.json says."""
        return {
            "seed": self._seed,
            "network": {"part": self._clips.part if self._clips else None, "metrics": self.metrics},
            "files": {file: asdict(parity) for file, parity in self.parities.items()},
            "training_lengths_samples": _percentiles(self._clips.num_samples) if self._clips else [],
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
        }


def _percentiles(num_samples: np.ndarray) -> list[int]:
    """0th to 100th of the lengths of clips: what padding and warm-up are chosen by when the model is served."""
    if not len(num_samples):
        return []
    return [int(length) for length in np.percentile(num_samples, np.arange(101), method="nearest")]


class _Network:
    """The network as a runnable model."""

    def __init__(self, graph: nn.Module, spec: ModelSpec) -> None:
        self._graph, self._spec = graph, spec

    def declared(self) -> dict[str, tuple[str, int]]:
        """Nothing."""
        return {}

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """What the network gives, by name."""
        with torch.no_grad():
            outputs = self._graph(*(torch.from_numpy(inputs[tensor.name]) for tensor in self._spec.inputs))
        return {tensor.name: output.numpy() for tensor, output in zip(self._spec.outputs, outputs, strict=True)}
