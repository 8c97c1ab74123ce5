import itertools
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import served_model
from benchmarks.served_model import generate_load


def load_generator(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    """Put a script in the load generator's place; gives the file that it may write to."""
    command = folder / "perf_analyzer"
    command.write_text(f"#!/bin/sh\nseen={folder}/seen\n{script}\n")
    command.chmod(command.stat().st_mode | stat.S_IEXEC)
    environment = SimpleNamespace(perf_analyzer=command, variables=lambda: {"PATH": "/usr/bin:/bin"})
    monkeypatch.setattr(served_model.TritonEnvironment, "ensure", lambda: environment)
    return folder / "seen"


class Server:
    """A server whose answers are counted out."""

    grpc_url = "127.0.0.1:1"

    def __init__(self, counts: "itertools.count[int] | itertools.repeat[int]") -> None:
        self._counts = counts

    def metrics(self) -> str:
        counted = f'nv_inference_request_success{{model="emotion"}} {next(self._counts)}'
        return f'nv_inference_count{{model="emotion"}} 9\n{counted}'


def test_a_load_generator_that_waits_for_ever_is_ended_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = load_generator(monkeypatch, tmp_path, "echo started >> $seen; exec sleep 600")
    with pytest.raises(RuntimeError, match="stopped asking 3 times"):
        generate_load(Server(itertools.repeat(34)), tmp_path, 16, 32, patience_seconds=0.2)  # type: ignore[arg-type]
    assert seen.read_text().split() == ["started"] * 3


def test_one_that_takes_long_but_is_answered_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = 'while [ "$1" != -f ]; do shift; done; printf "Inferences/Second,p95 latency\\n4.5,2000\\n" > $2'
    seen = load_generator(monkeypatch, tmp_path, f"echo started >> $seen; sleep 1; {report}")
    load = generate_load(Server(itertools.count()), tmp_path, 16, 32, patience_seconds=0.1)  # type: ignore[arg-type]
    assert (load.clips_per_second, load.p95_milliseconds) == (4.5, 2.0)
    assert seen.read_text().split() == ["started"]
