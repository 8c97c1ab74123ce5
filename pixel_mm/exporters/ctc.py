"""A CTC recogniser as a model folder: a graph from the waveform to log-probabilities of characters, and these.

python -m pixel_mm.export target=ctc run=RUN_DIR output=DIR
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from pixel_mm.audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE_HZ
from pixel_mm.exporters.clip_inputs import CLIP_INPUTS
from pixel_mm.exporters.onnx import OnnxModel, write_onnx
from pixel_mm.exporters.parity import Arrays, Case, ParityError, RunnableModel, make_cases
from pixel_mm.exporters.trained_network import describe_origin, load_network
from pixel_mm.inference.ctc_engine import GRAPH, TASK, VOCABULARY
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec, Provenance, TensorSpec
from pixel_mm.models.speech_recognition.ctc_network import CtcRecognizer
from pixel_mm.runs import RunFolder, atomic_path, write_json

TOLERANCE = 1e-3
"""Largest difference of a log-probability from the network's that is allowed, in float32."""

_CARD = """# {name}

Task: speech recognition by CTC. {encoder}, trained on {corpus}; clips of 25 ms to 30 s at 16 kHz.

`python -m pixel_mm.inference.speech_recognition` writes language "{language}" with it. `model.onnx` gives the
log-probability of each class in each frame of 20 ms. Class 0 is the blank, the others are the characters of
`vocabulary.json` in order. A text is read by taking the best class of each frame, one of each run of the same, and
leaving out the blanks.

Transcripts can be wrong, above all of noisy, accented or overlapping speech; no figure here is an accuracy.

Parity with the network, on seeded signals that resemble speech: largest difference of a log-probability
{difference:.1e}, of a clip in a batch from the same clip alone {padding:.1e}; {tolerance:g} is allowed.
"""


@dataclass(frozen=True, slots=True)
class CtcParity:
    """What was measured.

    Attributes:
        cases: names of the batches compared.
        tolerance: largest difference that was allowed.
        largest_difference: of a log-probability from the network's.
        largest_padding_difference: of a clip in a batch from the clip alone, both in the graph.
    """

    cases: tuple[str, ...]
    tolerance: float
    largest_difference: float
    largest_padding_difference: float


def write_configured(cfg: DictConfig) -> None:
    """Export as configured: `run`, `checkpoint`, `language`, `output`, `seed`, `overwrite`.

    Raises:
        RunError: `run` is no run folder.
        ModelFolderError: the run trained no CTC recogniser, or see `publish_ctc`.
    """
    run = RunFolder(Path(cfg.run))
    network = load_network(run, cfg.checkpoint)
    if not isinstance(network, CtcRecognizer):
        raise ModelFolderError(f"run={cfg.run} trained a {type(network).__name__}, which is no CTC recogniser")
    folder = publish_ctc(network, describe_origin(run), Path(cfg.output), cfg.language, cfg.seed, cfg.overwrite)
    print(f"model folder: {folder.path}")


def publish_ctc(
    network: CtcRecognizer,
    origin: Provenance,
    output: Path,
    language: str = "en",
    seed: int = 7,
    overwrite: bool = False,
) -> ModelFolder:
    """Export a recogniser, check the graph against it, and put the model folder in place.

    Args:
        network: on the CPU.
        origin: what it was made from; its run names the model.
        output: folder to make.
        language: ISO 639-1 code of what it writes down.
        seed: of the inputs that parity is checked on.
        overwrite: replace a folder that is there.

    Raises:
        ModelFolderError: there is something at `output` already.
        ParityError: the file is not the network it came from; nothing was published.
    """
    if not overwrite and output.exists() and (output.is_file() or any(output.iterdir())):
        raise ModelFolderError(f"output={output} exists; choose another folder, or replace it with overwrite=true")
    network = network.requires_grad_(False).eval()
    spec = _describe(network, origin, language)
    with atomic_path(output) as aside:
        aside.mkdir(parents=True)
        write_onnx(network, spec, aside / GRAPH)
        parity = check_ctc(OnnxModel(aside / GRAPH), network, make_cases(spec, seed))
        network.vocabulary.save(aside / VOCABULARY)
        folder = ModelFolder(aside)
        write_json(folder.parity, {"seed": seed, "files": {GRAPH: asdict(parity)}})
        card = _CARD.format(
            name=spec.name,
            encoder=origin.encoder,
            corpus=origin.corpus,
            language=language,
            difference=parity.largest_difference,
            padding=parity.largest_padding_difference,
            tolerance=parity.tolerance,
        )
        folder.card.write_text(card, encoding="utf-8")
        folder.seal(spec)
    return ModelFolder(output)


def check_ctc(model: RunnableModel, network: CtcRecognizer, cases: Sequence[Case]) -> CtcParity:
    """Compare a graph with its network, and each clip of a batch with the same clip alone.

    Raises:
        ParityError: another number of frames, NaN, or a value further away than `TOLERANCE`.
    """
    from_network, from_alone = [], []
    for case in cases:
        found = model(case.inputs)
        with torch.no_grad():
            scores, num_frames = network(*(torch.from_numpy(case.inputs[name]) for name in ("waveform", "num_samples")))
        wanted = {"log_probabilities": scores.numpy(), "num_frames": num_frames.numpy()}
        for clip, count in enumerate(wanted["num_frames"].tolist()):
            alone = model(case.alone(clip))
            from_network.append(_difference(case.name, found, wanted, clip, clip, count))
            from_alone.append(_difference(case.name, found, alone, clip, 0, count))
    largest, padding = float(np.max(from_network)), float(np.max(from_alone))  # NaN if any is
    for what, difference in (("the network", largest), ("the same clip alone", padding)):
        if not difference <= TOLERANCE:  # also true of NaN
            raise ParityError(
                f"{GRAPH} differs from {what} by {difference:.2e} in a log-probability; allowed is {TOLERANCE:g}"
            )
    return CtcParity(tuple(case.name for case in cases), TOLERANCE, largest, padding)


def _difference(case: str, found: Arrays, wanted: Arrays, row: int, other: int, count: int) -> float:
    """Largest one between a row of two batches, over the clip's frames."""
    frames = [int(each["num_frames"][place]) for each, place in ((found, row), (wanted, other))]
    if frames != [count, count]:
        raise ParityError(f"{GRAPH} finds {frames[0]} frames instead of {count} in clip {row + 1} of {case}")
    scores = (each["log_probabilities"][place, :count] for each, place in ((found, row), (wanted, other)))
    return float(np.abs(np.subtract(*scores)).max())


def _describe(network: CtcRecognizer, origin: Provenance, language: str) -> ModelSpec:
    labels = ("<blank>", *network.vocabulary.characters)
    infinity = float("inf")
    return ModelSpec(
        name=origin.run,
        task=TASK,
        sample_rate_hz=SAMPLE_RATE_HZ,
        min_seconds=MIN_SECONDS,
        max_seconds=MAX_SECONDS,
        inputs=CLIP_INPUTS,
        outputs=(
            TensorSpec(
                name="log_probabilities",
                dtype="float32",
                axes=("batch", "frames", len(labels)),
                unit="nat",
                range=(-infinity, 0.0),
                meaning="how probable each character, or none, is in each frame; 0 beyond a clip's end",
                labels=labels,
            ),
            TensorSpec("num_frames", "int64", ("batch",), "frames", (1, infinity), "frames of each clip"),
        ),
        provenance=origin,
        languages=(language,),
    )
