"""`make serve`: it finds what to serve, says how to call it, and ends with Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pixel_mm import serve
from pixel_mm.serving.server import _free_ports
from tests.triton.served_models import add_model, emotion_config

ROOT = Path(__file__).parents[2]


def make_repository(place: Path) -> Path:
    (place / "emotion" / "1").mkdir(parents=True)
    (place / "emotion" / "config.pbtxt").touch()
    return place


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_the_newest_repository_is_served(tmp_path: Path) -> None:
    old, new = make_repository(tmp_path / "z"), make_repository(tmp_path / "a" / "deep")
    age(old / "emotion", 100)
    assert serve.find_repository(tmp_path) == new
    age(new / "emotion", 200)
    assert serve.find_repository(tmp_path) == old


def test_where_there_is_none_one_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--runs", str(tmp_path)]) == 2
    assert "python -m pixel_mm.serve REPOSITORY" in capsys.readouterr().err


def test_what_is_no_repository_is_a_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main([str(tmp_path)]) == 2
    assert "is no Triton repository" in capsys.readouterr().err


@pytest.mark.triton
@pytest.mark.slow
def test_the_command_serves_and_ends_with_ctrl_c(tmp_path: Path, tiny_model_folder: Path) -> None:
    add_model(tmp_path, emotion_config("emotion"), tiny_model_folder)
    ports = [str(port) for port in _free_ports(3)]
    command = [sys.executable, "-m", "pixel_mm.serve", str(tmp_path), "--ports", *ports]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "/config" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    text = "".join(said)
    assert "emotion 1: READY" in text
    assert f"grpc://127.0.0.1:{ports[1]}/emotion" in text
