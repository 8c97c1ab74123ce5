"""The processes of a process group: a server and its helpers (Linux)."""

import contextlib
import os
import signal
import time
from pathlib import Path

from pixel_mm.serving.environment import ServingError

_END_SECONDS = 15.0
_POLL_SECONDS = 0.05
_ENDED_STATES = "ZX"  # zombies wait for their parent alone


def members(group: int) -> list[int]:
    """Ids of the processes of a process group that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = place.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if int(its_group) == group and state not in _ENDED_STATES:
            found.append(int(place.parent.name))
    return found


def end_group(group: int) -> None:
    """Kill a process group and wait until nothing of it runs.

    A signal is only asked for: a process that holds much memory runs, and holds on to its files, for a while after.

    Raises:
        ServingError: something of it still runs after 15 s.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    end = time.monotonic() + _END_SECONDS
    while left := members(group):
        if time.monotonic() > end:
            raise ServingError(f"processes {', '.join(map(str, left))} do not end, {_END_SECONDS:g} s after SIGKILL")
        time.sleep(_POLL_SECONDS)
