"""Fused generation on the real server: the stream is what the model answers without it."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from pixel_mm.exporters.fused_model import FusedOptions, publish_fused
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.inference.fusion_reply import GenerationOptions
from pixel_mm.inference.multimodal_fusion import MultimodalPixel
from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.server import TritonServer
from tests.tone_corpus import tone
from tests.triton.fused_turns import ask, inputs

pytestmark = [pytest.mark.triton, pytest.mark.slow]

WORDS = "I'm fine, really."
VOICE = tone("sadness", 200.0, 1.3, np.random.default_rng(0))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, tiny_fusion_folder: Path) -> Path:
    place = tmp_path_factory.mktemp("fused_repository")
    publish_fused(ModelRepository(place, "pixel"), ModelFolder(tiny_fusion_folder), FusedOptions(max_tokens=400))
    return place


@pytest.fixture(scope="module")
def fused_server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository, models=("pixel",), variables={"OMP_NUM_THREADS": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def here(tiny_fusion_folder: Path) -> MultimodalPixel:
    return MultimodalPixel.load(tiny_fusion_folder, num_threads=1)


def workers(server: TritonServer) -> list[int]:
    """Processes that answer."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = place.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"triton_fusion.worker" in command and str(server.repository).encode() in command:
            found.append(int(place.parent.name))
    return found


def test_words_and_voice_are_answered_in_pieces_with_scores_at_both_ends(
    fused_server: TritonServer, here: MultimodalPixel
) -> None:
    told = ask(fused_server.grpc_url, "pixel", text=WORDS, waveform=VOICE, sample_rate_hz=16_000, max_tokens=12)
    wanted = here.respond(WORDS, VOICE, sample_rate_hz=16_000, options=GenerationOptions(max_tokens=12))
    early = wanted.scores.as_dict()
    wanted.finish()
    assert len(told.pieces) > 1
    assert "".join(told.pieces) == told.reply["answer"] == wanted.text
    assert told.reply["finish_reason"] == wanted.finish_reason
    for kind in ("scores", "text", "audio", "confidence"):
        assert told.first_scores[kind] == pytest.approx(early[kind], abs=1e-5)
        assert told.reply[kind] == pytest.approx(wanted.as_dict()[kind], abs=1e-5)


def test_without_a_voice_it_answers_as_without_a_server(fused_server: TritonServer, here: MultimodalPixel) -> None:
    told = ask(fused_server.grpc_url, "pixel", text=WORDS, max_tokens=12)
    assert told.reply["answer"] == here.respond(WORDS, options=GenerationOptions(max_tokens=12)).finish().text
    assert told.reply["audio"] == {}
    sound = ask(fused_server.grpc_url, "pixel", waveform=VOICE, sample_rate_hz=16_000, max_tokens=3)
    assert sound.reply["text"] == {}


def test_options_reach_the_model(fused_server: TritonServer, here: MultimodalPixel) -> None:
    drawn = {"max_tokens": 12, "temperature": 1.5, "seed": 3}
    told = ask(fused_server.grpc_url, "pixel", text=WORDS, **drawn)
    assert told.reply["answer"] == here.respond(WORDS, options=GenerationOptions(**drawn)).finish().text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"text": " "}, "nothing to answer to"),
        ({"text": WORDS, "waveform": np.zeros(16_000), "sample_rate_hz": 16_000}, "silent"),
        ({"text": WORDS, "waveform": np.full(16_000, np.nan), "sample_rate_hz": 16_000}, "samples are NaN"),
        ({"text": WORDS, "waveform": VOICE}, "needs its sample_rate_hz"),
        ({"text": WORDS, "temperature": -1.0}, "temperature is -1"),
    ],
)
def test_a_turn_that_cannot_be_answered_is_refused_and_the_next_one_is_answered(
    fused_server: TritonServer, turn: dict, said: str
) -> None:
    with pytest.raises(InferenceServerException, match=said):
        ask(fused_server.grpc_url, "pixel", **turn)
    assert ask(fused_server.grpc_url, "pixel", text=WORDS, max_tokens=2).reply["finish_reason"] == "length"


def test_a_client_that_leaves_is_not_answered_to_the_end(fused_server: TritonServer) -> None:
    client = grpc.InferenceServerClient(fused_server.grpc_url)
    client.start_stream(lambda result, error: None)
    client.async_stream_infer("pixel", inputs({"text": WORDS, "max_tokens": 400}))
    client.stop_stream(cancel_requests=True)
    assert ask(fused_server.grpc_url, "pixel", text=WORDS, max_tokens=2).pieces


def test_a_worker_that_dies_is_replaced(fused_server: TritonServer) -> None:
    (before,) = workers(fused_server)
    os.kill(before, signal.SIGKILL)
    time.sleep(0.2)
    assert ask(fused_server.grpc_url, "pixel", text=WORDS, max_tokens=2).pieces
    (after,) = workers(fused_server)
    assert after != before


def test_a_model_that_does_not_load_says_why_and_leaves_no_worker(
    repository: Path, tmp_path: Path, fused_server: TritonServer
) -> None:
    missing = {"PIXEL_MM_PYTHON": str(tmp_path / "python")}
    said = pytest.raises(ServingError, match="PIXEL_MM_PYTHON names an interpreter")
    with TritonServer(repository, variables=missing) as other, said:
        other.load("pixel")
    before = set(workers(fused_server))
    fused_server.unload("pixel")
    end = time.monotonic() + 20
    while workers(fused_server) and time.monotonic() < end:
        time.sleep(0.1)
    assert before
    assert not workers(fused_server)
    fused_server.load("pixel")


@pytest.mark.weights
def test_smollm2_answers_on_the_server_as_it_does_here(tmp_path: Path) -> None:
    from tests.smollm2_fusion_folder import publish_smollm2

    folder = publish_smollm2(tmp_path / "model")
    publish_fused(ModelRepository(tmp_path / "repository", "pixel"), ModelFolder(folder), FusedOptions())
    with TritonServer(tmp_path / "repository", models=("pixel",), variables={"OMP_NUM_THREADS": "1"}) as server:
        turn = {"text": "I lost my job today.", "max_tokens": 12}
        told = ask(server.grpc_url, "pixel", **turn)
        heard = ask(server.grpc_url, "pixel", waveform=VOICE, sample_rate_hz=16_000, **turn)
    pixel = MultimodalPixel.load(folder)
    bare = pixel.respond("I lost my job today.", options=GenerationOptions(max_tokens=12)).finish()
    assert told.reply["answer"] == bare.text
    assert len(told.pieces) > 1
    options = GenerationOptions(max_tokens=12)
    with_voice = pixel.respond("I lost my job today.", VOICE, sample_rate_hz=16_000, options=options).finish()
    assert heard.reply["answer"] == with_voice.text != bare.text
    assert heard.reply["scores"] == pytest.approx(dict(with_voice.scores.scores), abs=1e-4)
