"""What tests of a Triton repository look at."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import TritonOptions, read_config, served_versions

OPTIONS = TritonOptions()


def served(model: ModelRepository) -> list[int]:
    """What the server reads."""
    return served_versions(read_config(model.path / "config.pbtxt"), ())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def in_child(work: Callable[[], object]) -> int:
    """Process id of a copy of this process that does the work and ends."""
    if child := os.fork():
        return child
    try:
        work()
    finally:
        os._exit(0)


def kill_at_step(step: int, work: Callable[[], object]) -> None:
    """Do the work, but die before that change of a name."""
    left = [step]

    def count(_: Any, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("rename", "replace", "mkdir"):
        original = getattr(Path, name)
        setattr(Path, name, lambda path, *a, _original=original, **k: (count(path), _original(path, *a, **k))[1])
    work()
