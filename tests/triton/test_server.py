"""The server itself: it starts, tells why a model does not load, and leaves nothing behind however it ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc

from pixel_mm.serving.environment import ServingError, TritonEnvironment
from pixel_mm.serving.process_group import members
from pixel_mm.serving.server import TritonServer
from tests.triton.served_models import add_model, emotion_config

pytestmark = [pytest.mark.triton, pytest.mark.slow]


@pytest.fixture
def repository(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """One of its own for each test, which starts servers of its own."""
    add_model(tmp_path / "repository", emotion_config("emotion"), tiny_model_folder)
    return tmp_path / "repository"


def left_behind() -> set[str]:
    folders = [
        *Path("/dev/shm").glob("*triton*"),
        *Path("/tmp").glob("python_env_*"),
        *Path("/tmp").glob("pixel_mm_triton_*"),
    ]
    return {str(path) for path in folders}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_nothing_is_left_behind_however_it_ends(repository: Path, end: str) -> None:
    before = left_behind()
    server = TritonServer(repository, models=("emotion",)).start()
    pid = server.pid
    assert len(members(pid)) >= 2  # the server and the helper that runs the model
    getattr(server, end)()
    assert members(pid) == []
    assert left_behind() <= before
    assert "successfully loaded 'emotion'" in server.log
    assert not server.is_live()


def test_the_same_ports_answer_after_a_restart(repository: Path) -> None:
    server = TritonServer(repository, models=("emotion",))
    url = server.http_url
    for _ in range(2):
        with server:
            assert server.is_live()
            assert server.http_url == url
            assert server.models()[0]["state"] == "READY"


def test_it_ends_with_a_process_that_is_killed(repository: Path) -> None:
    code = (
        "import sys, time; from pixel_mm.serving.server import TritonServer;"
        f"server = TritonServer({str(repository)!r}, models=('emotion',)).start();"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 15
    while members(pid) and time.monotonic() < end:
        time.sleep(0.2)
    assert members(pid) == []
    orphans = list(Path(tempfile.gettempdir()).glob(f"pixel_mm_triton_{parent.pid}_*"))
    assert len(orphans) == 1  # a killed process cleans nothing up
    with TritonServer(repository):
        assert not orphans[0].exists()  # the next server does


def test_a_model_that_does_not_load_stops_nothing_and_the_reason_is_told(repository: Path) -> None:
    bad = repository / "broken"
    bad.mkdir()
    (bad / "config.pbtxt").write_text('name: "broken" backend: "onnxruntime" max_batch_sise: 4')
    with TritonServer(repository, models=("emotion",)) as server:
        with pytest.raises(ServingError, match="max_batch_sise"):
            server.load("broken")
        add_model(repository, emotion_config("no_graph"), repository / "emotion" / "1")
        (repository / "no_graph" / "1" / "model.onnx").write_bytes(b"rubbish")
        with pytest.raises(ServingError, match=r"no_graph/1/model\.onnx"):
            server.load("no_graph")
        states = {(model["name"], model.get("state")) for model in server.models()}
        assert ("emotion", "READY") in states


def test_a_model_is_unloaded_and_loaded_again(repository: Path) -> None:
    with TritonServer(repository, models=("emotion",)) as server, grpc.InferenceServerClient(server.grpc_url) as client:
        server.unload("emotion")
        end = time.monotonic() + 10
        while client.is_model_ready("emotion") and time.monotonic() < end:
            time.sleep(0.05)
        assert not client.is_model_ready("emotion")
        server.load("emotion")
        assert client.is_model_ready("emotion")


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"(?s)ended with code.*no_such_option"):
        TritonServer(tmp_path, arguments=["--no_such_option=1"]).start()


def test_the_environment_is_made_once() -> None:
    first = TritonEnvironment.ensure()
    stamp = (first.path / ".ready").stat().st_mtime_ns
    start = time.monotonic()
    assert TritonEnvironment.ensure() == first
    assert (first.path / ".ready").stat().st_mtime_ns == stamp
    assert time.monotonic() - start < 1


def test_scores_over_the_wire_have_a_row_per_clip(repository: Path) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    with TritonServer(repository, models=("emotion",)) as server, grpc.InferenceServerClient(server.grpc_url) as client:
        first = grpc.InferInput("waveform", waveform.shape, "FP32").set_data_from_numpy(waveform)
        second = grpc.InferInput("num_samples", [2, 1], "INT64").set_data_from_numpy(np.array([[16_000], [8_000]]))
        result = client.infer("emotion", [first, second])
        assert result.as_numpy("valence").shape == (2, 1)
        assert result.as_numpy("emotion_probabilities").shape == (2, 4)
