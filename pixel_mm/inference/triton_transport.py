"""gRPC and HTTP to a Triton server alike: arrays in and out by name, every failure one of `triton_errors`."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import aiohttp
import grpc
import numpy as np
import tritonclient.grpc.aio as triton_grpc
import tritonclient.http.aio as triton_http
from tritonclient.utils import InferenceServerException

from pixel_mm.inference.emotion_estimate import Arrays
from pixel_mm.inference.triton_errors import (
    TritonAnswerError,
    TritonClientError,
    TritonDeadlineError,
    TritonRequestError,
    TritonUnavailableError,
)

Protocol = Literal["grpc", "http"]
Result = TypeVar("Result")

_DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "object": "BYTES"}
# What a server says while it starts, stops or has too much to do, and what a proxy before one says.
_UNAVAILABLE = ("StatusCode.UNAVAILABLE", "StatusCode.RESOURCE_EXHAUSTED", "429", "502", "503")
_DEADLINE = ("StatusCode.DEADLINE_EXCEEDED", "504")
_NO_VERSION = "has no available versions"  # between the end of one and the start of the next
_UNAVAILABLE_NOW = (_NO_VERSION, "is not ready", "is not available now")  # the last: see `triton_joiner`
_LARGEST_MESSAGE = 2**31 - 1
# gRPC itself waits ever longer, up to two minutes, before it tries a lost server again; callers wait by themselves.
_CHANNEL = [
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """Outputs of one request.

    Attributes:
        outputs: by name.
        version: of the model that gave them.
    """

    outputs: Arrays
    version: str


class TritonTransport:
    """One connection to a server, used by one event loop.

    Args:
        url: HOST:PORT of the service.
        protocol: "grpc" or "http".

    Raises:
        ValueError: the URL or the protocol is not of that kind.
    """

    def __init__(self, url: str, protocol: Protocol = "grpc") -> None:
        """Prepare a connection, which is made with the first request; call this inside the event loop."""
        if protocol not in ("grpc", "http"):
            raise ValueError(f"protocol is '{protocol}'; it is grpc or http")
        if "/" in url or not url.rpartition(":")[2].isdigit():
            raise ValueError(f"url is '{url}'; give HOST:PORT, e.g. localhost:8001 for gRPC or localhost:8000 for HTTP")
        self.url, self.protocol = url, protocol
        self._api = triton_grpc if protocol == "grpc" else triton_http
        self._client: Any = (
            triton_grpc.InferenceServerClient(url, channel_args=_CHANNEL)
            if protocol == "grpc"
            else triton_http.InferenceServerClient(url, conn_timeout=None)
        )

    async def close(self) -> None:
        """End the connection."""
        await self._client.close()

    async def infer(
        self, model: str, version: str, inputs: Arrays, outputs: Sequence[str], timeout_seconds: float
    ) -> Answer:
        """Run one batch.

        Args:
            model: its name.
            version: of the model; "" leaves it to the server.
            inputs: float32 and int64 by name.
            outputs: names of what is wanted.
            timeout_seconds: for the answer.

        Raises:
            TritonClientError: one of its kinds.
        """
        tensors, wanted = self._tensors(inputs, outputs)
        result = await self._call(
            timeout_seconds, lambda: self._client.infer(model, tensors, model_version=version, outputs=wanted)
        )
        with self._translated():
            answer = result.get_response()
            found = {name: result.as_numpy(name) for name in outputs}
            version = answer.model_version if self.protocol == "grpc" else str(answer["model_version"])
        if missing := [name for name, array in found.items() if not isinstance(array, np.ndarray)]:
            raise TritonAnswerError(f"{self.url} answers without the output '{missing[0]}'; is it a Triton server?")
        return Answer(found, version)

    async def stream(
        self, model: str, version: str, inputs: Arrays, outputs: Sequence[str], end: float
    ) -> AsyncIterator[Answer]:
        """Answers of a model that gives several to a request, as they come. To close the iterator cancels the request.

        Args:
            model: its name.
            version: of the model; "" leaves it to the server.
            inputs: arrays by name; text is bytes in an array of objects.
            outputs: names of what is wanted.
            end: the event loop's time by which the last one is wanted.

        Raises:
            TritonClientError: one of its kinds.
            ValueError: the connection is not one of gRPC, which alone has streams.
        """
        if self.protocol != "grpc":
            raise ValueError("answers come in a stream over gRPC alone; connect with protocol='grpc'")
        tensors, wanted = self._tensors(inputs, outputs)

        async def request() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": model, "model_version": version, "inputs": tensors, "outputs": wanted}

        answers = self._client.stream_infer(request())
        failure: TritonClientError | None = None
        under_way = True
        try:
            while True:
                left = end - asyncio.get_running_loop().time()
                try:
                    result, error = await self._call(max(left, 0.0), answers.__anext__)
                except StopAsyncIteration:
                    under_way = False
                    break
                if error is not None:
                    failure = self._kind_in_stream(str(error.message()))(f"{self.url}: {error.message()}")
                    continue
                with self._translated():
                    found = {name: result.as_numpy(name) for name in outputs}
                    answered = result.get_response().model_version
                yield Answer(found, answered)
        finally:
            if under_way:  # what is over must not be cancelled: Triton 24.10 may crash then
                answers.cancel()
        if failure is not None:
            raise failure

    def _tensors(self, inputs: Arrays, outputs: Sequence[str]) -> tuple[list[Any], list[Any]]:
        tensors = []
        for name, array in inputs.items():
            tensor = self._api.InferInput(name, list(array.shape), _DATATYPES[str(array.dtype)])
            tensors.append(tensor.set_data_from_numpy(array))
        return tensors, [self._api.InferRequestedOutput(name) for name in outputs]

    async def is_live(self, timeout_seconds: float) -> bool:
        """Whether the server answers; False covers all that can be wrong with it."""
        return await self._yes(timeout_seconds, self._client.is_server_live)

    async def is_ready(self, timeout_seconds: float) -> bool:
        """Whether the server and the models that it was started with are ready."""
        return await self._yes(timeout_seconds, self._client.is_server_ready)

    async def is_model_ready(self, model: str, version: str, timeout_seconds: float) -> bool:
        """Whether a version of a model takes requests; "" asks for any."""
        return await self._yes(timeout_seconds, lambda: self._client.is_model_ready(model, version))

    async def config(self, model: str, timeout_seconds: float) -> dict[str, Any]:
        """A model's configuration, in the JSON of Triton's protocol.

        Raises:
            TritonClientError: one of its kinds.
        """
        content = await self._described(timeout_seconds, self._client.get_model_config, model)
        return dict(content.get("config", content))  # gRPC has one more wrapping

    async def versions(self, model: str, timeout_seconds: float) -> tuple[str, ...]:
        """Versions of a model that are served.

        Raises:
            TritonClientError: one of its kinds.
        """
        content = await self._described(timeout_seconds, self._client.get_model_metadata, model)
        return tuple(str(version) for version in content.get("versions", ()))

    async def index(self, timeout_seconds: float) -> list[dict[str, str]]:
        """Every model of the repository: name, and version, state and reason where it was loaded once.

        Raises:
            TritonClientError: one of its kinds.
        """
        content = await self._described(timeout_seconds, self._client.get_model_repository_index)
        return list(content.get("models", ()) if isinstance(content, dict) else content)

    async def _described(self, timeout_seconds: float, method: Callable[..., Awaitable[Any]], *names: str) -> Any:
        arguments: dict[str, Any] = {"as_json": True} if self.protocol == "grpc" else {}
        content = await self._call(timeout_seconds, lambda: method(*names, **arguments))
        if not isinstance(content, dict | list):
            raise TritonAnswerError(f"{self.url} does not answer as a Triton server does")
        return content

    async def _yes(self, timeout_seconds: float, ask: Callable[[], Awaitable[Any]]) -> bool:
        try:
            return bool(await self._call(timeout_seconds, ask))
        except TritonClientError:
            return False

    async def _call(self, timeout_seconds: float, ask: Callable[[], Awaitable[Result]]) -> Result:
        with self._translated():
            try:
                async with asyncio.timeout(timeout_seconds):
                    return await ask()
            except TimeoutError:
                raise TritonDeadlineError(f"{self.url} gave no answer in {timeout_seconds:.3g} s") from None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise one of `triton_errors` for whatever the libraries raise."""
        try:
            yield
        except (TritonClientError, asyncio.CancelledError):
            raise
        except InferenceServerException as error:
            raise self._kind(error)(f"{self.url}: {error.message() or error}") from None
        except grpc.aio.AioRpcError as error:  # of streams, in which the library leaves it as it is
            same = InferenceServerException(error.details() or "", status=str(error.code()))
            raise self._kind(same)(f"{self.url}: {error.details() or error.code()}") from None
        except (
            aiohttp.ClientPayloadError,
            aiohttp.ClientConnectionError,
            ConnectionError,
            grpc.aio.UsageError,
        ) as error:
            raise TritonUnavailableError(f"{self.url}: {error or type(error).__name__}") from None
        except (json.JSONDecodeError, aiohttp.ClientError, ValueError, KeyError, TypeError, AttributeError) as error:
            # What the client library meets in an answer that is not Triton's.
            raise TritonAnswerError(f"{self.url} does not answer as a Triton server does: {error}") from None

    def _kind_in_stream(self, message: str) -> type[TritonClientError]:
        """Errors of single requests have no status there."""
        return TritonUnavailableError if any(known in message for known in _UNAVAILABLE_NOW) else TritonRequestError

    def _kind(self, error: InferenceServerException) -> type[TritonClientError]:
        status, message = str(error.status()), str(error.message())
        if status in _DEADLINE:
            return TritonDeadlineError
        if status in _UNAVAILABLE or _NO_VERSION in message:
            return TritonUnavailableError
        if status == "None" or "while decoding the response" in message:
            return TritonAnswerError
        return TritonRequestError
