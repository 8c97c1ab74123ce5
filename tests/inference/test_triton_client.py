"""What the client sends, asks again and refuses, over a transport that tells nonsense."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pixel_mm.audio import AudioError
from pixel_mm.inference.triton_client import TritonEmotionClient
from pixel_mm.inference.triton_errors import (
    TritonAnswerError,
    TritonDeadlineError,
    TritonRequestError,
    TritonUnavailableError,
)
from pixel_mm.inference.triton_model import ServedModel, VersionChoice
from pixel_mm.inference.triton_retries import CallLimits
from pixel_mm.inference.triton_transport import Answer
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
