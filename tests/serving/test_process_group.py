"""Nothing of a process group runs once it has been ended."""

import os
import subprocess
import threading
from collections.abc import Iterator

import pytest

from pixel_mm.serving import process_group
from pixel_mm.serving.environment import ServingError
from pixel_mm.serving.process_group import end_group, members


@pytest.fixture
def group() -> Iterator[int]:
    """A shell and its two helpers; nobody waits for the shell, so that a zombie of it stays."""
    script = "sleep 60 & sleep 60 & echo ready; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        leader.stdout.readline()
        yield leader.pid
        end_group(leader.pid)


def test_all_of_a_group_end(group: int) -> None:
    assert len(members(group)) == 3
    end_group(group)
    assert members(group) == []
    end_group(group)  # already ended


def test_one_that_ends_late_is_waited_for(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kill = os.killpg
    monkeypatch.setattr(os, "killpg", lambda *of: threading.Timer(0.3, kill, of).start())
    end_group(group)
    assert members(group) == []


def test_one_that_does_not_end_is_named(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as deaf:
        deaf.setattr(os, "killpg", lambda *_: None)
        deaf.setattr(process_group, "_END_SECONDS", 0.1)
        with pytest.raises(ServingError, match=rf"\b{group}\b.* do not end"):
            end_group(group)
