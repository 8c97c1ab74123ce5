"""What `target=triton` writes, on the real server: it loads as it is, and serves what it says, whatever happens."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pixel_mm.exporters.parity import make_cases
from pixel_mm.exporters.publish import publish
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import TritonOptions
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.inference.triton_recognizer import connect_recognizer
from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.server import TritonServer
from tests.exporters.formats import ONNX_FORMATS, FewClips, configured
from tests.tiny_emotion import tiny_graph
from tests.triton.scoring import MIXED_SECONDS, RATE, executions, same, speech

pytestmark = [pytest.mark.triton, pytest.mark.slow]

FORMATS = (*ONNX_FORMATS, "torchscript")
OPTIONS = TritonOptions(
    max_queue_delay_microseconds=100_000, threads=1, preferred_batch_sizes=(4, 8), warm_up_batch_sizes=(1, 4)
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every format that needs no GPU to be made, and lengths of training clips."""
    graph, spec = tiny_graph()
    formats = {name: configured()[name] for name in FORMATS}
    output = tmp_path_factory.mktemp("formats") / "emotion"
    return publish(graph, spec, output, formats, seed=7, metrics={}, clips=FewClips()).path  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """With a model for each format."""
    place = tmp_path_factory.mktemp("repository")
    for name in FORMATS:
        ModelRepository(place, name).publish(ModelFolder(model_folder), configured()[name].file, OPTIONS)
    with TritonServer(place) as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path, tiny_model_folder: Path, second_model_folder: Path) -> Path:
    """`emotion`, whose versions 1 and 2 are two networks; 2 is served."""
    for folder in (tiny_model_folder, second_model_folder):
        ModelRepository(tmp_path / "repository", "emotion").publish(ModelFolder(folder), "model.onnx", OPTIONS)
    return tmp_path / "repository"


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx_bf16"])
def test_a_format_is_served_within_its_tolerance(server: TritonServer, model_folder: Path, name: str) -> None:
    server.load(name)
    local = AudioEmotionRecognizer.load(model_folder, num_threads=1)
    clips = [case.alone(0)["waveform"][0] for case in make_cases(tiny_graph()[1], seed=9)]
    with connect_recognizer(server.grpc_url, name) as recognizer:
        for found, expected in zip(recognizer.batch(clips, RATE), local.batch(clips, RATE), strict=True):
            wanted = {**expected.scores, **expected.emotions}
            differences = [abs(value - wanted[key]) for key, value in {**found.scores, **found.emotions}.items()]
            assert np.max(differences) <= configured()[name].tolerance


def test_bfloat16_needs_a_gpu_and_the_server_says_so(server: TritonServer) -> None:
    with pytest.raises(ServingError, match="onnx_bf16"):
        server.load("onnx_bf16")


def test_clips_of_mixed_lengths_share_batches_and_score_as_alone(server: TritonServer, model_folder: Path) -> None:
    server.load("onnx")
    local = AudioEmotionRecognizer.load(model_folder, num_threads=1)
    clips = [speech(seconds, index) for index, seconds in enumerate(MIXED_SECONDS)]
    within = [clip for clip in clips if clip.size <= max(FewClips.num_samples)]
    with connect_recognizer(server.grpc_url, "onnx") as recognizer:
        requests, runs = executions(server, "onnx")
        served = recognizer.batch(within, RATE)
        answered, made = (now - old for now, old in zip(executions(server, "onnx"), (requests, runs), strict=True))
        served += recognizer.batch(clips, RATE)  # longer ones than the corpus's, too
    for found, expected in zip(served, local.batch([*within, *clips], RATE), strict=True):
        same(found, expected)
    assert len(within) == 8
    assert made <= answered <= OPTIONS.length_buckets


def test_a_version_comes_in_beside_the_other_and_goes_again(repository: Path, tiny_model_folder: Path) -> None:
    model, clip = ModelRepository(repository, "emotion"), speech(2.0)
    with TritonServer(repository, models=("emotion",)) as server:

        def versions() -> set[str]:
            server.load("emotion")
            return {str(found["version"]) for found in server.models() if found.get("state") == "READY"}

        def score(version: str) -> float:
            with connect_recognizer(server.grpc_url, "emotion", versions={version: 1.0}) as recognizer:
                return recognizer(clip, RATE).scores["valence"]

        assert versions() == {"2"}
        second = score("2")
        model.promote([1, 2])
        assert versions() == {"1", "2"}
        assert score("2") == second
        assert abs(score("1") - second) > 1e-3
        local = AudioEmotionRecognizer.load(tiny_model_folder, num_threads=1)
        assert score("1") == pytest.approx(local(clip, RATE).scores["valence"], abs=1e-4)
        model.roll_back()
        assert versions() == {"2"}
        model.publish(ModelFolder(tiny_model_folder), "model.onnx", OPTIONS)
        assert versions() == {"3"}
        assert score("3") == pytest.approx(local(clip, RATE).scores["valence"], abs=1e-4)


def test_a_server_that_loads_whatever_is_there_meets_nothing_else(repository: Path) -> None:
    """Such servers stop at the first folder that is no model."""
    with TritonServer(repository, arguments=["--model-control-mode=none", "--exit-on-error=true"]) as server:
        assert [(model["name"], model["state"]) for model in server.models()] == [("emotion", "READY")]
        assert "model version directory" not in server.log


def test_equal_requests_come_from_the_cache_where_the_server_has_one(tmp_path: Path, tiny_model_folder: Path) -> None:
    options = TritonOptions(response_cache=True, warm_up_batch_sizes=())
    ModelRepository(tmp_path / "r", "emotion").publish(ModelFolder(tiny_model_folder), "model.onnx", options)
    with TritonServer(tmp_path / "r", ["emotion"], arguments=["--cache-config=local,size=1048576"]) as server:
        with connect_recognizer(server.grpc_url, "emotion") as recognizer:
            first, again = recognizer(speech(1.0), RATE), recognizer(speech(1.0), RATE)
        assert first.scores == again.scores
        assert 'nv_cache_num_hits_per_model{model="emotion",version="1"} 1' in server.metrics()


def test_killed_at_twenty_moments_the_repository_still_loads(repository: Path, tiny_model_folder: Path) -> None:
    """The old version is served, or the new one if the kill came after it was in place."""
    generator = random.Random(4)
    spans: list[float] = []
    published = 0
    with TritonServer(repository, models=("emotion",)) as server:
        for _ in range(20):
            before = ModelRepository(repository, "emotion").manifest()
            start = time.monotonic()
            if (child := os.fork()) == 0:
                ModelRepository(repository, "emotion").publish(ModelFolder(tiny_model_folder), "model.onnx", OPTIONS)
                os._exit(0)
            if len(spans) > 1:  # the first two run to their end and tell how long it takes
                time.sleep(generator.uniform(0, np.median(spans[:2])))
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            spans.append(time.monotonic() - start)
            model = ModelRepository(repository, "emotion")
            model.verify()
            (now,) = model.manifest().served
            assert now in {before.served[0], before.next_version}
            published += now != before.served[0]
            server.load("emotion")
            assert {str(found["version"]) for found in server.models() if found.get("state") == "READY"} == {str(now)}
            if len(model.manifest().versions) > 4:
                model.prune(keep=2)
    assert 2 <= published < 20
    for left in repository.parent.glob(".partial-*"):
        shutil.rmtree(left)
