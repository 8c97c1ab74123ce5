"""Proof that an exported file is the network it came from, at lengths and batch sizes not used for the export.

Compared in this order: names, dtypes, shapes, NaN, values; then each clip of a batch with the same clip alone. The
first kind of difference raises; those of value are all measured before, so that the error tells the largest per output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pixel_mm.model_folder import ModelSpec

Arrays = Mapping[str, np.ndarray]

# Seconds of each clip of each batch: both ends of what a model takes, ends of frames and odd places between. The
# batches are of 1, 2 and 5 clips, the exporters trace with 3.
CASE_SECONDS = ((0.025,), (30.0,), (3.0011,), (1.37, 11.3), (0.025, 0.0451, 1.0, 2.50019, 4.0))


class ParityError(ValueError):
    """An exported file that is not the network it came from; nothing may be published."""


class RunnableModel(Protocol):
    """An exported file that runs as it would be deployed."""

    def declared(self) -> dict[str, tuple[str, int]]:
        """Dtype and rank by name of all inputs then outputs as the file states them; empty if it states nothing."""

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""


@dataclass(frozen=True, slots=True)
class Case:
    """One batch to compare on.

    Attributes:
        name: batch size and lengths, for messages.
        inputs: waveform float32 [B, T] and num_samples int64 [B] by name. Beyond a clip's end there is noise.
    """

    name: str
    inputs: Arrays

    def alone(self, clip: int) -> Arrays:
        """The same clip as a batch of one, without padding."""
        num_samples = self.inputs["num_samples"][clip : clip + 1]
        return {"waveform": self.inputs["waveform"][clip : clip + 1, : num_samples[0]], "num_samples": num_samples}


@dataclass(frozen=True, slots=True)
class Parity:
    """What was measured on one exported file.

    Attributes:
        cases: names of the batches compared.
        tolerance: largest difference that was allowed.
        largest_difference: from the network, by output.
        largest_padding_difference: between a clip alone and in a batch, both in the exported file, by output.
        metrics: of the task, measured on the exported file; empty where there were no clips.
    """

    cases: tuple[str, ...]
    tolerance: float
    largest_difference: Mapping[str, float]
    largest_padding_difference: Mapping[str, float]
    metrics: Mapping[str, float] = field(default_factory=dict)


def make_cases(spec: ModelSpec, seed: int) -> list[Case]:
    """Seeded batches that look like speech to a front end: harmonics with a moving pitch and level, and noise.

    Args:
        spec: for the sample rate and the lengths allowed.
        seed: of everything random.
    """
    generator = np.random.default_rng(seed)
    cases = []
    for seconds in CASE_SECONDS:
        lengths = [round(min(max(s, spec.min_seconds), spec.max_seconds) * spec.sample_rate_hz) for s in seconds]
        waveform = generator.normal(0.0, 0.05, (len(lengths), max(lengths))).astype(np.float32)
        for row, length in zip(waveform, lengths, strict=True):
            row[:length] = _voice(generator, length, spec.sample_rate_hz)
        inputs: Arrays = {"waveform": waveform, "num_samples": np.array(lengths, dtype=np.int64)}
        cases.append(Case(f"{len(lengths)} clips of {', '.join(map(str, lengths))} samples", inputs))
    return cases


def check_parity(
    label: str,
    model: RunnableModel,
    expected: Sequence[Arrays],
    spec: ModelSpec,
    cases: Sequence[Case],
    tolerance: float,
) -> Parity:
    """Compare an exported file with the network it came from.

    Args:
        label: the file's name, for messages.
        model: the exported file.
        expected: outputs of the network by name, one per case.
        spec: what the file promises.
        cases: see `make_cases`.
        tolerance: largest difference allowed between two values of an output.

    Raises:
        ParityError: any difference in names, dtypes or shapes, any NaN, or a value further away than `tolerance`.
    """
    _check_declared(label, model.declared(), spec)
    differences = {tensor.name: 0.0 for tensor in spec.outputs}
    padding = dict(differences)
    for case, reference in zip(cases, expected, strict=True):
        found = _run(label, model, spec, case.name, case.inputs)
        _check_lengths(label, found, reference, case.name)
        _widen(differences, found, reference)
        for clip in range(len(case.inputs["num_samples"]) if len(case.inputs["num_samples"]) > 1 else 0):
            alone = _run(label, model, spec, f"clip {clip + 1} alone of {case.name}", case.alone(clip))
            _widen(padding, {name: _own_part(array, clip, alone[name]) for name, array in found.items()}, alone)
    _check_values(f"{label} differs from the network", differences, tolerance)
    _check_values(f"{label} scores a clip in a batch otherwise than alone", padding, tolerance)
    return Parity(tuple(case.name for case in cases), tolerance, differences, padding)


def check_metrics(label: str, found: Mapping[str, float], expected: Mapping[str, float], tolerance: float) -> None:
    """Compare the task's metrics of an exported file with the network's.

    Args:
        label: the file's name, for messages.
        found: CCC and UA of the file by name.
        expected: of the network.
        tolerance: largest difference allowed. One clip that is called otherwise is always allowed: on a handful of
            clips it is worth many points, and a near tie says nothing about the file.

    Raises:
        ParityError: a metric is further away than `tolerance`, or is not there.
    """
    names = [name for name in expected if name == "ua" or name.startswith("ccc_")]
    differences = {name: abs(found.get(name, np.inf) - expected[name]) for name in names}
    allowed = dict.fromkeys(names, tolerance) | {"ua": max(tolerance, expected.get("ua_of_one_clip", 0.0))}
    if any(not difference <= allowed[name] for name, difference in differences.items()):
        listed = ", ".join(f"{name} {expected[name]:.4f} became {found.get(name, np.nan):.4f}" for name in differences)
        raise ParityError(
            f"{label} scores the corpus otherwise than the network: {listed}; allowed is a difference of {tolerance:g}"
        )


def _check_declared(label: str, declared: dict[str, tuple[str, int]], spec: ModelSpec) -> None:
    if not declared:
        return
    promised = {tensor.name: (tensor.dtype, len(tensor.axes)) for tensor in (*spec.inputs, *spec.outputs)}
    if list(declared) != list(promised):
        raise ParityError(f"{label} has the tensors {', '.join(declared)}; promised are {', '.join(promised)}")
    for name, (dtype, rank) in promised.items():
        if declared[name] != (dtype, rank):
            raise ParityError(f"{label}: '{name}' is {declared[name]} in the file; promised is {(dtype, rank)}")


def _run(label: str, model: RunnableModel, spec: ModelSpec, case: str, inputs: Arrays) -> Arrays:
    """Run an exported file and check everything but the values."""
    try:
        found = model(inputs)
    except (
        Exception
    ) as error:  # every runtime has its own errors; each means that the file does not do what it promises
        raise ParityError(f"{label} does not run on {case}: {error}") from error
    names = [tensor.name for tensor in spec.outputs]
    if list(found) != names:
        raise ParityError(f"{label} gives the outputs {', '.join(found)}; promised are {', '.join(names)}")
    sizes = dict(zip(spec.inputs[0].axes, inputs[spec.inputs[0].name].shape, strict=True))
    for tensor in spec.outputs:
        if str(found[tensor.name].dtype) != tensor.dtype:
            raise ParityError(f"{label}: '{tensor.name}' is {found[tensor.name].dtype}; promised is {tensor.dtype}")
    for tensor in spec.outputs:
        for axis, size in zip(tensor.axes, found[tensor.name].shape, strict=False):
            if isinstance(axis, str):
                sizes.setdefault(axis, size)  # of the outputs alone, such as frames: the same in all of them
        shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.axes)
        if found[tensor.name].shape != shape:
            raise ParityError(f"{label}: '{tensor.name}' has shape {found[tensor.name].shape}, not {shape}, on {case}")
    for tensor in spec.outputs:
        if not np.isfinite(found[tensor.name]).all():
            raise ParityError(f"{label}: '{tensor.name}' holds NaN or infinity on {case}")
    return found


def _check_lengths(label: str, found: Arrays, expected: Arrays, case: str) -> None:
    """Axes that the inputs don't have are as long as the network's."""
    for name, array in found.items():
        if array.shape != expected[name].shape:
            raise ParityError(f"{label}: '{name}' has shape {array.shape}, not {expected[name].shape}, on {case}")


def _own_part(batch: np.ndarray, clip: int, alone: np.ndarray) -> np.ndarray:
    """A clip's part of a batch, without what the longest clip made longer than the same clip alone."""
    return batch[(slice(clip, clip + 1), *(slice(size) for size in alone.shape[1:]))]


def _widen(largest: dict[str, float], found: Arrays, expected: Arrays) -> None:
    """Raise each largest difference to what these two show. NaN, which compares as false, counts as infinity."""
    for name in largest:
        difference = float(np.abs(found[name].astype(np.float64) - expected[name].astype(np.float64)).max())
        largest[name] = max(largest[name], difference if np.isfinite(difference) else float("inf"))


def _check_values(what: str, differences: Mapping[str, float], tolerance: float) -> None:
    if max(differences.values()) > tolerance:
        listed = ", ".join(f"{name} {difference:.2e}" for name, difference in differences.items())
        raise ParityError(f"{what}; largest difference per output: {listed}; allowed is {tolerance:g}")


def _voice(generator: np.random.Generator, num_samples: int, sample_rate_hz: int) -> np.ndarray:
    """A buzz with a moving pitch and loudness over noise, float32 [num_samples], peak 0.02 to 0.5."""
    time_seconds = np.arange(num_samples) / sample_rate_hz
    pitch_hz = generator.uniform(90, 280) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(0.5, 3) * time_seconds))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    tilt = generator.uniform(0.8, 1.6)
    buzz = sum(np.sin(k * phase + generator.uniform(0, 6)) / k**tilt for k in range(1, 12))
    loudness = 1.1 + np.sin(2 * np.pi * generator.uniform(1, 5) * time_seconds)
    signal = buzz * loudness + 0.1 * generator.normal(size=num_samples)
    return (signal / np.abs(signal).max() * generator.uniform(0.02, 0.5)).astype(np.float32)
