"""The client on a real server that is killed, slow, or unloads its model."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.inference.emotion_estimate import EmotionEstimate
from pixel_mm.inference.triton_client import TritonEmotionClient
from pixel_mm.inference.triton_errors import TritonDeadlineError, TritonUnavailableError
from pixel_mm.inference.triton_recognizer import connect_recognizer
from pixel_mm.inference.triton_retries import CallLimits
from pixel_mm.serving.server import TritonServer
from tests.triton.scoring import MIXED_SECONDS, RATE, executions, same, speech
from tests.triton.served_models import add_model, emotion_config

pytestmark = [pytest.mark.triton, pytest.mark.slow]


@pytest.fixture
def own_server(tmp_path: Path, tiny_model_folder: Path) -> Iterator[TritonServer]:
    """A server that a test may kill."""
    add_model(tmp_path, emotion_config("emotion"), tiny_model_folder)
    running = TritonServer(tmp_path, models=("emotion",)).start()
    yield running
    running.stop()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_killed_in_mid_request_and_restarted_costs_time_but_no_result(
    own_server: TritonServer, local: AudioEmotionRecognizer, protocol: str
) -> None:
    url = own_server.grpc_url if protocol == "grpc" else own_server.http_url
    clips = [speech(seconds, index) for index, seconds in enumerate(MIXED_SECONDS * 8)]
    expected = local.batch(clips, RATE)

    async def run() -> list[EmotionEstimate]:
        limits = CallLimits(deadline_seconds=60, max_in_flight=2, linger_seconds=0)
        async with await TritonEmotionClient.connect(url, "emotion", protocol, limits=limits) as client:  # type: ignore[arg-type]
            task = asyncio.ensure_future(client.batch(clips, RATE))
            while executions(own_server, "emotion")[1] < 3:
                await asyncio.sleep(0.005)
            assert not task.done()
            await asyncio.to_thread(own_server.kill)
            assert (await client.health()).live is False
            await asyncio.to_thread(own_server.start)
            return await task

    for found, wanted in zip(asyncio.run(run()), expected, strict=True):
        same(found, wanted)


def test_a_server_that_does_not_come_back_is_an_error_by_the_deadline(own_server: TritonServer) -> None:
    with connect_recognizer(own_server.grpc_url, limits=CallLimits(deadline_seconds=1.5)) as recognizer:
        assert recognizer(speech(1), RATE).scores
        own_server.kill()
        start = time.monotonic()
        with pytest.raises(TritonUnavailableError, match=own_server.grpc_url):
            recognizer(speech(1), RATE)
        assert time.monotonic() - start < 4
        assert recognizer.health().versions == ()


def test_an_unloaded_model_is_unavailable_until_it_is_loaded_again(own_server: TritonServer) -> None:
    with connect_recognizer(own_server.grpc_url, limits=CallLimits(deadline_seconds=10)) as recognizer:
        own_server.unload("emotion")
        while recognizer.health().versions:
            time.sleep(0.05)
        timer = threading.Timer(0.5, own_server.load, ["emotion"])
        timer.start()
        assert recognizer(speech(1), RATE).model_version == "1"
        timer.join()


def test_a_slow_server_meets_the_deadline_and_recovers(tmp_path: Path, tiny_model_folder: Path) -> None:
    add_model(tmp_path, emotion_config("emotion", delay_microseconds=3_000_000), tiny_model_folder)
    with (
        TritonServer(tmp_path, models=("emotion",)) as slow,
        connect_recognizer(slow.grpc_url, limits=CallLimits(deadline_seconds=0.5)) as impatient,
        connect_recognizer(slow.grpc_url) as patient,
    ):
        start = time.monotonic()
        with pytest.raises(TritonDeadlineError, match="gave no"):
            impatient(speech(1), RATE)
        assert time.monotonic() - start < 2
        assert patient(speech(1), RATE).scores
