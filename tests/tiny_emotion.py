"""A network of a few hundred weights with the interface of `EmotionRegressor`, for tests of what wraps one."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixel_mm.exporters.emotion_graph import EmotionGraph
from pixel_mm.exporters.onnx import OnnxModel, export_onnx
from pixel_mm.exporters.publish import Format, publish
from pixel_mm.exporters.torchscript import TorchScriptModel, export_torchscript
from pixel_mm.model_folder import ModelSpec, Provenance

LABELS = ("anger", "calm", "happiness", "sadness")
DIMENSIONS = ("valence", "arousal", "dominance")


class TinyOutput(NamedTuple):
    scores: Tensor
    emotion_logits: Tensor


class TinyRegressor(nn.Module):
    """Frames of 400 samples by a convolution, masked mean, two linear heads."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.frames = nn.Conv1d(1, 16, kernel_size=400, stride=160)
            self.scores = nn.Linear(16, len(DIMENSIONS))
            self.emotions = nn.Linear(16, len(LABELS))
        self.dimensions = DIMENSIONS
        self.emotion_labels = LABELS

    def forward(self, waveform: Tensor, num_samples: Tensor) -> TinyOutput:
        inside = torch.arange(waveform.shape[1]) < num_samples[:, None]
        waveform = waveform * inside
        power = waveform.square().sum(1, keepdim=True) / num_samples[:, None]
        frames = self.frames((waveform / (power + 1e-8).sqrt())[:, None]).square().log1p().transpose(1, 2)
        num_frames = (num_samples - 400) // 160 + 1
        mask = (torch.arange(frames.shape[1]) < num_frames[:, None])[..., None].to(frames.dtype)
        pooled = (frames * mask).sum(1) / mask.sum(1)
        return TinyOutput(self.scores(2 * pooled).sigmoid(), self.emotions(2 * pooled))


PROVENANCE = Provenance("mapped", "tones", synthetic=True, commit="0123abc", run="tiny", encoder="TinyRegressor")
FORMATS = {
    "onnx": Format("model.onnx", 1e-4, export_onnx, OnnxModel),
    "torchscript": Format("model.pt", 1e-4, export_torchscript, TorchScriptModel),
}


def tiny_graph(seed: int = 0) -> tuple[EmotionGraph, ModelSpec]:
    graph = EmotionGraph(TinyRegressor(seed), DIMENSIONS, LABELS)
    return graph, graph.spec("emotion", PROVENANCE)


def publish_tiny(output: Path) -> Path:
    graph, spec = tiny_graph()
    return publish(graph, spec, output, FORMATS, seed=7, metrics={"test/ccc_arousal": 0.5}).path
