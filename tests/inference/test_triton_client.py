"""The client against servers that are not there, not Triton, or tell nonsense. The real one is in tests/triton."""

import asyncio
import importlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pixel_mm.audio import AudioError
from pixel_mm.inference.emotion_cli import main
from pixel_mm.inference.triton_client import TritonEmotionClient
from pixel_mm.inference.triton_errors import (
    TritonAnswerError,
    TritonClientError,
    TritonDeadlineError,
    TritonRequestError,
    TritonUnavailableError,
)
from pixel_mm.inference.triton_model import ServedModel, VersionChoice
from pixel_mm.inference.triton_retries import CallLimits
from pixel_mm.inference.triton_transport import Answer, TritonTransport
from tests.tiny_emotion import tiny_graph

RATE = 16_000
SPEC = tiny_graph()[1]
BUCKETS = (16_000, 32_000, 480_000)


def config(**parameters: str) -> dict[str, Any]:
    given = {"model_spec": json.dumps(SPEC.as_dict()), "length_buckets_samples": json.dumps(BUCKETS), **parameters}
    return {"max_batch_size": 4, "parameters": {name: {"string_value": value} for name, value in given.items()}}


MODEL = ServedModel.parse("emotion", ("1", "2"), config())


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


class FakeTransport:
    """Scores a clip with its length in seconds / 30, unless a step of `script` says otherwise."""

    url = "fake:1"

    def __init__(self, script: Sequence[Exception | Callable[[dict], dict] | None] = ()) -> None:
        self.script = list(script)
        self.requests: list[tuple[str, tuple[int, ...]]] = []

    async def infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], timeout_seconds: float
    ) -> Answer:
        self.requests.append((version, inputs["waveform"].shape))
        assert not any(row[n[0] :].any() for row, n in zip(inputs["waveform"], inputs["num_samples"], strict=True))
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        score = (inputs["num_samples"] / 480_000).astype(np.float32)
        found = dict.fromkeys(("valence", "arousal", "dominance"), score)
        found["emotion_probabilities"] = np.full((len(score), 4), 0.25, dtype=np.float32)
        return Answer(step(found) if step else found, version or "2")

    async def close(self) -> None:
        pass


def run_client(
    transport: FakeTransport,
    use: Callable[[TritonEmotionClient], Awaitable[Any]],
    versions: Mapping[str, float] | None = None,
    **limits: Any,
) -> Any:
    async def run() -> Any:
        choice = VersionChoice(versions, MODEL, seed=1)
        async with TritonEmotionClient(transport, MODEL, choice, CallLimits(**limits), seed=1) as client:  # type: ignore[arg-type]
            return await use(client)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.full(RATE, np.nan, np.float32), RATE, "NaN or infinite"),
        (speech(1), 4_000, "sample rate 4000 Hz"),
        (speech(1), float("nan"), "sample rate nan Hz"),
        (np.zeros((1, 2, 400), np.float32), RATE, r"shape \(1, 2, 400\)"),
        (np.zeros(0, np.float32), RATE, "no samples"),
        (speech(31), RATE, r"31\.00 s long.*timeline"),
        (np.zeros(RATE, np.float32), RATE, "silent"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_sent(
    waveform: np.ndarray, rate: float, message: str
) -> None:
    transport = FakeTransport()
    with pytest.raises(AudioError, match=message):
        run_client(transport, lambda client: client.score(waveform, rate))
    first = 0 if rate != RATE else 1  # a rate is of all clips
    with pytest.raises(AudioError, match=f"clip {first}: .*{message}"):
        run_client(transport, lambda client: client.batch([speech(1), waveform], rate))
    assert transport.requests == []


def test_clips_are_padded_to_the_smallest_bucket_and_share_requests() -> None:
    transport = FakeTransport()
    seconds = [0.5, 0.9, 1.5, 1.0, 2.0, 5.0]
    estimates = run_client(transport, lambda client: client.batch([speech(s) for s in seconds], RATE))
    assert [e.scores["valence"] * 30 for e in estimates] == pytest.approx(seconds, abs=1e-4)
    assert [e.end_seconds for e in estimates] == pytest.approx(seconds)
    assert sorted(shape for _, shape in transport.requests) == [(1, 480_000), (2, 32_000), (3, 16_000)]


def test_long_clips_do_not_fill_a_batch_beyond_a_minute_of_audio() -> None:
    transport = FakeTransport()
    run_client(transport, lambda client: client.batch([speech(20)] * 4, RATE))
    assert [shape for _, shape in transport.requests] == [(2, 480_000), (2, 480_000)]


def test_a_timeline_has_the_places_of_its_windows() -> None:
    transport = FakeTransport()
    timeline = run_client(transport, lambda client: client.timeline(speech(40), RATE))
    assert [e.start_seconds for e in timeline[:3]] == [0.0, 2.5, 5.0]
    assert timeline[-1].end_seconds == 40.0


def test_versions_are_drawn_by_weight_for_a_whole_call_and_are_in_every_result() -> None:
    transport = FakeTransport()

    async def use(client: TritonEmotionClient) -> list[str]:
        found = []
        for _ in range(200):
            estimates = await client.batch([speech(0.5), speech(1.5)], RATE)
            assert estimates[0].model_version == estimates[1].model_version
            found.append(estimates[0].model_version)
        return found

    drawn = Counter(run_client(transport, use, {"1": 0.9, "2": 0.1}, linger_seconds=0))
    assert 165 <= drawn["1"] <= 195
    assert drawn["1"] + drawn["2"] == 200
    assert (
        run_client(transport, lambda client: client.score(speech(1), RATE)).model_version == "2"
    )  # the server's choice


@pytest.mark.parametrize("weights", [{"1": -1.0}, {"1": 0.0, "2": 0.0}, {"1": float("nan")}, {"3": 1.0}])
def test_impossible_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="versions"):
        VersionChoice(weights, MODEL)


def test_what_is_unavailable_is_asked_again_and_what_is_refused_is_not() -> None:
    down = TritonUnavailableError("fake:1: connection refused")
    transport = FakeTransport([down, down, down])
    assert run_client(transport, lambda c: c.score(speech(3), RATE), first_pause_seconds=0.01).scores
    assert len(transport.requests) == 4
    for error in (TritonRequestError("no"), TritonDeadlineError("late"), TritonAnswerError("rubbish")):
        transport = FakeTransport([error])
        with pytest.raises(type(error)):
            run_client(transport, lambda c: c.score(speech(3), RATE))
        assert len(transport.requests) == 1


def test_a_server_that_stays_away_costs_no_more_than_the_deadline() -> None:
    start = time.monotonic()
    with pytest.raises(TritonUnavailableError, match=r"refused \(\d+ attempts\)"):
        run_client(
            FakeTransport([TritonUnavailableError("refused")] * 1000),
            lambda c: c.score(speech(1), RATE, deadline_seconds=0.5),
            first_pause_seconds=0.05,
        )
    assert time.monotonic() - start < 3


def test_pauses_are_random_and_grow() -> None:
    pauses = []
    for seed in range(20):
        transport = FakeTransport([TritonUnavailableError("down")] * 3)
        limits = CallLimits(first_pause_seconds=0.01, longest_pause_seconds=0.02)

        async def run(transport: Any = transport, limits: CallLimits = limits, seed: int = seed) -> float:
            client = TritonEmotionClient(transport, MODEL, VersionChoice(None, MODEL), limits, seed)
            start = time.monotonic()
            await client.score_prepared([speech(1)])
            return time.monotonic() - start

        pauses.append(asyncio.run(run()))
    assert len({round(pause, 3) for pause in pauses}) > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: {**found, "arousal": found["arousal"] * np.nan}, "NaN or infinity as 'arousal'"),
        (lambda found: {**found, "valence": found["valence"] + 2}, "outside 0 to 1 as 'valence'"),
        (lambda found: {**found, "valence": found["valence"][:, 0]}, "not float32 .* as 'valence'"),
        (lambda found: {**found, "valence": found["valence"].astype(np.float64)}, "float64 .* as 'valence'"),
        (lambda found: {**found, "emotion_probabilities": found["emotion_probabilities"] * 2}, "do not sum to 1"),
        (lambda found: {name: array[:0] for name, array in found.items()}, r"float32 \[0, 1\]"),
    ],
)
def test_answers_that_no_such_model_gives_are_refused(change: Callable[[dict], dict], message: str) -> None:
    with pytest.raises(TritonAnswerError, match=f"fake:1: version 2 gave .*{message}"):
        run_client(FakeTransport([change]), lambda client: client.score(speech(1), RATE))


@pytest.mark.parametrize(
    ("served", "message"),
    [
        ({"max_batch_size": 4}, "lacks 'model_spec'"),
        (config(model_spec="{"), "cannot be used"),
        (config(model_spec=json.dumps(replace(SPEC, task="speech_recognition").as_dict())), "does speech_recognition"),
        (config(model_spec=json.dumps(replace(SPEC, sample_rate_hz=8_000).as_dict())), "8000 Hz"),
        (config(length_buckets_samples="[-1]"), "length_buckets_samples"),
        ({**config(), "max_batch_size": 0}, "max_batch_size is 0"),
    ],
)
def test_models_that_this_client_cannot_use_are_refused(served: dict[str, Any], message: str) -> None:
    class Describing(FakeTransport):
        async def config(self, model: str, timeout_seconds: float) -> dict[str, Any]:
            return served

        async def versions(self, model: str, timeout_seconds: float) -> tuple[str, ...]:
            return ("1",)

    with pytest.raises(TritonRequestError, match=f"model 'emotion' cannot be used here.*{message}|{message}"):
        asyncio.run(ServedModel.find(Describing(), "emotion", 1.0))  # type: ignore[arg-type]


@contextmanager
def answering(reply: bytes | None) -> Iterator[str]:
    """HOST:PORT of a server that answers everything with the same bytes; None never answers."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)

    def serve() -> None:
        held = []
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            held.append(connection)
            connection.settimeout(1)
            if reply is not None:
                try:
                    connection.recv(65536)
                    connection.sendall(reply)
                    connection.close()
                except OSError:
                    pass
        for connection in held:
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        thread.join()
        listener.close()


def http(body: str, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def connect(url: str, protocol: str, seconds: float = 1.0) -> None:
    limits = CallLimits(connect_seconds=seconds, first_pause_seconds=0.05)
    asyncio.run(TritonEmotionClient.connect(url, "emotion", protocol, limits=limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reply",
    [
        http("<html>It works!</html>", "text/html"),
        http("[1, 2"),
        http("null"),
        http('"yes"'),
        http("\x00\x01"),
        http('{"parameters": {"model_spec": 3}}'),
        b"rubbish\r\n\r\n",
    ],
)
def test_a_service_that_is_not_triton_is_named(reply: bytes) -> None:
    with answering(reply) as url, pytest.raises((TritonAnswerError, TritonRequestError), match=url):
        connect(url, "http")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_that_never_answers_meets_the_deadline(protocol: str) -> None:
    start = time.monotonic()
    with answering(None) as url, pytest.raises(TritonClientError, match=url):
        connect(url, protocol, 0.5)
    assert time.monotonic() - start < 4


def test_rubbish_over_grpc_is_an_error_of_the_client() -> None:
    with answering(b"rubbish\r\n\r\n") as url, pytest.raises(TritonClientError, match=url):
        connect(url, "grpc", 0.5)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_that_is_down_is_named(protocol: str) -> None:
    with answering(None) as url:
        pass  # the port is free again
    with pytest.raises(TritonUnavailableError, match=rf"{url}.*attempts"):
        connect(url, protocol, 0.5)


@pytest.mark.parametrize("status", ["503 Service Unavailable", "502 Bad Gateway"])
def test_what_a_proxy_says_is_unavailable(status: str) -> None:
    with answering(http("{}", status=status)) as url, pytest.raises(TritonUnavailableError):
        connect(url, "http", 2.0)


def test_urls_and_protocols_are_checked() -> None:
    for url, protocol, message in (
        ("http://localhost:8000", "http", "give HOST:PORT"),
        ("localhost", "grpc", "give HOST:PORT"),
        ("localhost:8001", "carrier pigeon", "grpc or http"),
    ):
        with pytest.raises(ValueError, match=message):
            TritonTransport(url, protocol)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_in_flight is 0"):
        CallLimits(max_in_flight=0)


def test_the_command_names_a_server_that_is_down(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    importlib.import_module("pixel_mm.inference.triton_recognizer")  # whose annotations need the real CallLimits
    monkeypatch.setattr("pixel_mm.inference.triton_client.CallLimits", lambda: CallLimits(connect_seconds=0.3))
    with answering(None) as url:
        pass
    assert main([f"grpc://{url}/emotion", "a.wav"]) == 2
    assert url in capsys.readouterr().err
    assert main([f"ftp://{url}/emotion", "a.wav"]) == 2
    assert "give grpc://HOST:PORT/MODEL" in capsys.readouterr().err
