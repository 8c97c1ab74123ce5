"""The scripts of the folder, and the commands and code of its guide, on the real server."""

import json
import os
import re
import shutil
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
import yaml

from pixel_mm.serving.server import TritonServer, _free_ports
from tests.exporters.deployment.deployments import MODELS, Deployed, run, score
from tests.exporters.deployment.prometheus import wait_until

pytestmark = [pytest.mark.triton, pytest.mark.slow]

ROOT = Path(__file__).parents[3]


def test_the_containers_own_health_check_tells_ready_from_not(deployed: Deployed) -> None:
    compose = yaml.safe_load((deployed.folder / "compose.yaml").read_text(encoding="utf-8"))
    kind, *command = compose["services"]["triton"]["healthcheck"]["test"]
    assert kind == "CMD"
    for address, healthy in ((deployed.server.http_url, True), (f"127.0.0.1:{_free_ports(1)[0]}", False)):
        done = run(ROOT, *(part.replace("127.0.0.1:8000", address) for part in command))
        assert (done.returncode == 0) == healthy, done.stderr


def test_the_health_check_fails_where_nothing_answers(deployed: Deployed) -> None:
    nowhere = f"http://127.0.0.1:{_free_ports(1)[0]}"
    done = run(deployed.folder, "./health.sh", TRITON_URL=nowhere, PROMETHEUS_URL=nowhere, GRAFANA_URL=nowhere)
    assert done.returncode == 1
    assert len(re.findall(r"^FAILED .*(?:connect)", done.stdout, re.MULTILINE)) == 4 + len(MODELS)


def test_the_monitor_counts_what_was_done(deployed: Deployed) -> None:
    end = threading.Event()

    def load() -> None:
        while not end.wait(0.05):
            score(deployed.server)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        done = run(deployed.folder, "./monitor.sh", "1", "2", METRICS_URL=deployed.server.metrics_url)
    finally:
        end.set()
        thread.join()
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("emotion 2 ")]
    assert len(rows) == 2
    answered, failed, milliseconds, queued, batch = (float(cell) for cell in rows[1][2:7])
    assert 0.5 < answered < 25
    assert failed == 0
    assert 20 <= queued <= milliseconds < 1000  # the configuration lets a request wait for others for 20 ms
    assert batch == 1
    assert [line.split()[4:7] for line in done.stdout.splitlines() if line.startswith("narrow")][-1] == ["-", "-", "-"]


def test_the_monitor_says_that_the_server_does_not_answer(deployed: Deployed) -> None:
    url = f"http://127.0.0.1:{_free_ports(1)[0]}/metrics"
    done = run(deployed.folder, "./monitor.sh", "0.1", "1", METRICS_URL=url)
    assert done.returncode == 1
    assert "connect" in done.stderr


def blocks(guide: Path, language: str) -> list[str]:
    """Code of the section on `emotion`."""
    section = guide.read_text(encoding="utf-8").split("# Calling `emotion`")[1].split("# Calling")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_guides_commands_score_a_clip(deployed: Deployed, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 3000, (16_000, 2)).astype("<i2")
    with wave.open(str(tmp_path / "clip.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(noise.tobytes())
    shutil.copy(deployed.folder / "request.py", tmp_path)
    (commands,) = blocks(deployed.folder / "README.md", "sh")
    done = run(tmp_path, "bash", "-euc", commands.replace("127.0.0.1:8000", deployed.server.http_url))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(part) for part in re.findall(r"\{.*?\]\}\]\}|\{.*?\]\}\n?(?=\{|$)", done.stdout)]
    assert [answer["model_version"] for answer in answers] == ["2", "2"]
    scores = {output["name"]: output["data"] for output in answers[0]["outputs"]}
    assert 0 < scores["valence"][0] < 1
    assert sum(scores["emotion_probabilities"]) == pytest.approx(1, abs=1e-5)
    done = run(tmp_path, "bash", "-c", "python3 request.py clip.wav 8000")
    assert done.returncode == 1
    assert "ffmpeg" in done.stderr


def test_the_guides_command_takes_another_version(deployed: Deployed) -> None:
    guide = (deployed.folder / "README.md").read_text(encoding="utf-8")
    command = next(line for line in guide.splitlines() if line.startswith("curl") and line.endswith("/NAME/load"))
    command = command.replace("127.0.0.1:8000", deployed.server.http_url).replace("/NAME/", "/emotion/")
    config = deployed.repository / "emotion" / "config.pbtxt"
    before = config.read_text(encoding="utf-8")
    try:
        for policy, versions in (("specific { versions: 1 }", {"1"}), ("all { }", {"1", "2"})):
            config.write_text(re.sub(r"version_policy \{.*?\n\}", f"version_policy {{ {policy} }}", before, flags=re.S))
            assert run(deployed.folder, "bash", "-c", command).returncode == 0
            wait_until(lambda wanted=versions: ready_versions(deployed.server) == wanted, f"{policy} is not served")
    finally:
        config.write_text(before, encoding="utf-8")
        deployed.server.load("emotion")


def ready_versions(server: TritonServer) -> set[str]:
    """Versions of `emotion` that are served."""
    found = server.models()
    return {str(model["version"]) for model in found if model["name"] == "emotion" and model.get("state") == "READY"}


@pytest.mark.parametrize("number", [0, 1])
def test_the_guides_python_scores_a_clip(deployed: Deployed, number: int) -> None:
    code = blocks(deployed.folder / "README.md", "python")[number]
    clip = "import numpy as np\nwaveform = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)\n"
    code = (clip + code).replace("127.0.0.1:8001", deployed.server.grpc_url)
    done = run(ROOT, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "2" in done.stdout


def test_the_start_script_waits_for_health_and_passes_it_on(deployed: Deployed, tmp_path: Path) -> None:
    """Docker is not run: a program of its name notes how it was called, and fails on request."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >>"$CALLS"\n[ "$2" = version ] || exit "$CODE"\n')
    program.chmod(0o755)
    calls = tmp_path / "calls"
    nowhere = f"http://127.0.0.1:{_free_ports(1)[0]}"
    common = {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(calls),
        "PROMETHEUS_URL": "",
        "GRAFANA_URL": "",
    }
    for code, url, expected in (("0", f"http://{deployed.server.http_url}", 0), ("0", nowhere, 1), ("1", nowhere, 1)):
        done = run(tmp_path, str(deployed.folder / "start.sh"), TRITON_URL=url, CODE=code, **common)
        assert done.returncode == expected, done.stdout + done.stderr
    assert calls.read_text().splitlines()[:2] == ["compose version", "compose up --detach --wait --wait-timeout 300"]
    assert "docker compose logs" in done.stderr
