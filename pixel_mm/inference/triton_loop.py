"""One event loop in the background, in which everything that talks to Triton servers runs for callers without one."""

import asyncio
import threading
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar

Result = TypeVar("Result")


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that runs in the background loop."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@lru_cache(maxsize=1)  # one for all recognisers: gRPC's asynchronous side wants a single loop in a process
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="pixel_mm-triton", daemon=True).start()
    return loop
