"""The folder at work: the real server, and the real Prometheus that scrapes it."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tritonclient.utils import InferenceServerException

from pixel_mm.serving.server import TritonServer
from tests.exporters.deployment.deployments import MODELS, Deployed, run, score
from tests.exporters.deployment.prometheus import Prometheus, wait_until

pytestmark = [pytest.mark.triton, pytest.mark.slow]

# A server without graphics processors does not have these.
GPU_METRICS = {"nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes", "nv_gpu_utilization"}


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


def test_a_server_that_is_down_is_seen(deployed: Deployed, prometheus: Prometheus) -> None:
    deployed.server.kill()
    try:
        assert prometheus.wait_for(rule_named(prometheus, "TritonDown"))
        done = run(deployed.folder, "./health.sh", TRITON_URL=f"http://{deployed.server.http_url}", PROMETHEUS_URL="")
        assert done.returncode == 1
    finally:
        deployed.server.start()
