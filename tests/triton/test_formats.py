"""Every exported format that a server without a GPU can load, on the real server."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pixel_mm.exporters.parity import make_cases
from pixel_mm.exporters.publish import publish
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.inference.triton_recognizer import connect_recognizer
from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.server import TritonServer
from tests.exporters.formats import ONNX_FORMATS, FewClips, configured
from tests.tiny_emotion import tiny_graph
from tests.triton.served_models import add_model, emotion_config

pytestmark = [pytest.mark.triton, pytest.mark.slow]

FORMATS = (*ONNX_FORMATS, "torchscript")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph, spec = tiny_graph()
    formats = {name: configured()[name] for name in FORMATS}
    output = tmp_path_factory.mktemp("formats") / "emotion"
    return publish(graph, spec, output, formats, seed=7, metrics={}, clips=FewClips()).path  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    for name in FORMATS:
        backend = "pytorch" if name == "torchscript" else "onnxruntime"
        add_model(repository, emotion_config(name, backend), model_folder, configured()[name].file)
    with TritonServer(repository) as running:
        yield running


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx_bf16"])
def test_a_format_is_served_within_its_tolerance(server: TritonServer, model_folder: Path, name: str) -> None:
    server.load(name)
    local = AudioEmotionRecognizer.load(model_folder, num_threads=1)
    clips = [case.alone(0)["waveform"][0] for case in make_cases(tiny_graph()[1], seed=9)]
    with connect_recognizer(server.grpc_url, name) as recognizer:
        for found, expected in zip(recognizer.batch(clips, 16_000), local.batch(clips, 16_000), strict=True):
            wanted = {**expected.scores, **expected.emotions}
            differences = [abs(value - wanted[key]) for key, value in {**found.scores, **found.emotions}.items()]
            assert np.max(differences) <= configured()[name].tolerance


def test_bfloat16_needs_a_gpu_and_the_server_says_so(server: TritonServer) -> None:
    with pytest.raises(ServingError, match="onnx_bf16"):
        server.load("onnx_bf16")
