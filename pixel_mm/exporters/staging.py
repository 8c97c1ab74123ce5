"""Where folders are built before they move into a Triton repository: on its file system, where no server looks.

A server that is told to load whatever a repository holds takes every folder in it for a model, hidden ones too.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pixel_mm.exporters.manifest import RepositoryError
from pixel_mm.runs import flush, flush_entry, remove_leftovers

LOCK = ".pixel_mm.lock"
_PREFIX = ".partial-"
_WAIT_SECONDS = 30.0


@contextmanager
def locked(repository: Path) -> Iterator[None]:
    """Keep other commands out of a repository; one that is killed locks nobody out.

    Raises:
        RepositoryError: another command was in it all the time.
    """
    try:
        with FileLock(repository / LOCK, timeout=_WAIT_SECONDS):
            yield
    except Timeout:
        raise RepositoryError(f"another command has been writing to {repository} for long; try again later") from None


@contextmanager
def staged(repository: Path) -> Iterator[Path]:
    """A new folder to build in, which is gone afterwards. What killed commands left there goes after a day.

    It lies beside the repository, or in it where that is another file system, since only there a rename is possible.
    """
    beside = repository.resolve().parent
    same = beside.stat().st_dev == repository.stat().st_dev and os.access(beside, os.W_OK)
    place = beside if same else repository
    remove_leftovers(place)
    aside = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def move_new(source: Path, target: Path) -> None:
    """Flush a folder to the disk and rename it to where nothing is.

    Raises:
        FileExistsError: something is there.
    """
    flush(source)
    if target.exists():
        raise FileExistsError(f"{target} exists; it is not replaced")
    source.rename(target)
    flush_entry(target.parent)
