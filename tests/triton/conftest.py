"""One real server for most tests of this folder, with a repository of tiny models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pixel_mm.exporters.publish import publish
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.serving.server import TritonServer
from tests.tiny_emotion import FORMATS, tiny_graph
from tests.triton.served_models import add_ensemble, add_model, add_version, emotion_config


@pytest.fixture(scope="session")
def second_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network of the same kind, whose scores differ."""
    graph, spec = tiny_graph(seed=1)
    return publish(graph, spec, tmp_path_factory.mktemp("second") / "emotion", FORMATS, seed=7, metrics={}).path


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, second_model_folder: Path) -> Path:
    """`emotion` (onnxruntime, versions 1 and 2), `emotion_script` (pytorch), `ensemble` (hands on to `emotion` 1)."""
    place = tmp_path_factory.mktemp("repository")
    add_model(place, emotion_config("emotion"), tiny_model_folder)
    add_version(place / "emotion", "model.onnx", second_model_folder / "model.onnx", 2)
    add_model(place, emotion_config("emotion_script", "pytorch"), tiny_model_folder)
    add_ensemble(place, emotion_config("ensemble"), "emotion")
    return place


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, models=("emotion", "emotion_script", "ensemble")) as running:
        yield running


@pytest.fixture(scope="session")
def local(tiny_model_folder: Path) -> AudioEmotionRecognizer:
    """Version 1 of `emotion` without a server."""
    return AudioEmotionRecognizer.load(tiny_model_folder, num_threads=1)


@pytest.fixture(scope="session")
def local_second(second_model_folder: Path) -> AudioEmotionRecognizer:
    """Version 2 of `emotion` without a server."""
    return AudioEmotionRecognizer.load(second_model_folder, num_threads=1)
