"""CTC recognisers exported as model folders, run by onnxruntime."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import HubertConfig

from pixel_mm.ctc_vocabulary import CtcVocabulary
from pixel_mm.exporters.ctc import check_ctc, publish_ctc
from pixel_mm.exporters.onnx import OnnxModel
from pixel_mm.exporters.parity import Arrays, Case, ParityError
from pixel_mm.model_folder import ModelFolder, ModelFolderError, Provenance
from pixel_mm.models.speech_recognition.ctc_network import CtcRecognizer
from pixel_mm.models.speech_recognition.ctc_writing import CtcWriting
from tests.models.tiny_networks import speech, wav2vec2

ORIGIN = Provenance("transcripts", "none", False, "unknown", "tiny", "random weights")


def ctc() -> CtcRecognizer:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return CtcRecognizer(wav2vec2(HubertConfig, per_frame=False), "ab ").eval()


def cases() -> list[Case]:
    waveform, num_samples = speech(9_000, 4_001)
    return [Case("two clips", {"waveform": waveform.numpy(), "num_samples": num_samples.numpy()})]


class Changed:
    """The network as a graph would be, with a change to what it gives."""

    def __init__(self, **changes: float) -> None:
        self.changes = changes

    def declared(self) -> dict[str, tuple[str, int]]:
        return {}

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        with torch.no_grad():
            scores, num_frames = ctc()(*(torch.from_numpy(inputs[name]) for name in ("waveform", "num_samples")))
        found = {"log_probabilities": scores.numpy(), "num_frames": num_frames.numpy()}
        if len(scores) == 1 or not self.changes.get("alone"):
            found["log_probabilities"] = found["log_probabilities"] + np.float32(self.changes.get("by", 0.0))
            found["num_frames"] = found["num_frames"] + int(self.changes.get("frames", 0))
        return found


@pytest.mark.slow
def test_the_folder_writes_what_the_network_writes(tmp_path: Path) -> None:
    network = ctc()
    folder = publish_ctc(network, ORIGIN, tmp_path / "model")
    spec = ModelFolder(folder.path).open()
    assert set(spec.files) == {"model.onnx", "vocabulary.json", "parity.json", "README.md"}
    assert spec.output("log_probabilities").labels == ("<blank>", "a", "b", " ")
    assert 0 < json.loads(folder.parity.read_text())["files"]["model.onnx"]["largest_difference"] < 1e-3
    waveform, num_samples = speech(9_000, 4_001)
    found = OnnxModel(folder.path / "model.onnx")({"waveform": waveform.numpy(), "num_samples": num_samples.numpy()})
    vocabulary = CtcVocabulary.load(folder.path / "vocabulary.json")
    best = found["log_probabilities"].argmax(-1).tolist()
    texts = [vocabulary.decode(row[:count]) for row, count in zip(best, found["num_frames"].tolist(), strict=True)]
    clips = [row[:length].numpy() for row, length in zip(waveform, num_samples.tolist(), strict=True)]
    assert texts == CtcWriting().transcribe(network, clips)
    with pytest.raises(ModelFolderError, match="exists; choose another"):
        publish_ctc(network, ORIGIN, tmp_path / "model")


def test_a_graph_that_is_the_network_passes() -> None:
    parity = check_ctc(Changed(), ctc(), cases())
    assert parity.largest_difference == 0
    assert parity.largest_padding_difference < 1e-4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"by": 0.01}, "differs from the network by 1.00e-02"),
        ({"by": float("nan")}, "differs from the network by nan"),
        ({"by": 0.01, "alone": True}, "differs from the same clip alone by 1.00e-02"),
        ({"frames": 1}, "finds 28 frames instead of 27 in clip 1 of two clips"),
    ],
)
def test_a_graph_that_is_not_is_refused(changes: dict[str, float], told: str) -> None:
    with pytest.raises(ParityError, match=told):
        check_ctc(Changed(**changes), ctc(), cases())
