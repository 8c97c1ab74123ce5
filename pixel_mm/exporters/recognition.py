"""A recogniser as a model folder: encoder and decoder in every precision, each pair proven to be the network.

    python -m pixel_mm.export target=recognizer recognizer=whisper_base output=DIR
    python -m pixel_mm.export target=recognizer run=RUN_DIR output=DIR
    python -m pixel_mm.export target=recognizer output=DIR recognizer.network.context=short \
        recognizer.network.encoder.weights.source=folder recognizer.network.encoder.weights.folder=CHECKPOINT_DIR
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE_HZ
from pixel_mm.exporters.alignment import check_heads, known_heads
from pixel_mm.exporters.clip_inputs import CLIP_INPUTS
from pixel_mm.exporters.parity import make_cases
from pixel_mm.exporters.recognition_graph import write_graphs
from pixel_mm.exporters.recognition_parity import RecognitionParity, check_recognition
from pixel_mm.exporters.recognition_precision import decoder_to_int8, encoder_to_int8, to_float16
from pixel_mm.exporters.recognition_tensorrt import export_engines, open_engines
from pixel_mm.exporters.tensorrt import UNAVAILABLE
from pixel_mm.exporters.trained_network import describe_origin, find_tokenizer, load_network
from pixel_mm.inference.whisper_onnx import FILES, TASK, TOKENIZER, OnnxDecoder, Precision, open_session
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec, Provenance, TensorSpec
from pixel_mm.models.speech_recognition.network import WhisperRecognizer
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.runs import RunFolder, atomic_path, write_json
from pixel_mm.whisper_tokens import WhisperTokenizer

_CARD = """# {name}

Task: speech recognition. {network}; clips of 25 ms to 30 s at 16 kHz.

Transcripts can be wrong, above all of noisy, accented or overlapping speech; no figure here is an accuracy.

## Parity

Difference of a score from the network's, in standard deviations of its scores, on seeded signals that resemble speech
(typical: root mean square over all scores, which is what int8 is judged by), and how many greedy transcripts
are the network's.

| precision | files | largest difference | typical difference | allowed | same transcripts |
|---|---|---|---|---|---|
{rows}
"""


def publish_recognizer(
    network: WhisperRecognizer,
    tokenizer: Path,
    origin: Provenance,
    output: Path,
    precisions: Sequence[Precision] = ("float32",),
    seed: int = 7,
    overwrite: bool = False,
    alignment_heads: Sequence[tuple[int, int]] = (),
    tensorrt: bool = False,
) -> ModelFolder:
    """Export a recogniser, check each pair of graphs against it, and put the model folder in place.

    Args:
        network: on the CPU.
        tokenizer: its tokenizer.json.
        origin: what it was made from; its run names the model.
        output: folder to make.
        precisions: "float32", "float16", "int8".
        seed: of the inputs that parity is checked on.
        overwrite: replace a folder that is there.
        alignment_heads: (layer, head) of the decoder that follow the speech; none where nobody knows.
        tensorrt: whether TensorRT's engines are wanted, or where they cannot be built what is needed to do it.

    Raises:
        ModelFolderError: there is something at `output` already, an unknown precision, or a head that is not there.
        TokenizerError: the tokenizer does not belong to the weights.
        ParityError: a file is not the network it came from, or TensorRT cannot build it; nothing was published.
    """
    if not overwrite and output.exists() and (output.is_file() or any(output.iterdir())):
        raise ModelFolderError(f"output={output} exists; choose another folder, or replace it with overwrite=true")
    if not precisions or (unknown := set(precisions) - set(FILES)):
        raise ModelFolderError(
            f"precisions={list(precisions)}: choose from {', '.join(FILES)}; found {unknown or '{}'}"
        )
    tokens = WhisperTokenizer.load(tokenizer)
    tokens.check_fits(network.decoder.num_tokens)
    network = network.requires_grad_(False).eval()
    spec = replace(_describe(network, origin), alignment_heads=check_heads(network, alignment_heads))
    with atomic_path(output) as aside:
        scratch = aside / ".scratch"
        scratch.mkdir(parents=True)
        _write_pairs(network, aside, scratch, precisions)
        shutil.rmtree(scratch)
        cases, reference = make_cases(spec, seed), TorchDecoder(network)
        parities = {
            precision: check_recognition(precision, _open(aside, precision), reference, tokens, cases, seed)
            for precision in precisions
        }
        missing = export_engines(aside, network.decoder.max_tokens) if tensorrt else None
        if tensorrt and missing is None:
            check_recognition("float16", open_engines(aside), reference, tokens, cases, seed)
        shutil.copyfile(tokenizer, aside / TOKENIZER)
        folder = ModelFolder(aside)
        report = {"seed": seed, "precisions": {key: asdict(value) for key, value in parities.items()}}
        write_json(folder.parity, {**report, "missing": missing})
        folder.card.write_text(_card(spec, parities), encoding="utf-8")
        folder.seal(spec)
    return ModelFolder(output)


def write_configured(cfg: DictConfig) -> None:
    """Export as configured: `run` or `recognizer`, then `output`, `precisions`, `tensorrt`, `seed`, `overwrite`.

    Raises:
        SystemExit: with `UNAVAILABLE` where engines were asked for and cannot be built; the folder holds the rest.
        RunError: `run` is no run folder.
        ModelFolderError: the run trained no recogniser.
        ValueError: see `publish_recognizer`.
    """
    network, tokenizer, origin = _trained(cfg) if cfg.run is not None else _published(cfg)
    chosen = cfg.recognizer if cfg.run is None else RunFolder(Path(cfg.run)).load_config().recognizer
    folder = publish_recognizer(
        network, tokenizer, origin, Path(cfg.output), cfg.precisions, cfg.seed, cfg.overwrite, known_heads(chosen),
        cfg.tensorrt,
    )  # fmt: skip
    print(f"model folder: {folder.path}")
    if missing := json.loads(folder.parity.read_text(encoding="utf-8"))["missing"]:
        print(missing, file=sys.stderr)
        raise SystemExit(UNAVAILABLE)


def _trained(cfg: DictConfig) -> tuple[WhisperRecognizer, Path, Provenance]:
    """Network of a run, its tokenizer, and where it is from."""
    run = RunFolder(Path(cfg.run))
    if run.load_config().get("recognizer") is None:
        raise ModelFolderError(f"run={cfg.run} trained no recogniser; leave out target=recognizer")
    network = load_network(run, cfg.checkpoint)
    if not isinstance(network, WhisperRecognizer):
        raise ModelFolderError(f"run={cfg.run} trained a {type(network).__name__}, no Whisper; see target=ctc")
    return network, find_tokenizer(run, cfg.checkpoint), describe_origin(run)


def _published(cfg: DictConfig) -> tuple[WhisperRecognizer, Path, Provenance]:
    """Network with published weights, its tokenizer, and where it is from."""
    chosen = cfg.recognizer
    if chosen.get("tokenizer") is None:
        raise ModelFolderError("recognizer: nobody publishes this one as it writes; train it, then see target=ctc")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        network = instantiate(chosen.network)
    name = _name(chosen)
    origin = Provenance("transcripts", "see the weights", False, "unknown", name, name)
    return network, instantiate(chosen.tokenizer).path(), origin


def _name(recognizer: DictConfig) -> str:
    if not recognizer.pretrained_weights:
        return "random weights"
    weights = recognizer.network.encoder.weights
    return Path(weights.folder).name if weights.source == "folder" else str(weights.hub)


def _write_pairs(network: WhisperRecognizer, folder: Path, scratch: Path, precisions: Sequence[Precision]) -> None:
    encoder, decoder = (scratch / name for name in FILES["float32"])
    write_graphs(network, encoder, decoder)
    if "float16" in precisions:
        for source, name in zip((encoder, decoder), FILES["float16"], strict=True):
            to_float16(source, folder / name)
    if "int8" in precisions:
        encoder_to_int8(encoder, folder / FILES["int8"][0])
        decoder_to_int8(decoder, folder / FILES["int8"][1])
    if "float32" in precisions:
        for path in sorted(scratch.glob("*coder.onnx*")):
            path.rename(folder / path.name)


def _open(folder: Path, precision: Precision) -> OnnxDecoder:
    return OnnxDecoder(*(open_session(folder / name) for name in FILES[precision]))


def _describe(network: WhisperRecognizer, origin: Provenance) -> ModelSpec:
    size = network.decoder.num_tokens
    context = "30 s of context" if network.context == "full" else "the context there is"
    infinity = float("inf")
    return ModelSpec(
        name=origin.run,
        task=TASK,
        sample_rate_hz=SAMPLE_RATE_HZ,
        min_seconds=MIN_SECONDS,
        max_seconds=MAX_SECONDS,
        inputs=(
            *CLIP_INPUTS,
            TensorSpec("tokens", "int64", ("batch", "tokens"), "token", (0, size - 1), "prompt and transcript so far"),
        ),
        outputs=(
            TensorSpec(
                name="logits",
                dtype="float32",
                axes=("batch", "tokens", size),
                unit="log-odds",
                range=(-infinity, infinity),
                meaning="score of each token as the next one",
            ),
        ),
        provenance=replace(origin, encoder=f"{origin.encoder} on {context}"),
    )


def _card(spec: ModelSpec, parities: dict[Precision, RecognitionParity]) -> str:
    rows = [
        f"| {precision} | {' + '.join(FILES[precision])} | {parity.largest_difference:.1e} | "
        f"{parity.typical_difference:.1e} | {parity.tolerance:g} | "
        f"{100 * parity.same_transcripts:.0f} % |"
        for precision, parity in parities.items()
    ]
    return _CARD.format(name=spec.name, network=spec.provenance.encoder, rows="\n".join(rows))
