"""How long a call to a server may take, and when it is made again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import TypeVar

from pixel_mm.inference.triton_errors import TritonDeadlineError, TritonUnavailableError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long and how much.

    Attributes:
        deadline_seconds: from a call to its results: waiting, sending, asking again, all of it.
        connect_seconds: for finding the model.
        first_pause_seconds: before a request is sent again, at most; doubled each time. The pause itself is random
            between 0 and that, so that clients which lost a server don't come back to it at the same moment.
        longest_pause_seconds: where the doubling ends.
        max_in_flight: requests under way at once.
        max_waiting: clips that were taken and have no result yet; further calls wait for a place.
        linger_seconds: that a clip waits for others to share its request.
    """

    deadline_seconds: float = 30.0
    connect_seconds: float = 5.0
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 2.0
    max_in_flight: int = 4
    max_waiting: int = 256
    linger_seconds: float = 0.002

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in (field.name for field in fields(self) if field.name != "linger_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.linger_seconds < 0:
            raise ValueError(f"linger_seconds is {self.linger_seconds}; it must be 0 or more")


async def retry(
    name: str,
    attempt: Callable[[float], Awaitable[Result]],
    end: float,
    limits: CallLimits,
    generator: random.Random,
) -> Result:
    """What an attempt gives; one that finds the server unavailable is made again until the time is over.

    Args:
        name: of the server, for messages.
        attempt: gets the seconds that are left; must change nothing on the server.
        end: the event loop's time by which the result is wanted.
        limits: for the pauses.
        generator: of the pauses.

    Raises:
        TritonUnavailableError: what the last attempt met that had an answer in time.
        TritonClientError: what the only attempt met.
    """
    loop = asyncio.get_running_loop()
    longest, attempts = limits.first_pause_seconds, 0
    unavailable: TritonUnavailableError | None = None
    while True:
        try:
            if (left := end - loop.time()) <= 0:
                raise TritonDeadlineError(f"{name} gave no result in the time allowed")
            attempts += 1
            return await attempt(left)
        except TritonUnavailableError as error:
            unavailable = TritonUnavailableError(f"{error} ({attempts} attempts)")
        except TritonDeadlineError:
            if unavailable is None:
                raise
            # An attempt that began just before the end says nothing; the one before it says why there is no result.
            raise unavailable from None
        pause = generator.uniform(0, longest)
        if loop.time() + pause >= end:
            raise unavailable
        await asyncio.sleep(pause)
        longest = min(2 * longest, limits.longest_pause_seconds)
