"""How fast the emotion regressor is, and that speed costs nothing: padding changes no score.

    python -m benchmarks.emotion_speed --output FILE.json [--run RUN_DIR] [--quick]

Measures (the numbers are those of the targets):
  3  clips trained per second, against `transformers.Trainer` with the stock feature extractor; see
     benchmarks.training_speed. On EmoDB where --emodb-root has it, else on the synthetic corpus
  4  one 3 s clip, from a 16 kHz array in memory to its scores: the exported ONNX against the stock `transformers`
     Whisper encoder (with its feature extractor, which pads to 30 s) under the same head, same weights, in PyTorch
  5  largest difference of any score or probability between a clip alone and the same clip in a batch, for every encoder
     family, in PyTorch and in the export

Without --run the encoder is Whisper base with its published weights under a random head; the other families have
published sizes and random weights. Takes about half an hour on two cores and 6 GiB; --quick about two
minutes, with tiny networks.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from benchmarks.report import Measure, print_table, write_report
from benchmarks.stock_whisper import StockWhisperRegressor
from benchmarks.training_speed import training_speed
from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters.emotion_graph import EmotionGraph
from pixel_mm.exporters.onnx import OnnxModel, write_onnx
from pixel_mm.exporters.parity import Arrays, make_cases
from pixel_mm.exporters.trained_network import load_network
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.model_folder import ModelFolder, ModelSpec, Provenance
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.runs import RunFolder

LABELS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")
LAYER_NORM = (
    "+encoder.config.feat_extract_norm=layer",
    "+encoder.config.do_stable_layer_norm=true",
    "+encoder.config.conv_bias=true",
)
FAMILIES = {
    "whisper": ("encoder=whisper_base",),
    "wav2vec2-group-norm": ("encoder=wav2vec2_base", "encoder.pretrained_weights=false"),
    "wav2vec2-layer-norm": ("encoder=wav2vec2_base", "encoder.pretrained_weights=false", *LAYER_NORM),
    "hubert": ("encoder=hubert_base", "encoder.pretrained_weights=false"),
    "wavlm": ("encoder=wavlm_base", "encoder.pretrained_weights=false"),
}
TINY_WAV2VEC2 = tuple(
    f"++encoder.config.{name}={value}"
    for name, value in (
        ("hidden_size", 32),
        ("num_hidden_layers", 2),
        ("num_attention_heads", 2),
        ("intermediate_size", 64),
        ("conv_dim", [16] * 7),
    )
)
CLIP_SECONDS = 3.0
SEED = 5


def build(family: str, quick: bool) -> EmotionRegressor:
    """A regressor on an encoder of a family, under a seeded random head whose scores differ from clip to clip."""
    overrides = FAMILIES[family]
    if quick:
        overrides = ("encoder=whisper_micro_random",) if family == "whisper" else (*overrides, *TINY_WAV2VEC2)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", list(overrides))
    torch.manual_seed(SEED)
    network: EmotionRegressor = instantiate(cfg.model, emotion_labels=LABELS)
    for head in (network.score_head, network.emotion_head):
        nn.init.normal_(head.weight, std=0.25)
    return network.requires_grad_(False).eval()


def exported(network: EmotionRegressor, folder: Path) -> tuple[EmotionGraph, ModelSpec, ModelFolder]:
    """The network's ONNX file, as the export command writes it, in a sealed folder."""
    graph = EmotionGraph(network, network.dimensions, network.emotion_labels)
    origin = Provenance("mapped", "none", synthetic=False, commit="unknown", run="benchmark", encoder="benchmark")
    place = ModelFolder(folder)
    folder.mkdir()
    spec = graph.spec("benchmark", origin)
    write_onnx(graph, spec, place.onnx)
    return graph, place.seal(spec), place


def scoring_speed(network: EmotionRegressor, place: ModelFolder, threads: int, repeats: int) -> list[Measure]:
    """Measure 4. The two sides take turns, so that whatever else the machine does meets both."""
    waveform = np.random.default_rng(SEED).normal(0, 0.05, round(CLIP_SECONDS * 16_000)).astype(np.float32)
    stock = StockWhisperRegressor(network)
    recognizer = AudioEmotionRecognizer.load(place.path, num_threads=threads)
    sides: dict[str, Callable[[], object]] = {
        "exported": lambda: recognizer(waveform, 16_000),
        "stock": lambda: stock(waveform),
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 2):
        for name, score in sides.items():
            start = time.perf_counter()
            score()
            if turn >= 2:  # the first two warm up
                milliseconds[name].append((time.perf_counter() - start) * 1000)
    ours, theirs = np.array(milliseconds["exported"]), np.array(milliseconds["stock"])
    setting = f"one {CLIP_SECONDS:g} s clip, array to scores, batch 1, CPU, {threads} threads, {repeats} runs"
    against = "stock transformers Whisper encoder (30 s padded) and the same head, PyTorch"
    return [
        Measure("4", f"speed-up of the median: {setting}", float(np.median(theirs) / np.median(ours)), "times", ">= 5",
                _interval(ours, theirs), against),
        Measure("4-exported-median", f"exported ONNX, median: {setting}", statistics.median(ours), "ms"),
        Measure("4-exported-p95", f"exported ONNX, 95th percentile: {setting}", float(np.percentile(ours, 95)), "ms"),
        Measure("4-stock-median", f"{against}, median: {setting}", statistics.median(theirs), "ms"),
    ]  # fmt: skip


def padding(family: str, graph: EmotionGraph, spec: ModelSpec, place: ModelFolder, threads: int) -> list[Measure]:
    """Measure 5 of one family."""

    def in_pytorch(inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            outputs = graph(*(torch.from_numpy(array) for array in inputs.values()))
        return {name: output.numpy() for name, output in zip(graph.output_names, outputs, strict=True)}

    what = f"largest difference of a score, alone or in a batch of 2 or 5 clips of 25 ms to 11.3 s: {family}"
    return [
        Measure(f"5-{family}-pytorch", f"{what}, PyTorch", _padding_difference(in_pytorch, spec), "score", "<= 1e-4"),
        Measure(
            f"5-{family}-export",
            f"{what}, exported ONNX",
            _padding_difference(OnnxModel(place.onnx, threads), spec),
            "score",
            "<= 1e-4",
        ),
    ]


def _padding_difference(score: Callable[[Arrays], Arrays], spec: ModelSpec) -> float:
    largest = 0.0
    for case in make_cases(spec, SEED):
        num_clips = len(case.inputs["num_samples"])
        if num_clips == 1:
            continue
        together = score(case.inputs)
        for clip in range(num_clips):
            alone = score(case.alone(clip))
            largest = max(largest, *(float(np.abs(together[name][clip] - alone[name][0]).max()) for name in alone))
    return largest


def _interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the ratio of medians, over turns."""
    turns = np.random.default_rng(0).integers(0, len(ours), (1000, len(ours)))
    low, high = np.percentile(np.median(theirs[turns], axis=1) / np.median(ours[turns], axis=1), [2.5, 97.5])
    return float(low), float(high)


def training(emodb_root: Path | None, quick: bool) -> list[Measure]:
    """Measure 3, on EmoDB or the synthetic corpus."""
    corpus = ["data=synthetic"]
    if emodb_root is not None and emodb_root.is_dir():
        corpus = ["data=emodb", f"data.root={emodb_root}"]
    if quick:
        tiny = ["encoder=whisper_micro_random", "encoder.num_layers=6"]  # the emotion recipe names six layers
        return training_speed([*corpus, *tiny], clips=32, stock_steps=1, rounds=1)
    return training_speed(corpus)


def main() -> None:
    """Measure, show and write."""
    data = os.environ.get("PIXEL_MM_DATA")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--run", type=Path, help="run folder of a trained Whisper regressor to measure instead")
    parser.add_argument(
        "--emodb-root", type=Path, default=Path(data, "emodb") if data else None, help="default: below PIXEL_MM_DATA"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20, help="turns of each side of measure 4")
    parser.add_argument("--quick", action="store_true", help="smoke run with tiny networks; its numbers mean nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measures = training(options.emodb_root, options.quick)
    for family in FAMILIES:
        trained = options.run is not None and family == "whisper"
        network = load_network(RunFolder(options.run)) if trained else build(family, options.quick)
        with tempfile.TemporaryDirectory() as folder:
            graph, spec, place = exported(network, Path(folder) / "model")
            if family == "whisper":
                measures += scoring_speed(network, place, options.threads, 3 if options.quick else options.repeats)
            measures += padding(family, graph, spec, place, options.threads)
    print_table(measures)
    write_report(options.output, "emotion_speed", measures, options.quick)


if __name__ == "__main__":
    main()
