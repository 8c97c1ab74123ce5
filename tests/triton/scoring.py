"""Clips to score, and what came of scoring them."""

import re

import numpy as np
import pytest

from pixel_mm.inference.emotion_estimate import EmotionEstimate
from pixel_mm.serving.server import TritonServer

RATE = 16_000
MIXED_SECONDS = (1.0, 7.9, 0.025, 3.3, 30.0, 2.0, 0.7, 5.1, 1.9, 4.0, 6.2, 1.2, 2.8, 0.3, 3.9, 8.0)


def speech(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time_seconds = np.arange(round(seconds * rate)) / rate
    pitch = generator.uniform(90, 280)
    return (0.1 * sum(np.sin(2 * np.pi * k * pitch * time_seconds) / k for k in range(1, 6))).astype(np.float32)


def same(one: EmotionEstimate, other: EmotionEstimate, atol: float = 1e-4) -> None:
    expected = {**other.scores, **other.emotions}
    for name, value in {**one.scores, **one.emotions}.items():
        assert value == pytest.approx(expected[name], abs=atol)
    assert (one.start_seconds, one.end_seconds) == (other.start_seconds, other.end_seconds)


def executions(server: TritonServer, model: str) -> tuple[int, int]:
    """Requests answered and executions made so far, as the server's metrics tell."""
    counts = []
    for name in ("nv_inference_request_success", "nv_inference_exec_count"):
        found = re.findall(rf'^{name}{{model="{model}",.*}} (\S+)$', server.metrics(), re.MULTILINE)
        counts.append(int(sum(float(value) for value in found)))
    return counts[0], counts[1]
