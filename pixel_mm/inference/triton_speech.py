"""Writes down what is said with a recogniser on a Triton server: text while it grows, over gRPC.

    with TritonSpeechRecognizer("localhost:8001", "speech") as recognizer:
        recognizer(waveform, sample_rate_hz=48_000).text
        for partial in recognizer.stream_result(waveform, sample_rate_hz=48_000):
            print(partial.text, partial.final)

`python -m pixel_mm.export target=triton_recognizer` puts one there. Needs the `triton` extra, and neither torch nor
onnxruntime.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import MAX_SAMPLES, MAX_SECONDS, SAMPLE_RATE_HZ, AudioError, prepare
from pixel_mm.inference.doubt import is_believable, is_doubtful
from pixel_mm.inference.emotion_estimate import Arrays
from pixel_mm.inference.triton_errors import TritonAnswerError, TritonRequestError
from pixel_mm.inference.triton_loop import wait_for
from pixel_mm.inference.triton_retries import CallLimits, retry
from pixel_mm.inference.triton_transport import Answer, TritonTransport
from pixel_mm.models.speech_recognition.decoding import Hypothesis

TASK = "speech_recognition"
_OUTPUTS = ("text", "language", "confidence", "no_speech_probability", "final")


@dataclass(frozen=True, slots=True)
class ServedTranscript:
    """What a server has written of an utterance so far.

    Attributes:
        text: without spaces around it; what comes later begins with it.
        language: ISO 639-1 code that was given or found.
        confidence: mean probability (geometric) of the tokens so far as the model has it, 0 to 1; not calibrated.
        no_speech_probability: that nobody speaks, as the model has it, 0 to 1.
        final: whether this is the whole transcript.
        model_version: that wrote it.
    """

    text: str
    language: str
    confidence: float
    no_speech_probability: float
    final: bool
    model_version: str

    @property
    def is_believable(self) -> bool:
        """Whether somebody may have said this; `SpeechRecognizer` leaves out what is not, by the same rules."""
        doubts = Hypothesis((), (math.log(max(self.confidence, 1e-9)),), self.no_speech_probability, self.language)
        return is_believable(self.text) and not is_doubtful(doubts)


class TritonSpeechRecognizer:
    """Transcribes utterances of 25 ms to 30 s on a server; safe to call from any thread.

    Every method raises `TritonClientError`, one of its kinds: a `TritonUnavailableError` may be gone soon, a
    `TritonRequestError` says what the server refuses.

    Args:
        url: HOST:PORT of the gRPC service.
        model: its name in the repository.
        version: of the model; "" takes the newest that is served.
        language: ISO 639-1 code of what is spoken; None lets the model find it.
        beam_size: transcripts that are followed at a time.
        hot_words: words and phrases that are expected.
        limits: `deadline_seconds` is for one utterance, to its last word.

    Raises:
        TritonClientError: no server, no such model, or none that this client can use.
        ValueError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        model: str = "speech",
        version: str = "",
        language: str | None = None,
        beam_size: int = 1,
        hot_words: Sequence[str] = (),
        limits: CallLimits | None = None,
    ) -> None:
        """Find the model."""
        self._model, self._version, self._limits = model, version, limits or CallLimits()
        self._options: dict[str, NDArray[Any]] = {"beam_size": np.array([beam_size], dtype=np.int32)}
        if language is not None:
            self._options["language"] = _texts([language])
        if hot_words:
            self._options["hot_words"] = _texts(hot_words)
        self._transport = wait_for(self._connect(url))

    def __call__(self, waveform: NDArray[Any], sample_rate_hz: float) -> ServedTranscript:
        """Transcribe one utterance; asks again, until the deadline, while the server is not available.

        Args:
            waveform: [samples] or [channels, samples], floating point or full-scale integers.
            sample_rate_hz: 8 000 to 192 000.

        Raises:
            AudioError: audio that cannot be transcribed at once; nothing was sent.
        """
        inputs = self._inputs(waveform, sample_rate_hz)
        return wait_for(self._whole(inputs))

    def stream_result(self, waveform: NDArray[Any], sample_rate_hz: float) -> Iterator[ServedTranscript]:
        """Transcribe one utterance and tell of it while it is written; who stops listening cancels the request.

        Args:
            waveform: see `__call__`.
            sample_rate_hz: see `__call__`.

        Yields:
            Texts that only grow, the last one `final`.

        Raises:
            AudioError: audio that cannot be transcribed at once; nothing was sent.
        """
        inputs = self._inputs(waveform, sample_rate_hz)
        answers = self._stream(inputs, self._limits.deadline_seconds)
        try:
            while (found := wait_for(_next(answers))) is not None:
                yield found
        finally:
            wait_for(_closed(answers))

    def close(self) -> None:
        """End the connection."""
        wait_for(self._transport.close())

    def __enter__(self) -> "TritonSpeechRecognizer":
        """The recogniser itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    async def _connect(self, url: str) -> TritonTransport:
        transport = TritonTransport(url)
        try:
            end = asyncio.get_running_loop().time() + self._limits.connect_seconds
            config = await retry(
                url, lambda left: transport.config(self._model, left), end, self._limits, random.Random()
            )
            task = config.get("parameters", {}).get("task", {}).get("string_value", "something unknown")
            if task != TASK:
                raise TritonRequestError(
                    f"{url}: model '{self._model}' does {task}, not {TASK}; "
                    "put one there with python -m pixel_mm.export target=triton_recognizer"
                )
        except BaseException:
            await transport.close()
            raise
        return transport

    def _inputs(self, waveform: NDArray[Any], sample_rate_hz: float) -> Arrays:
        prepared = prepare(waveform, sample_rate_hz).waveform
        if prepared.size > MAX_SAMPLES:
            seconds = prepared.size / SAMPLE_RATE_HZ
            raise AudioError(f"{seconds:.2f} s long; at most {MAX_SECONDS:g} s go at once, so cut it in pauses")
        return {"waveform": prepared, **self._options}

    async def _stream(self, inputs: Arrays, seconds: float) -> AsyncIterator[ServedTranscript]:
        end = asyncio.get_running_loop().time() + seconds
        answers = self._transport.stream(self._model, self._version, inputs, _OUTPUTS, end)
        complete = False
        try:
            async for answer in answers:
                found = self._read(answer)
                complete = found.final
                yield found
        finally:
            await _closed(answers)
        if not complete:
            raise TritonAnswerError(f"{self._transport.url} ended the stream before the whole transcript was there")

    async def _whole(self, inputs: Arrays) -> ServedTranscript:
        async def attempt(left_seconds: float) -> ServedTranscript:
            found = [each async for each in self._stream(inputs, left_seconds)]
            return found[-1]

        end = asyncio.get_running_loop().time() + self._limits.deadline_seconds
        return await retry(self._transport.url, attempt, end, self._limits, random.Random())

    def _read(self, answer: Answer) -> ServedTranscript:
        try:
            text, language, confidence, no_speech, final = (answer.outputs[name].item() for name in _OUTPUTS)
            return ServedTranscript(
                text.decode(), language.decode(), float(confidence), float(no_speech), bool(final), answer.version
            )
        except (AttributeError, ValueError) as error:
            raise TritonAnswerError(
                f"{self._transport.url}: version {answer.version} gave no transcript: {error}"
            ) from None


def _texts(texts: Sequence[str]) -> NDArray[Any]:
    return np.array([text.encode() for text in texts], dtype=np.object_)


async def _next(answers: AsyncIterator[ServedTranscript]) -> ServedTranscript | None:
    return await anext(answers, None)


async def _closed(answers: Any) -> None:
    await answers.aclose()
