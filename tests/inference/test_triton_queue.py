import asyncio
from collections.abc import Sequence

import pytest

from pixel_mm.inference.triton_errors import TritonDeadlineError, TritonUnavailableError
from pixel_mm.inference.triton_queue import BatchingQueue


class Sender:
    """Remembers batches and answers each item with itself doubled, after a while."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.seconds = seconds
        self.batches: list[tuple[str, list[int]]] = []
        self.under_way = self.most_under_way = 0

    async def __call__(self, key: str, items: Sequence[int], end: float) -> list[int]:
        self.batches.append((key, list(items)))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        if 13 in items:
            raise TritonUnavailableError("thirteen")
        return [2 * item for item in items]


def queue(
    sender: Sender, batch: int = 4, in_flight: int = 2, waiting: int = 100, linger: float = 0.005
) -> BatchingQueue:
    return BatchingQueue("server", sender, lambda key: batch, in_flight, waiting, linger)


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_items_of_a_key_share_batches_and_keep_their_results() -> None:
    async def run() -> None:
        sender = Sender()
        line = queue(sender)
        results = await asyncio.gather(*(line.submit("ab"[i % 2], i, soon()) for i in range(12)))
        assert results == [2 * i for i in range(12)]
        assert all(len({item % 2 for item in items}) == 1 for _, items in sender.batches)
        assert len(sender.batches) == 4
        assert all(len(items) <= 4 for _, items in sender.batches)

    asyncio.run(run())


def test_a_lone_item_does_not_wait_for_others_that_never_come() -> None:
    async def run() -> None:
        start = asyncio.get_running_loop().time()
        assert await queue(Sender(0), linger=0.01).submit("a", 1, soon()) == 2
        assert asyncio.get_running_loop().time() - start < 0.5

    asyncio.run(run())


def test_no_more_requests_are_under_way_than_allowed_and_the_rest_gathers() -> None:
    async def run() -> None:
        sender = Sender(0.05)
        line = queue(sender, batch=8, in_flight=1, linger=0)
        first = asyncio.ensure_future(line.submit("a", 0, soon()))
        await asyncio.sleep(0.01)
        await asyncio.gather(first, *(line.submit("a", i, soon()) for i in range(1, 8)))
        assert sender.most_under_way == 1
        assert [len(items) for _, items in sender.batches] == [1, 7]

    asyncio.run(run())


def test_a_key_with_much_to_do_does_not_starve_another() -> None:
    async def run() -> None:
        sender = Sender()
        line = queue(sender, batch=2, in_flight=1)
        busy = [asyncio.ensure_future(line.submit("busy", i, soon())) for i in range(6)]
        rare = asyncio.ensure_future(line.submit("rare", 50, soon()))
        busy += [asyncio.ensure_future(line.submit("busy", i, soon())) for i in range(20, 30)]
        await asyncio.gather(rare, *busy)
        assert [key for key, _ in sender.batches].index("rare") <= 4

    asyncio.run(run())


def test_the_number_that_waits_is_limited() -> None:
    async def run() -> None:
        line = queue(Sender(0.2), batch=1, in_flight=1, waiting=2)
        tasks = [asyncio.ensure_future(line.submit("a", i, soon(0.1))) for i in range(5)]
        await asyncio.sleep(0.05)
        assert sum(len(group) for group in line._waiting.values()) == 1  # one under way, one waits, three outside
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, TritonDeadlineError) for error in found)

    asyncio.run(run())


def test_a_deadline_ends_the_wait_and_takes_the_item_out_of_the_line() -> None:
    async def run() -> None:
        sender = Sender(0.1)
        line = queue(sender, batch=1, in_flight=1)
        first = asyncio.ensure_future(line.submit("a", 1, soon()))
        await asyncio.sleep(0.02)
        with pytest.raises(TritonDeadlineError, match="server gave no result"):
            await line.submit("a", 2, soon(0.02))
        assert await first == 2
        await asyncio.sleep(0.02)
        assert sender.batches == [("a", [1])]  # nobody wants the second any more

    asyncio.run(run())


def test_a_failed_batch_fails_its_items_alone_and_frees_its_place() -> None:
    async def run() -> None:
        line = queue(Sender(), batch=2, in_flight=1)
        found = await asyncio.gather(*(line.submit("a", i, soon()) for i in (13, 1, 2, 3)), return_exceptions=True)
        assert [isinstance(result, TritonUnavailableError) for result in found] == [True, True, False, False]
        assert await line.submit("a", 4, soon()) == 8

    asyncio.run(run())


def test_closing_refuses_what_waits_and_finishes_what_is_under_way() -> None:
    async def run() -> None:
        line = queue(Sender(0.05), batch=1, in_flight=1)
        tasks = [asyncio.ensure_future(line.submit("a", i, soon())) for i in range(2)]
        await asyncio.sleep(0.01)
        await line.close()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        assert first == 0
        assert "closed before the request was sent" in str(second)
        with pytest.raises(TritonUnavailableError, match="is closed"):
            await line.submit("a", 1, soon())

    asyncio.run(run())
