"""A queue before a server: what may share a request does, and only so many requests are under way at once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pixel_mm.inference.triton_errors import TritonDeadlineError, TritonUnavailableError

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    end: float
    number: int
    result: asyncio.Future[Result]
    ripe: bool = False


class BatchingQueue(Generic[Key, Item, Result]):
    """Gathers items of one key into batches.

    A batch leaves when it is full or when its first item has waited `linger_seconds`, and a place is free. While none
    is, items gather, so that a busy server gets larger batches and not more requests.

    Args:
        name: of the server, for messages.
        send: sends a batch; called as `send(key, items, end)` with the event loop's time by which the last of them
            wants its result; gives one result per item, in order. What it raises, every item of the batch gets.
        max_batch: items that a batch of a key may have.
        max_in_flight: batches under way at once.
        max_waiting: items that were taken and have no result yet; more wait outside, in the order of their arrival.
        linger_seconds: that the first item of a batch waits for others.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Key, Sequence[Item], float], Awaitable[Sequence[Result]]],
        max_batch: Callable[[Key], int],
        max_in_flight: int,
        max_waiting: int,
        linger_seconds: float,
    ) -> None:
        """Set limits; call this inside the event loop."""
        self._name = name
        self._send, self._max_batch = send, max_batch
        self._linger_seconds = linger_seconds
        self._free = max_in_flight
        self._places = asyncio.Semaphore(max_waiting)
        self._waiting: dict[Key, list[_Waiting[Item, Result]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._closed = False

    async def submit(self, key: Key, item: Item, end: float) -> Result:
        """The item's result.

        Args:
            key: items of the same key may share a batch.
            item: what `send` gets.
            end: the event loop's time by which the result is wanted.

        Raises:
            TritonDeadlineError: no result by `end`.
            TritonUnavailableError: the queue was closed.
            Exception: what `send` raised.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(end), self._places:
                if self._closed:
                    raise TritonUnavailableError(f"the client of {self._name} is closed")
                self._number += 1
                one = _Waiting[Item, Result](item, end, self._number, loop.create_future())
                self._waiting.setdefault(key, []).append(one)
                loop.call_later(self._linger_seconds, self._ripen, one)
                self._pump()
                try:
                    return await one.result
                finally:
                    self._give_up(key, one)
        except TimeoutError as error:
            if isinstance(error, TritonDeadlineError):
                raise
            raise TritonDeadlineError(f"{self._name} gave no result in the time allowed") from None

    async def close(self) -> None:
        """Refuse what waits and what comes, and wait for what is under way."""
        self._closed = True
        error = TritonUnavailableError(f"the client of {self._name} was closed before the request was sent")
        for one in (one for group in self._waiting.values() for one in group if not one.result.done()):
            one.result.set_exception(error)
        self._waiting.clear()
        await asyncio.gather(*self._tasks)

    def _ripen(self, one: _Waiting[Item, Result]) -> None:
        one.ripe = True
        self._pump()

    def _pump(self) -> None:
        """Send batches while there are places and keys with a full batch or a ripe item, the oldest item first."""
        while self._free:
            ready = [k for k, group in self._waiting.items() if len(group) >= self._max_batch(k) or group[0].ripe]
            if not ready:
                return
            key = min(ready, key=lambda k: self._waiting[k][0].number)
            group = self._waiting.pop(key)
            size = self._max_batch(key)
            if group[size:]:
                self._waiting[key] = group[size:]
            self._free -= 1
            task = asyncio.ensure_future(self._run(key, group[:size]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _give_up(self, key: Key, one: _Waiting[Item, Result]) -> None:
        group = self._waiting.get(key, [])
        if one in group:
            group.remove(one)
            if not group:
                del self._waiting[key]

    async def _run(self, key: Key, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            results = await self._send(key, [one.item for one in batch], max(one.end for one in batch))
            for one, result in zip(batch, results, strict=True):
                if not one.result.done():
                    one.result.set_result(result)
        except Exception as error:
            for one in batch:
                if not one.result.done():
                    one.result.set_exception(error)
        finally:
            self._free += 1
            self._pump()
