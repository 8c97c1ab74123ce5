"""The client and the recogniser's interface over it, on the real server."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from pixel_mm.audio import AudioError
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.inference.emotion_cli import main
from pixel_mm.inference.emotion_estimate import EmotionEstimate
from pixel_mm.inference.triton_client import TritonEmotionClient
from pixel_mm.inference.triton_errors import TritonRequestError
from pixel_mm.inference.triton_recognizer import TritonEmotionRecognizer, connect_recognizer
from pixel_mm.inference.triton_retries import CallLimits
from pixel_mm.serving.server import TritonServer
from tests.triton.scoring import MIXED_SECONDS, RATE, executions, same, speech

pytestmark = [pytest.mark.triton, pytest.mark.slow]


@pytest.fixture(params=["grpc", "http"])
def recognizer(server: TritonServer, request: pytest.FixtureRequest) -> Iterator[TritonEmotionRecognizer]:
    url = server.grpc_url if request.param == "grpc" else server.http_url
    with connect_recognizer(url, "emotion", request.param, {"1": 1.0}) as connected:
        yield connected


def test_it_scores_as_the_model_that_runs_here(
    recognizer: TritonEmotionRecognizer, local: AudioEmotionRecognizer
) -> None:
    clips = [speech(seconds, index) for index, seconds in enumerate(MIXED_SECONDS)]
    for found, expected in zip(recognizer.batch(clips, RATE), local.batch(clips, RATE), strict=True):
        same(found, expected)
        assert found.model_version == "1"
    stereo = np.stack([speech(1.5, rate=44_100)] * 2)
    same(recognizer(stereo, 44_100), local(stereo, 44_100))
    long = speech(40)
    for found, expected in zip(recognizer.timeline(long, RATE), local.timeline(long, RATE), strict=True):
        same(found, expected)
    assert recognizer.batch([], RATE) == []


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.full(RATE, np.nan, np.float32), RATE, "NaN or infinite"),
        (speech(1), 4_000, "sample rate 4000 Hz"),
        (np.zeros((1, 2, 400), np.float32), RATE, r"shape \(1, 2, 400\)"),
        (np.zeros(0, np.float32), RATE, "no samples"),
        (speech(31), RATE, r"31\.00 s long.*timeline"),
    ],
)
def test_what_cannot_be_scored_is_refused_as_it_is_here(
    recognizer: TritonEmotionRecognizer, waveform: np.ndarray, rate: int, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        recognizer(waveform, rate)


def test_files_are_scored_as_by_the_model_that_runs_here(
    server: TritonServer, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.wav", speech(1.3), RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    files = [str(tmp_path / name) for name in ("good.wav", "bad.wav")]
    results = {}
    for model in (f"http://{server.http_url}/emotion_script", str(tiny_model_folder)):
        assert main([model, *files, "--json"]) == 1
        results[model] = json.loads(capsys.readouterr().out)
    served, here = results.values()
    assert served["model"] == here["model"]  # what the scores rest on comes with the served model
    assert served["files"][0]["scores"] == pytest.approx(here["files"][0]["scores"], abs=1e-4)
    assert served["files"][0]["model_version"] == "1"
    assert "model_version" not in here["files"][0]


@pytest.mark.parametrize("model", ["emotion_script", "ensemble"])
def test_other_formats_and_ensembles_score_the_same(
    server: TritonServer, local: AudioEmotionRecognizer, model: str
) -> None:
    clips = [speech(seconds, index) for index, seconds in enumerate((0.5, 3.0, 1.2))]
    with connect_recognizer(server.grpc_url, model) as recognizer:
        for found, expected in zip(recognizer.batch(clips, RATE), local.batch(clips, RATE), strict=True):
            same(found, expected)


def test_two_versions_are_served_side_by_side_and_every_result_names_its_own(
    server: TritonServer, local: AudioEmotionRecognizer, local_second: AudioEmotionRecognizer
) -> None:
    clip = speech(2.0)
    expected = {"1": local(clip, RATE), "2": local_second(clip, RATE)}
    assert abs(expected["1"].scores["valence"] - expected["2"].scores["valence"]) > 1e-3
    with connect_recognizer(server.grpc_url, "emotion", versions={"1": 0.7, "2": 0.3}, seed=3) as recognizer:
        found = [recognizer(clip, RATE) for _ in range(60)]
    for estimate in found:
        same(estimate, expected[estimate.model_version or ""])
    drawn = Counter(estimate.model_version for estimate in found)
    assert 30 <= drawn["1"] <= 54
    with connect_recognizer(server.grpc_url, "emotion") as recognizer:
        assert recognizer(clip, RATE).model_version == "2"  # without weights: the newest


def test_mixed_lengths_share_executions_and_results_are_those_of_one_by_one(
    server: TritonServer, local: AudioEmotionRecognizer
) -> None:
    """Clients that don't know of one another, each with one clip at a time: what joins them is the server."""
    clips = [speech(seconds, index) for index, seconds in enumerate(MIXED_SECONDS * 4)]
    expected = local.batch(clips, RATE)

    async def one_client(mine: list[np.ndarray]) -> list[EmotionEstimate]:
        async with await TritonEmotionClient.connect(server.grpc_url, "emotion", versions={"1": 1}) as client:
            return [await client.score(clip, RATE) for clip in mine]

    async def run() -> list[EmotionEstimate]:
        per_client = await asyncio.gather(*(one_client(clips[first::16]) for first in range(16)))
        return [per_client[index % 16][index // 16] for index in range(len(clips))]

    requests_before, executions_before = executions(server, "emotion")
    found = asyncio.run(run())
    requests, executed = executions(server, "emotion")
    for estimate, wanted in zip(found, expected, strict=True):
        same(estimate, wanted)
    assert requests - requests_before == len(clips)
    assert executed - executions_before < 0.8 * len(clips)


def test_the_clients_own_queue_needs_fewer_requests_than_clips(server: TritonServer) -> None:
    clips = [speech(seconds, index) for index, seconds in enumerate(MIXED_SECONDS)]
    before, _ = executions(server, "emotion")
    with connect_recognizer(server.grpc_url, "emotion", limits=CallLimits(max_in_flight=1)) as recognizer:
        recognizer.batch(clips, RATE)
    assert executions(server, "emotion")[0] - before <= 8


def test_many_threads_share_one_recognizer(server: TritonServer, local: AudioEmotionRecognizer) -> None:
    clips = [speech(0.5 + index / 10, index) for index in range(12)]
    found: dict[int, EmotionEstimate] = {}
    with connect_recognizer(server.grpc_url, "emotion", versions={"1": 1}) as recognizer:

        def score(index: int) -> None:
            found[index] = recognizer(clips[index], RATE)

        threads = [threading.Thread(target=score, args=(index,)) for index in range(len(clips))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, clip in enumerate(clips):
        same(found[index], local(clip, RATE))


def test_a_long_timeline_is_scored_by_one_version_however_many_deadlines_it_takes(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixel_mm.inference.triton_recognizer._CLIPS_PER_DEADLINE", 5)
    with connect_recognizer(server.grpc_url, "emotion", versions={"1": 0.5, "2": 0.5}, seed=2) as recognizer:
        for _ in range(4):
            timeline = recognizer.timeline(speech(60), RATE)
            assert len(timeline) == 23
            assert [estimate.start_seconds for estimate in timeline] == [2.5 * place for place in range(23)]
            assert len({estimate.model_version for estimate in timeline}) == 1


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_health_and_models_are_found(server: TritonServer, protocol: str) -> None:
    url = server.grpc_url if protocol == "grpc" else server.http_url

    async def run() -> None:
        async with await TritonEmotionClient.connect(url, "emotion", protocol) as client:  # type: ignore[arg-type]
            health = await client.health()
            assert (health.live, health.ready, sorted(health.versions)) == (True, True, ["1", "2"])
            names = {model["name"] for model in await client.models()}
            assert {"emotion", "emotion_script", "ensemble"} <= names

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_models_and_versions_that_are_not_there_are_refused_by_name(server: TritonServer, protocol: str) -> None:
    url = server.grpc_url if protocol == "grpc" else server.http_url
    with pytest.raises(TritonRequestError, match=r"'emotoin'.*its repository has emotion, emotion_script, ensemble"):
        connect_recognizer(url, "emotoin", protocol)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'7' of 'emotion' is not served; 1, 2 are"):
        connect_recognizer(url, "emotion", protocol, {"7": 1.0})  # type: ignore[arg-type]


def test_the_server_itself_refuses_wrong_requests(server: TritonServer) -> None:
    """For callers that don't use this client: each mistake is a 4xx, none ends the server."""
    good = {"waveform": np.zeros((1, 800), np.float32), "num_samples": np.array([[800]])}
    wrong: list[tuple[dict[str, np.ndarray], str]] = [
        ({"waveform": good["waveform"]}, "expected 2 inputs but got 1"),
        ({**good, "num_samples": np.array([[800.0]], np.float32)}, "data-type"),
        ({**good, "waveform": np.zeros((1, 2, 800), np.float32)}, "shape"),
        ({**good, "waveform": np.zeros((40, 800), np.float32), "num_samples": np.full((40, 1), 800)}, "batch"),
        ({**good, "volume": good["waveform"]}, "volume"),
    ]
    types = {"float32": "FP32", "int64": "INT64"}
    with grpc.InferenceServerClient(server.grpc_url) as client:
        for inputs, message in wrong:
            tensors = [
                grpc.InferInput(name, array.shape, types[str(array.dtype)]).set_data_from_numpy(array)
                for name, array in inputs.items()
            ]
            with pytest.raises(InferenceServerException, match=message) as caught:
                client.infer("emotion", tensors)
            assert "INVALID_ARGUMENT" in str(caught.value.status())
        assert client.is_server_live()


def test_metrics_count_requests_and_failures(server: TritonServer) -> None:
    with connect_recognizer(server.grpc_url, "emotion") as recognizer:
        before, _ = executions(server, "emotion")
        recognizer(speech(1), RATE)
        assert executions(server, "emotion")[0] == before + 1
    for name in (
        "nv_inference_request_failure",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_infer_duration_us",
    ):
        assert f'{name}{{model="emotion"' in server.metrics()
