"""A Triton repository whose publisher dies, meets a full disk, or is not alone."""

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pixel_mm.exporters import staging
from pixel_mm.exporters.deployment.served import read_served
from pixel_mm.exporters.manifest import RepositoryError
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.model_folder import ModelFolder
from tests.exporters.repositories import OPTIONS, everything, in_child, kill_at_step, served


def test_a_full_disk_leaves_the_repository_as_it_was(
    model: ModelRepository, exported: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = everything(model.repository)
    for name in ("shutil.copyfile", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(OSError, match="No space"):
                model.publish(exported, "model.onnx", OPTIONS)
        assert everything(model.path / "2") == {k[10:]: v for k, v in before.items() if k.startswith("emotion/2/")}
        assert served(model) == [2]
        assert not list(model.repository.parent.glob(".partial-*"))
    model.verify()
    assert model.publish(exported, "model.onnx", OPTIONS) == 3


def test_two_commands_do_not_write_at_once(
    model: ModelRepository, exported: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_WAIT_SECONDS", 0.05)
    child = in_child(lambda: hold(model.repository))
    while not (model.repository / "held").exists():
        time.sleep(0.01)
    (model.repository / "held").unlink()
    with pytest.raises(RepositoryError, match="another command"):
        model.publish(exported, "model.onnx", OPTIONS)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert model.publish(exported, "model.onnx", OPTIONS) == 3  # a lock dies with its holder


def hold(repository: Path) -> None:
    with staging.locked(repository):
        (repository / "held").touch()
        time.sleep(60)


def test_killed_at_any_step_it_serves_the_old_version_or_the_new_one(
    model: ModelRepository, exported: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death before each change of a name, which are all the steps that another process can see."""
    states = []
    for step in range(40):
        newest = max(model.manifest().versions)
        before = everything(model.path / str(newest))
        child = in_child(lambda step=step: kill_at_step(step, lambda: model.publish(exported, "model.onnx", OPTIONS)))
        os.waitpid(child, 0)
        states.append((served(model)[0] - newest, max(model.manifest().versions) - newest))
        assert everything(model.path / str(newest)) == before
        model.verify()
        assert [found.served for found in read_served(model.repository)] != []
        if states[-1] == (1, 1):
            model.promote([newest])
            model.prune(keep=1)
    assert {(0, 0), (0, 1), (1, 1)} <= set(states)
