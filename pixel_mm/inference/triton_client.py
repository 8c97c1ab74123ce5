"""Scores how speech sounds with a model on a Triton server: asynchronous, over gRPC or HTTP.

    async with await TritonEmotionClient.connect("localhost:8001", "emotion") as client:
        estimate = await client.score(waveform, sample_rate_hz=48_000)
        estimate.scores["arousal"], estimate.model_version

`connect_recognizer` in pixel_mm.inference.triton_recognizer gives the same without `await`, with the interface of
`AudioEmotionRecognizer`. Needs the `triton` extra, and none of torch and onnxruntime.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from pixel_mm.audio import AudioError, Waveform, prepare
from pixel_mm.inference.emotion_estimate import EmotionEstimate, estimate_of, prepared_clip, speech_windows
from pixel_mm.inference.triton_errors import TritonClientError
from pixel_mm.inference.triton_model import ServedModel, VersionChoice, check_answer, join_clips
from pixel_mm.inference.triton_queue import BatchingQueue
from pixel_mm.inference.triton_retries import CallLimits, retry
from pixel_mm.inference.triton_transport import Protocol, TritonTransport
from pixel_mm.model_folder import ModelSpec

_MAX_BATCH_SAMPLES = 60 * 16_000  # of a request, padding included: 4 MB


@dataclass(frozen=True, slots=True)
class Health:
    """What a server says of itself and of one model.

    Attributes:
        live: it answers.
        ready: it and all the models that it was started with are ready.
        versions: of the model that take requests; none while it is not ready.
    """

    live: bool
    ready: bool
    versions: tuple[str, ...]


class TritonEmotionClient:
    """Scores clips on a server; all of it belongs to the event loop that `connect` ran in.

    Args:
        transport: the connection.
        model: as the server describes it.
        choice: of the version for each call.
        limits: how long and how much.
        seed: of pauses.
    """

    def __init__(
        self,
        transport: TritonTransport,
        model: ServedModel,
        choice: VersionChoice,
        limits: CallLimits,
        seed: int | None = None,
    ) -> None:
        """Use a connection; most callers want `connect`."""
        self.model, self.limits = model, limits
        self._transport, self._choice = transport, choice
        self._random = random.Random(seed)
        self._queue = BatchingQueue[tuple[str, int], Waveform, EmotionEstimate](
            transport.url, self._send, self._max_batch, limits.max_in_flight, limits.max_waiting, limits.linger_seconds
        )

    @classmethod
    async def connect(
        cls,
        url: str,
        model: str = "emotion",
        protocol: Protocol = "grpc",
        versions: Mapping[str, float] | None = None,
        limits: CallLimits | None = None,
        seed: int | None = None,
    ) -> "TritonEmotionClient":
        """Find a model on a server.

        Args:
            url: HOST:PORT.
            model: its name in the repository.
            protocol: "grpc" or "http".
            versions: weights by version, for A/B: each call is scored by one of them, drawn by weight. None leaves the
                choice to the server, which takes the newest.
            limits: how long and how much.
            seed: of the draws and pauses.

        Raises:
            TritonClientError: no server, no such model, or none that this client can use.
            ValueError: impossible options, among them weights for a version that is not served.
        """
        limits = limits or CallLimits()
        transport = TritonTransport(url, protocol)
        try:
            end = asyncio.get_running_loop().time() + limits.connect_seconds
            generator = random.Random(seed)
            served = await retry(url, lambda left: ServedModel.find(transport, model, left), end, limits, generator)
            return cls(transport, served, VersionChoice(versions, served, seed), limits, seed)
        except BaseException:
            await transport.close()
            raise

    @property
    def spec(self) -> ModelSpec:
        """Labels, rate, limits and origin of the model."""
        return self.model.spec

    async def score(
        self, waveform: NDArray[Any], sample_rate_hz: float, deadline_seconds: float | None = None
    ) -> EmotionEstimate:
        """Score one clip.

        Args:
            waveform: [samples] or [channels, samples], floating point or full-scale integers; 25 ms to 30 s.
            sample_rate_hz: 8 000 to 192 000.
            deadline_seconds: for this call, in place of the client's.

        Raises:
            AudioError: a clip that cannot be scored; nothing was sent.
            TritonClientError: one of its kinds, see `triton_errors`.
        """
        return (await self.batch([waveform], sample_rate_hz, deadline_seconds))[0]

    async def batch(
        self, waveforms: Sequence[NDArray[Any]], sample_rate_hz: float, deadline_seconds: float | None = None
    ) -> list[EmotionEstimate]:
        """Score clips of any lengths, all by one version; each gets the score that it has alone (to 1e-4).

        Raises:
            AudioError: a clip that cannot be scored; the message gives its index, and nothing was sent.
            TritonClientError: one of its kinds.
        """
        end = self._end(deadline_seconds)
        prepared = []
        for index, waveform in enumerate(waveforms):
            try:
                prepared.append(await asyncio.to_thread(prepared_clip, waveform, sample_rate_hz, self.spec))
            except AudioError as error:
                raise AudioError(f"clip {index}: {error}" if len(waveforms) > 1 else str(error)) from None
        return await self.score_prepared(prepared, end=end)

    async def timeline(
        self,
        waveform: NDArray[Any],
        sample_rate_hz: float,
        window_seconds: float = 5.0,
        overlap_seconds: float = 2.5,
        deadline_seconds: float | None = None,
    ) -> list[EmotionEstimate]:
        """Score audio of any length window by window, see `AudioEmotionRecognizer.timeline`.

        Raises:
            AudioError: audio that cannot be scored.
            ValueError: impossible windows.
            TritonClientError: one of its kinds.
        """
        end = self._end(deadline_seconds)
        prepared = (await asyncio.to_thread(prepare, waveform, sample_rate_hz)).waveform
        places = speech_windows(prepared, self.spec, window_seconds, overlap_seconds)
        return await self.score_prepared([prepared[a:b] for a, b in places], [a for a, _ in places], end)

    def draw_version(self) -> str:
        """A version by weight; "" leaves it to the server."""
        return self._choice.draw()

    async def score_prepared(
        self,
        waveforms: Sequence[Waveform],
        starts: Sequence[int] | None = None,
        end: float | None = None,
        version: str | None = None,
    ) -> list[EmotionEstimate]:
        """Score what `pixel_mm.audio.prepare` gave, at most 30 s each.

        Args:
            waveforms: float32 [T] each.
            starts: first sample of each in the audio that it is of; None is 0.
            end: the event loop's time by which all results are wanted; None takes the client's deadline.
            version: that scores them; None draws one.

        Raises:
            TritonClientError: one of its kinds; the first that any of the clips met.
        """
        end = self._end(None) if end is None else end
        version = self.draw_version() if version is None else version
        keys = [(version, self.model.padded_length(waveform.size)) for waveform in waveforms]
        tasks = [
            asyncio.ensure_future(self._queue.submit(key, waveform, end))
            for key, waveform in zip(keys, waveforms, strict=True)
        ]
        try:
            estimates = list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        rate = self.spec.sample_rate_hz
        return [
            estimate.moved(start / rate)
            for estimate, start in zip(estimates, starts or [0] * len(estimates), strict=True)
        ]

    async def health(self, timeout_seconds: float = 2.0) -> Health:
        """Ask the server how it is; never raises for what is wrong with it."""
        live, ready = await asyncio.gather(
            self._transport.is_live(timeout_seconds), self._transport.is_ready(timeout_seconds)
        )
        try:
            versions = await self._transport.versions(self.model.name, timeout_seconds)
        except TritonClientError:
            versions = ()
        return Health(live, ready, versions)

    async def models(self, timeout_seconds: float = 5.0) -> list[dict[str, str]]:
        """Every model in the server's repository: name, and version, state and reason where it was loaded once.

        Raises:
            TritonClientError: one of its kinds.
        """
        return await self._transport.index(timeout_seconds)

    async def close(self) -> None:
        """Refuse what waits, wait for what is under way, end the connection."""
        await self._queue.close()
        await self._transport.close()

    async def __aenter__(self) -> "TritonEmotionClient":
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    def _end(self, deadline_seconds: float | None) -> float:
        seconds = self.limits.deadline_seconds if deadline_seconds is None else deadline_seconds
        if not seconds > 0:
            raise ValueError(f"deadline_seconds is {seconds}; it must be above 0")
        return asyncio.get_running_loop().time() + seconds

    def _max_batch(self, key: tuple[str, int]) -> int:
        return max(1, min(self.model.max_batch_size, _MAX_BATCH_SAMPLES // key[1]))

    async def _send(self, key: tuple[str, int], waveforms: Sequence[Waveform], end: float) -> list[EmotionEstimate]:
        """One request; scoring changes nothing on the server, so it may be sent again."""
        version, length = key
        inputs = join_clips(waveforms, length)
        names = [tensor.name for tensor in self.spec.outputs]

        async def attempt(left_seconds: float) -> list[EmotionEstimate]:
            answer = await self._transport.infer(self.model.name, version, inputs, names, left_seconds)
            outputs = check_answer(answer, self.spec, len(waveforms), self._transport.url)
            return [
                estimate_of(self.spec, outputs, row, 0, waveform.size, answer.version)
                for row, waveform in enumerate(waveforms)
            ]

        return await retry(self._transport.url, attempt, end, self.limits, self._random)
