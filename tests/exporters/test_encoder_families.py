"""Every encoder family as exported files: any length, any batch, and a clip scores alone as it does in a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn
from transformers import HubertConfig, PreTrainedConfig, Wav2Vec2Config, WavLMConfig

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters.emotion_graph import EmotionGraph
from pixel_mm.exporters.publish import Format, publish
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.encoders.wav2vec2 import Wav2Vec2Encoder
from pixel_mm.models.encoders.whisper import WhisperEncoder
from tests.exporters.formats import configured
from tests.tiny_emotion import FORMATS, LABELS, PROVENANCE

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAMILIES: dict[str, PreTrainedConfig | None] = {
    "whisper": None,
    "whisper_frame_stride": None,
    "wav2vec2_group_norm": Wav2Vec2Config(**SIZES),
    "wav2vec2_layer_norm": Wav2Vec2Config(**SIZES, **LAYER_NORM),
    "hubert_group_norm": HubertConfig(**SIZES),
    "hubert_layer_norm": HubertConfig(**SIZES, **LAYER_NORM),
    "wavlm_group_norm": WavLMConfig(**SIZES),
    "wavlm_layer_norm": WavLMConfig(**SIZES, **LAYER_NORM),
}


def random_graph(family: str) -> EmotionGraph:
    """Random weights, large enough that the scores differ from clip to clip."""
    config = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if config is None:
            encoder = WhisperEncoder(2, 32, 2, 64, pretrained_weights=False)
        else:
            encoder = Wav2Vec2Encoder(config, normalise="layer" in family, pretrained_weights=False)
        stride = {"frame_stride": 2, "stride_depth": 1} if "stride" in family else {}
        network = EmotionRegressor(encoder, LABELS, projection_size=16, attention_size=8, **stride)
        for head in (network.score_head, network.emotion_head):
            nn.init.normal_(head.weight, std=1.0)
    return EmotionGraph(network, network.dimensions, network.emotion_labels)


def check(family: str, forms: dict[str, Format], output: Path) -> None:
    graph = random_graph(family)
    spec = graph.spec("emotion", PROVENANCE)
    publish(graph, spec, output, forms, seed=7, metrics={})  # raises unless all cases agree


@pytest.mark.parametrize("family", FAMILIES)
def test_torchscript_follows_every_family(family: str, tmp_path: Path) -> None:
    check(family, {"torchscript": FORMATS["torchscript"]}, tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_follows_every_family_in_every_precision_and_could_be_built_by_tensorrt(
    family: str, tmp_path: Path
) -> None:
    names = ("onnx", "onnx_fp16", "onnx_bf16", "onnx_int8_dynamic", "tensorrt")
    check(family, {name: configured()[name] for name in names}, tmp_path / "model")  # the last of them lints
    assert (tmp_path / "model" / "tensorrt.json").is_file()


@pytest.mark.weights
@pytest.mark.slow
def test_published_whisper_weights_are_exported_faithfully(tmp_path: Path) -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", ["encoder=whisper_tiny_en"])
    torch.manual_seed(3)
    network = instantiate(cfg.model, emotion_labels=LABELS)
    for head in (network.score_head, network.emotion_head):
        nn.init.normal_(head.weight, std=0.25)
    graph = EmotionGraph(network, network.dimensions, network.emotion_labels)
    spec = graph.spec("emotion", PROVENANCE)
    publish(graph, spec, tmp_path / "model", FORMATS, seed=7, metrics={})
    recognizer = AudioEmotionRecognizer.load(tmp_path / "model")
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 48_000))
    first, second = recognizer.batch([noise[0], np.sin(0.05 * np.arange(48_000)) + noise[1]], 16_000)
    assert abs(first.scores["arousal"] - second.scores["arousal"]) > 1e-3  # the scores follow what is heard
