"""`make serve`: it finds what to serve, says how to call it, and ends with Ctrl-C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from pixel_mm import serve
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import TritonOptions
from pixel_mm.model_folder import ModelFolder
from pixel_mm.serving.server import _free_ports

ROOT = Path(__file__).parents[2]


def age(path: Path, seconds: float) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_the_newest_export_is_served(tmp_path: Path, tiny_model_folder: Path) -> None:
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "run" / "model"))
    old, new = tmp_path / "z", tmp_path / "a" / "deep"
    for repository in (old, new):
        ModelRepository(repository, "emotion").publish(ModelFolder(tiny_model_folder), "model.onnx", TritonOptions())
    age(folder, 300)
    age(old / "emotion", 200)
    age(new / "emotion", 100)
    assert serve.find_export(tmp_path) == new
    age(new / "emotion", 250)
    assert serve.find_export(tmp_path) == old
    age(folder, 50)
    assert serve.find_export(tmp_path) == folder


def test_where_there_is_none_one_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--runs", str(tmp_path)]) == 2
    assert "python -m pixel_mm.serve REPOSITORY" in capsys.readouterr().err


def test_what_is_no_export_is_a_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main([str(tmp_path)]) == 2
    assert "is neither a Triton repository" in capsys.readouterr().err
    (tmp_path / "model.yaml").write_text("rubbish: true")
    assert serve.main([str(tmp_path)]) == 2
    assert "unknown field 'rubbish'" in capsys.readouterr().err


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize(
    ("exported", "model", "call"),
    [
        ("tiny_model_folder", "emotion", "grpc://127.0.0.1:{port}/emotion"),
        ("recognizer_folder", "speech", 'TritonSpeechRecognizer("127.0.0.1:{port}", "speech")'),
        ("tiny_fusion_folder", "pixel", "curl -N 127.0.0.1:{http}/v2/models/pixel/generate_stream -d"),
    ],
)
def test_the_command_serves_and_ends_with_ctrl_c(
    tmp_path: Path, request: pytest.FixtureRequest, exported: str, model: str, call: str
) -> None:
    ports = [str(port) for port in _free_ports(3)]
    folder = request.getfixturevalue(exported)
    command = [sys.executable, "-m", "pixel_mm.serve", str(folder), "--ports", *ports]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "/config" in line:
                break
        if (stream := re.search(r"curl -N (\S+) -d '(.+)'", "".join(said))) is not None:
            with urllib.request.urlopen(f"http://{stream[1]}", stream[2].encode(), timeout=60) as answer:
                pieces = [json.loads(line.removeprefix(b"data: ")) for line in answer if line.strip()]
            assert [piece["final"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    text = "".join(said)
    assert f"{model} 1: READY" in text
    assert call.format(http=ports[0], port=ports[1]) in text
