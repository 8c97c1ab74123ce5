"""The client of a served recogniser, as far as it runs without a server."""

import pytest

from pixel_mm.inference.triton_errors import TritonUnavailableError
from pixel_mm.inference.triton_retries import CallLimits
from pixel_mm.inference.triton_speech import ServedTranscript, TritonSpeechRecognizer


def transcript(text: str, confidence: float = 0.9, no_speech_probability: float = 0.1) -> ServedTranscript:
    return ServedTranscript(text, "en", confidence, no_speech_probability, True, "1")


def test_what_is_invented_can_be_told() -> None:
    assert transcript("He said that he would come.").is_believable
    assert transcript("He said that he would come.", confidence=0.3).is_believable
    assert not transcript("Thank you.", confidence=0.3, no_speech_probability=0.5).is_believable
    assert not transcript("").is_believable
    assert not transcript("and so on " * 30).is_believable
    assert not transcript("Thank you.", confidence=0.0, no_speech_probability=1.0).is_believable


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(TritonUnavailableError, match=r"127\.0\.0\.1:9.*attempts"):
        TritonSpeechRecognizer("127.0.0.1:9", limits=CallLimits(connect_seconds=0.5))
    with pytest.raises(ValueError, match="give HOST:PORT"):
        TritonSpeechRecognizer("grpc://localhost:8001/speech")
