"""The client against servers that are not there, never answer, or are no Triton servers."""

import asyncio
import importlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pixel_mm.inference.emotion_cli import main
from pixel_mm.inference.triton_client import TritonEmotionClient
from pixel_mm.inference.triton_errors import (
    TritonAnswerError,
    TritonClientError,
    TritonRequestError,
    TritonUnavailableError,
)
from pixel_mm.inference.triton_retries import CallLimits
from pixel_mm.inference.triton_transport import TritonTransport


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
