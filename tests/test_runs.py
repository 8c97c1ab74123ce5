import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pixel_mm import runs
from pixel_mm.runs import RunError, RunFolder, atomic_path, find_resume, remove_leftovers, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_path_puts_a_file_in_place_and_leaves_nothing_else(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "new" / "a.txt") as aside:
        aside.write_text("whole")
        assert aside.parent == tmp_path / "new"
        assert aside.suffix == ".txt"
        assert not (tmp_path / "new" / "a.txt").exists()
    assert names(tmp_path / "new") == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"


def test_atomic_path_keeps_what_was_there_when_the_body_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as aside:
            aside.write_text("ha")
            raise KeyError("half way")

    with pytest.raises(KeyError, match="half way"):
        fail()
    assert names(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


def test_atomic_path_replaces_a_folder_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for content in ({"a": "1", "b": "2"}, {"c": "3"}):
        with atomic_path(folder) as aside:
            aside.mkdir()
            for name, text in content.items():
                (aside / name).write_text(text)
        assert names(folder) == sorted(content)
    assert names(tmp_path) == ["model"]


def test_atomic_path_restores_the_old_folder_when_the_new_one_cannot_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.replace

    def refuse_new(self: Path, target: Path) -> Path:
        if target == folder and (self / "new").exists():
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse_new)

    def write() -> None:
        with atomic_path(folder) as aside:
            aside.mkdir()
            (aside / "new").touch()

    with pytest.raises(OSError, match="no"):
        write()
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["model"]


def test_atomic_path_says_when_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing was written for .*a\.txt"), atomic_path(tmp_path / "a.txt"):
        pass


def test_atomic_path_flushes_before_it_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "a.txt", []
    monkeypatch.setattr(runs.os, "fsync", lambda descriptor: seen.append(path.exists()))
    with atomic_path(path) as aside:
        aside.write_text("x")
    assert seen == [False, True]  # the file before it is in place, its folder's entry after


WRITER = """
import sys
from pathlib import Path
from pixel_mm.runs import atomic_path

with atomic_path(sys.argv[1]) as aside, aside.open("wb", buffering=0) as file:
    while True:
        file.write(b"x" * 65536)
        print("writing", flush=True)
"""


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = (p for p in tmp_path.iterdir() if p != path)
    assert left.name.startswith(".partial-")
    remove_leftovers(tmp_path)
    assert left.exists()  # it might be another process's that still writes
    os.utime(left, times=(time.time() - 48 * 3600,) * 2)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a.bin"]


FULL_DISK = """
import resource, signal, sys
from pixel_mm.runs import write_json

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the kernel then refuses the write, as a full disk does
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_json(sys.argv[1], ["x" * 100] * 1000)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_a_write_that_does_not_fit_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, "old")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert names(tmp_path) == ["a.json"]
    assert json.loads(path.read_text()) == "old"


def test_write_json_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"ccc": float("nan")})
    assert names(tmp_path) == []


def test_a_run_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=str(tmp_path / "none")):
        RunFolder(tmp_path / "none").find_checkpoint()
    with pytest.raises(RunError, match=f"{tmp_path} has no checkpoint"):
        RunFolder(tmp_path).find_checkpoint()


def test_find_checkpoint_prefers_the_best_and_falls_back_to_the_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.last_checkpoint.parent.mkdir()
    run.last_checkpoint.touch()
    assert run.find_checkpoint("best") == run.last_checkpoint
    run.best_checkpoint.touch()
    assert run.find_checkpoint("best") == run.best_checkpoint
    assert run.find_checkpoint("last") == run.last_checkpoint


def test_find_resume_knows_the_own_checkpoint_a_run_folder_and_a_file(tmp_path: Path) -> None:
    own, other = RunFolder(tmp_path / "own"), RunFolder(tmp_path / "other")
    assert find_resume("auto", own) is None
    for run in (own, other):
        run.last_checkpoint.parent.mkdir(parents=True)
        run.last_checkpoint.touch()
    assert find_resume("auto", own) == own.last_checkpoint
    assert find_resume(None, own) is None
    assert find_resume(str(other.path), own) == other.last_checkpoint
    assert find_resume(str(other.last_checkpoint), own) == other.last_checkpoint


def test_find_resume_names_what_has_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"{tmp_path} has no checkpoint"):
        find_resume(str(tmp_path), RunFolder(tmp_path / "own"))
    with pytest.raises(RunError, match=r"none\.ckpt: there is no such checkpoint"):
        find_resume(f"{tmp_path}/none.ckpt", RunFolder(tmp_path / "own"))


def test_load_config_names_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no config\.yaml"):
        RunFolder(tmp_path).load_config()
    RunFolder(tmp_path).config.write_text(textwrap.dedent("seed: 3\npaths:\n  run: x\n"))
    assert RunFolder(tmp_path).load_config().paths.run == "x"


def test_read_metrics_says_that_the_run_has_not_finished(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="did not finish"):
        RunFolder(tmp_path).read_metrics()
    write_json(RunFolder(tmp_path).metrics, {"test/loss": 0.5})
    assert RunFolder(tmp_path).read_metrics() == {"test/loss": 0.5}
