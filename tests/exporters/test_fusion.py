"""What listens in a fused model as files: they are the network, or nothing is published."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pixel_mm.exporters.fusion import publish_fusion
from pixel_mm.exporters.fusion_graph import ListeningGraph
from pixel_mm.exporters.onnx import OnnxModel
from pixel_mm.exporters.parity import ParityError, make_cases
from pixel_mm.exporters.publish import Format
from pixel_mm.exporters.torchscript import TorchScriptModel
from pixel_mm.fusion_spec import ADAPTER, FusionSpec
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from tests.models.fusion.tiny_fusion import SOFT_TOKENS, fusion_network
from tests.models.tiny_networks import speech
from tests.tiny_emotion import FORMATS
from tests.tiny_fusion_folder import ALL_SCORES, ORIGIN, tiny_backbone, tiny_network

STATE_SCORES = ("valence", "arousal", "dominance", "crisis", "bias")


def test_a_folder_says_what_it_is_and_what_it_needs(tiny_fusion_folder: Path) -> None:
    spec = ModelFolder(tiny_fusion_folder).open()
    fusion, network = FusionSpec.parse(spec.fusion), tiny_network()
    assert fusion.backbone.sha256 == network.backbone.sha256
    assert fusion.encoders["recognition"].sha256 == network.frozen_sha256["encoders.recognition"]
    assert (fusion.adapter, fusion.layers) == ("cross_attention", (2, 3))
    assert fusion.scores == (*STATE_SCORES, "emotional_reaction", "interpretation", "exploration")
    assert set(fusion.scores) == set(ALL_SCORES)
    assert "<|im_start|>" in fusion.chat_template
    assert FusionSpec.parse(json.loads(json.dumps(spec.as_dict()))["fusion"]).as_dict() == fusion.as_dict()
    card = ModelFolder(tiny_fusion_folder).card.read_text(encoding="utf-8")
    assert fusion.backbone.sha256 in card
    assert "before layers 2, 3" in card


def test_outputs_are_named_by_layer_and_by_score(tiny_fusion_folder: Path, tiny_soft_folder: Path) -> None:
    said = [*(f"audio_{name}" for name in STATE_SCORES), "audio_confidence"]
    names = [tensor.name for tensor in ModelSpec.read(tiny_fusion_folder / "model.yaml").outputs]
    assert names == ["latents", "latents_mask", "keys_2", "values_2", "keys_3", "values_3", *said]
    soft = ModelSpec.read(tiny_soft_folder / "model.yaml")
    assert [tensor.name for tensor in soft.outputs] == ["latents", "latents_mask", "embeddings", *said]
    assert soft.output("embeddings").axes == ("batch", "latents", 32)


@pytest.mark.parametrize("file", ["model.onnx", "model.pt"])
def test_files_hear_what_the_network_hears_at_any_length_and_batch(tiny_fusion_folder: Path, file: str) -> None:
    network = tiny_network().requires_grad_(False)
    run = (OnnxModel if file.endswith("onnx") else TorchScriptModel)(tiny_fusion_folder / file)
    waveform, num_samples = speech(7_000, 50_000, 16_000, 33_333)
    found = run({"waveform": waveform.numpy(), "num_samples": num_samples.numpy()})
    hearing = network.hear(network.encode(waveform, num_samples), torch.arange(4), 4)
    assert hearing is not None
    assert np.array_equal(found["latents_mask"], hearing.mask.numpy())
    assert np.allclose(found["latents"], hearing.latents, atol=1e-4)
    for layer, pair in hearing.keys_values.items():
        assert np.allclose(found[f"keys_{layer}"], pair.keys, atol=1e-4)
        assert np.allclose(found[f"values_{layer}"], pair.values, atol=1e-4)
    _, readings = network.heads.hear_voice(hearing.latents, hearing.mask)
    for column, name in enumerate(network.state_scores):
        assert np.allclose(found[f"audio_{name}"], readings.logits[:, column].sigmoid(), atol=1e-5)


def test_soft_tokens_are_those_of_the_network(tiny_soft_folder: Path) -> None:
    network = tiny_network(adapter=SOFT_TOKENS).requires_grad_(False)
    waveform, num_samples = speech(20_000, 41_000)
    found = OnnxModel(tiny_soft_folder / "model.onnx")(
        {"waveform": waveform.numpy(), "num_samples": num_samples.numpy()}
    )
    hearing = network.hear(network.encode(waveform, num_samples), torch.arange(2), 2)
    assert hearing is not None
    assert np.allclose(found["embeddings"], network.adapter.embeddings(hearing), atol=1e-4)


def test_the_adapter_file_holds_what_is_trained_and_nothing_else(tiny_fusion_folder: Path) -> None:
    network = tiny_network()
    wanted = {name for name, _ in network.named_parameters() if name.startswith(("adapter.", "heads."))}
    weights = load_file(tiny_fusion_folder / ADAPTER)
    assert weights.keys() == wanted
    assert sum(each.numel() for each in weights.values()) < sum(p.numel() for p in network.parameters()) / 3


class Wrong:
    """A file that runs, and gives something else than it should."""

    def __init__(self, path: Path, what: str) -> None:
        self.model, self.what = OnnxModel(path), what

    def declared(self) -> dict[str, tuple[str, int]]:
        return {} if self.what != "names" else {"sound": ("float32", 2)}

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = dict(self.model(inputs))
        match self.what:
            case "values":
                outputs["values_3"] = outputs["values_3"] + 0.01
            case "NaN":
                outputs["audio_crisis"] = outputs["audio_crisis"] * np.nan
            case "dtype":
                outputs["latents_mask"] = outputs["latents_mask"].astype(np.int32)
            case "lengths":
                outputs = {n: a[:, :, :-1] if n.startswith(("keys", "values")) else a for n, a in outputs.items()}
            case "one length":
                outputs["keys_2"] = outputs["keys_2"][:, :, :-1]
        return outputs


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("names", "has the tensors sound"),
        ("values", "differs from the network"),
        ("NaN", "'audio_crisis' holds NaN"),
        ("dtype", "'latents_mask' is int32; promised is int64"),
        ("lengths", r"'keys_2' has shape \(1, 2, 1, 8\), not \(1, 2, 2, 8\)"),
        ("one length", r"'keys_2' has shape \(1, 2, 1, 8\), not \(1, 2, 2, 8\)"),
    ],
)
def test_a_file_that_is_not_the_network_is_not_published(
    tiny_fusion_folder: Path, tmp_path: Path, what: str, said: str
) -> None:
    network = tiny_network()
    wrong = Format(
        "model.onnx", 1e-4, lambda source, path: shutil.copy(tiny_fusion_folder / "model.onnx", path),
        lambda path: Wrong(path, what),
    )  # fmt: skip
    with pytest.raises(ParityError, match=said):
        publish_fusion(network, tiny_backbone(network), ORIGIN, tmp_path / "model", {"onnx": wrong}, None)
    assert not list(tmp_path.iterdir())


def test_a_model_that_hears_nothing_has_nothing_to_export(tmp_path: Path) -> None:
    network = fusion_network(adapter=None)
    with pytest.raises(ModelFolderError, match="nothing in it that listens"):
        publish_fusion(network, tiny_backbone(network), ORIGIN, tmp_path / "model", FORMATS, None)


def test_another_backbone_cannot_be_described(tmp_path: Path) -> None:
    network = tiny_network()
    other = replace(tiny_backbone(network), sha256="0" * 64)
    with pytest.raises(ModelFolderError, match="described is 000"):
        publish_fusion(network, other, ORIGIN, tmp_path / "model", FORMATS, None)


def test_a_graph_of_scores_of_answers_alone_says_nothing_of_the_voice() -> None:
    network = fusion_network(scores=("interpretation",), trained=True).requires_grad_(False)
    graph = ListeningGraph(network)
    fusion = FusionSpec.parse(
        {
            "backbone": {"id": "x", "source": "random", "sha256": "0", "arguments": {}}, "encoders": {},
            "adapter": "cross_attention", "layers": [2], "scores": [], "sizes": {}, "reads_text": True, "system": None,
            "chat_template": "", "tokenizer_sha256": "",
        }
    )  # fmt: skip
    spec = graph.spec("x", ORIGIN, fusion)
    assert spec.outputs[-1].name == "values_3"
    assert len(graph(*(torch.from_numpy(make_cases(spec, 7)[0].inputs[n]) for n in ("waveform", "num_samples")))) == 6


@pytest.mark.parametrize(
    ("change", "named"),
    [({"adapter": "ears"}, "adapter is 'ears'"), ({"layers": None}, "fusion"), ({"scores": "x", "more": 1}, "'more'")],
)
def test_a_description_that_cannot_be_is_refused(
    tiny_fusion_folder: Path, change: dict[str, object], named: str
) -> None:
    content = dict(ModelSpec.read(tiny_fusion_folder / "model.yaml").fusion)
    with pytest.raises(ModelFolderError, match=named):
        FusionSpec.parse(content | change)
