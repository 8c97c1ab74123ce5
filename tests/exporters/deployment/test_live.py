"""The folder at work: the real server, the real Prometheus that scrapes it, the scripts and the guide's commands."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
import yaml
from tritonclient.utils import InferenceServerException

from pixel_mm.exporters.deployment.compose import server_arguments
from pixel_mm.exporters.deployment.folder import write_deployment
from pixel_mm.serving.server import TritonServer, _free_ports
from tests.exporters.deployment.deployments import add_deployable, options
from tests.exporters.deployment.prometheus import Programs, Prometheus, running, wait_until

pytestmark = [pytest.mark.triton, pytest.mark.slow]

MODELS = ("emotion", "hasty", "narrow")
ROOT = Path(__file__).parents[3]
# A server without graphics processors does not have these.
GPU_METRICS = {"nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes", "nv_gpu_utilization"}


@dataclass(frozen=True)
class Deployed:
    folder: Path
    repository: Path
    server: TritonServer


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[Deployed]:
    """`emotion`; `narrow`, in whose queue one may wait; `hasty`, in whose queue nobody waits for long.

    The server is started with the arguments that are in the compose file.
    """
    place = tmp_path_factory.mktemp("deployed")
    add_deployable(place / "repository", tiny_model_folder, "emotion")
    add_deployable(place / "repository", tiny_model_folder, "narrow", 3_000_000, max_queue_size=1)
    add_deployable(place / "repository", tiny_model_folder, "hasty", 500_000, default_timeout_microseconds=1000)
    folder = write_deployment(place / "repository", place / "deployment", options(gpus=1))
    with TritonServer(place / "repository", arguments=server_arguments(MODELS)) as server:
        yield Deployed(folder, place / "repository", server)


@pytest.fixture(scope="module")
def prometheus(
    deployed: Deployed, programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """With the folder's own configuration, but for addresses and a faster pace."""
    port = _free_ports(1)[0]
    place = tmp_path_factory.mktemp("prometheus")
    shutil.copy(deployed.folder / "prometheus" / "rules.yml", place)
    config = yaml.safe_load((deployed.folder / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    targets = {"triton": deployed.server.metrics_url.split("/")[2], "prometheus": f"127.0.0.1:{port}"}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    (place / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with running(programs, place / "prometheus.yml", port) as server:
        server.wait_for('up{job="triton"} == 1')
        yield server


def score(server: TritonServer, model: str = "emotion") -> None:
    clip = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32)
    first = grpc.InferInput("waveform", clip.shape, "FP32").set_data_from_numpy(clip)
    second = grpc.InferInput("num_samples", [1, 1], "INT64").set_data_from_numpy(np.array([[16_000]]))
    with grpc.InferenceServerClient(server.grpc_url) as client:
        client.infer(model, [first, second])


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def panels(folder: Path) -> list[dict[str, Any]]:
    content = json.loads((folder / "grafana" / "dashboards" / "triton.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = content["panels"]
    return found


def test_only_metrics_that_the_server_has_are_asked_for(deployed: Deployed) -> None:
    score(deployed.server)
    known = set(re.findall(r"^(nv_\w+)", deployed.server.metrics(), re.MULTILINE))
    asked = "".join(
        (deployed.folder / file).read_text(encoding="utf-8")
        for file in ("prometheus/rules.yml", "grafana/dashboards/triton.json", "monitor.sh")
    )
    names = set(re.findall(r"nv_(?:inference|cpu|gpu)_\w+[a-z]", asked))
    assert len(names) >= 12
    assert names - known == GPU_METRICS


def test_prometheus_scrapes_the_server_and_can_judge_every_rule(deployed: Deployed, prometheus: Prometheus) -> None:
    score(deployed.server)
    prometheus.wait_for('nv_inference_request_success{job="triton",model="emotion",version="2"} > 0')
    prometheus.wait_for('up{job="prometheus"} == 1')
    targets = prometheus.get("/api/v1/targets")["activeTargets"]
    assert {target["labels"]["job"]: target["health"] for target in targets} == {"triton": "up", "prometheus": "up"}
    wait_until(lambda: all(rule["health"] == "ok" for rule in rules(prometheus)), "a rule is not evaluated")
    assert len(rules(prometheus)) == len(MODELS) + 1 + 8


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = prometheus.get("/api/v1/rules")["groups"][0]["rules"]
    return found


def test_every_panel_shows_something(deployed: Deployed, prometheus: Prometheus) -> None:
    for _ in range(3):
        score(deployed.server)
    for panel in panels(deployed.folder):
        for target in panel["targets"]:
            expression = target["expr"].replace("$model", "emotion").replace("$version", ".*")
            expression = expression.replace("$__rate_interval", "1m")
            if any(metric in expression for metric in GPU_METRICS):
                prometheus.query(expression)  # no graphics processor here: that it is understood must do
                continue
            lines = prometheus.wait_for(expression)
            wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert wanted <= set(lines[0]["metric"]), panel["title"]
    for variable in ("model", "version"):
        assert prometheus.query(f"count by ({variable}) (nv_inference_request_success)")


def refusals(server: TritonServer, model: str, count: int) -> list[str]:
    """What the server says to those of several requests at once that it refuses."""

    def refusal(_: int) -> str | None:
        try:
            score(server, model)
        except InferenceServerException as error:
            return str(error.message())
        return None

    with ThreadPoolExecutor(count) as pool:
        return list(filter(None, pool.map(refusal, range(count))))


def rule_named(prometheus: Prometheus, name: str, model: str = "") -> str:
    """Expression of a rule."""
    return next(str(rule["query"]) for rule in rules(prometheus) if rule["name"] == name and model in rule["query"])


def test_requests_that_wait_too_long_raise_an_alert(deployed: Deployed, prometheus: Prometheus) -> None:
    prometheus.wait_for('nv_inference_request_failure{model="hasty",reason="REJECTED"} == 0')
    assert any("timeout expired" in text for text in refusals(deployed.server, "hasty", 4))
    found = prometheus.wait_for(rule_named(prometheus, "TritonRequestsRejected"))
    assert found[0]["metric"] == {"model": "hasty", "version": "2"}


def test_a_full_queue_raises_an_alert_though_no_counter_tells_of_it(deployed: Deployed, prometheus: Prometheus) -> None:
    expression = rule_named(prometheus, "TritonQueueFull", "narrow")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(refusals, deployed.server, "narrow", 4)
        assert prometheus.wait_for(expression)[0]["metric"]["model"] == "narrow"
        assert sum("maximum queue size" in text for text in waiting.result()) >= 2
    rejected = re.search(r'failure\{model="narrow",reason="REJECTED",version="2"\} (\d+)', deployed.server.metrics())
    assert rejected is not None
    assert rejected[1] == "0"  # when a release counts them, TritonRequestsRejected will do


def test_a_model_that_is_gone_raises_its_alert_and_fails_the_health_check(
    deployed: Deployed, prometheus: Prometheus
) -> None:
    server = deployed.server
    places = {"TRITON_URL": f"http://{server.http_url}", "PROMETHEUS_URL": prometheus.url, "GRAFANA_URL": ""}
    done = run(deployed.folder, "./health.sh", **places)
    assert (done.returncode, done.stderr) == (0, "")
    lines = ["server lives", "server is ready", "model emotion", "model hasty", "model narrow", "Prometheus"]
    assert done.stdout.splitlines() == [f"ok      {line}" for line in lines]
    expression = rule_named(prometheus, "TritonModelMissing", "narrow")
    assert not prometheus.query(expression)
    server.unload("narrow")
    try:
        assert prometheus.wait_for(expression)[0]["metric"]["model"] == "narrow"
        done = run(deployed.folder, "./health.sh", **places)
        assert done.returncode == 1
        assert re.findall(r"^FAILED  (.*?): http://127", done.stdout, re.MULTILINE) == ["model narrow"]
    finally:
        server.load("narrow")


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


def test_a_server_that_is_down_is_seen(deployed: Deployed, prometheus: Prometheus) -> None:
    deployed.server.kill()
    try:
        assert prometheus.wait_for(rule_named(prometheus, "TritonDown"))
        done = run(deployed.folder, "./health.sh", TRITON_URL=f"http://{deployed.server.http_url}", PROMETHEUS_URL="")
        assert done.returncode == 1
    finally:
        deployed.server.start()
