"""Asking again: what the caller is told when the time is over, wherever in an attempt that falls."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from pixel_mm.inference.triton_errors import TritonClientError, TritonDeadlineError, TritonUnavailableError
from pixel_mm.inference.triton_retries import CallLimits, retry


def ask(attempt: Callable[[float], Awaitable[str]], seconds: float) -> str:
    async def call() -> str:
        end = asyncio.get_running_loop().time() + seconds
        limits = CallLimits(first_pause_seconds=0.001, longest_pause_seconds=0.001)
        return await retry("server", attempt, end, limits, random.Random(1))

    return asyncio.run(call())


def failing(*errors: TritonClientError | float) -> Callable[[float], Awaitable[str]]:
    """An attempt that meets these one after the other, then answers; a number is the seconds that it takes first."""
    left = list(errors)

    async def attempt(seconds: float) -> str:
        while left:
            if isinstance(step := left.pop(0), float):
                await asyncio.sleep(step)
            else:
                raise step
        return "answer"

    return attempt


def test_an_unavailable_server_is_asked_again() -> None:
    assert ask(failing(TritonUnavailableError("down"), TritonUnavailableError("down")), 5) == "answer"


def test_nothing_else_is_asked_again() -> None:
    with pytest.raises(TritonDeadlineError, match="slow"):
        ask(failing(TritonDeadlineError("slow")), 5)


def test_a_deadline_after_an_unavailable_answer_says_that_it_was_unavailable() -> None:
    with pytest.raises(TritonUnavailableError, match=r"full.*1 attempts"):
        ask(failing(TritonUnavailableError("full"), TritonDeadlineError("no time")), 5)


def test_an_answer_that_comes_when_the_time_is_over_counts() -> None:
    """The loop was busy elsewhere: the last answer was 'unavailable', and no further attempt fits."""
    with pytest.raises(TritonUnavailableError, match="full"):
        ask(failing(0.05, TritonUnavailableError("full")), 0.01)


def test_no_time_at_all_is_a_deadline() -> None:
    with pytest.raises(TritonDeadlineError, match="server gave no result"):
        ask(failing(), 0)
