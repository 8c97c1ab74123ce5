"""The alerts, judged by promtool: each fires on what it is for, once that has lasted, and never on a healthy server."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pixel_mm.exporters.deployment.folder import write_deployment
from tests.exporters.deployment.deployments import options
from tests.exporters.deployment.prometheus import Programs

pytestmark = pytest.mark.slow  # the first one may have to download promtool

MINUTES = 20
INTERVAL_SECONDS = 15
SERVER = {"job": "triton", "instance": "triton:8002"}
VERSION = {"model": "emotion", "version": "2"}

# How much each counter grows in 15 s, and what the others are, on a server that is well.
HEALTHY: Mapping[str, float] = {
    "up": 1,
    "nv_inference_request_success": 100,
    'nv_inference_request_failure{reason="OTHER"}': 0,
    'nv_inference_request_failure{reason="BACKEND"}': 0,
    'nv_inference_request_failure{reason="CANCELED"}': 50,  # the callers' own doing
    'nv_inference_request_failure{reason="REJECTED"}': 0,
    "nv_inference_queue_duration_us": 100 * 10e3,
    "nv_inference_request_duration_us": 100 * 100e3,
    "nv_inference_pending_request_count": 3,
    "nv_cpu_memory_used_bytes": 5e9,
    "nv_cpu_memory_total_bytes": 10e9,
    "nv_gpu_memory_used_bytes": 5e9,
    "nv_gpu_memory_total_bytes": 10e9,
}
# Alert, what is different from a healthy server (None: gone), minutes until it fires, its summary.
CASES: list[tuple[str, Mapping[str, float | None], float, str]] = [
    ("TritonDown", {"up": 0}, 1, "triton:8002 does not answer"),
    ("TritonModelMissing", {"nv_inference_request_success": None}, 2, "model emotion is not served"),
    (
        "TritonRequestsFail",
        {'nv_inference_request_failure{reason="BACKEND"}': 10},
        5,
        "6.25% of the requests to model emotion, version 2 fail",
    ),
    (
        "TritonRequestsFail",
        {"nv_inference_request_success": 0, 'nv_inference_request_failure{reason="OTHER"}': 50},
        5,
        "50% of the requests to model emotion, version 2 fail",
    ),
    (
        "TritonRequestsRejected",
        {'nv_inference_request_failure{reason="REJECTED"}': 50},
        5,
        "25% of the requests to model emotion, version 2 gave up waiting in its queue",
    ),
    (
        "TritonQueueFull",
        {"nv_inference_pending_request_count": 95},
        1,
        "95 requests to model emotion, version 2 wait, 100 may; further ones are refused",
    ),
    (
        "TritonStuck",
        {"nv_inference_request_success": 0, "nv_inference_queue_duration_us": 0, "nv_inference_request_duration_us": 0},
        5,
        "model emotion, version 2 has requests waiting and finishes none",
    ),
    (
        "TritonQueueSlow",
        {"nv_inference_queue_duration_us": 100 * 0.6e6},
        5,
        "requests to model emotion, version 2 wait in its queue 600ms on average",
    ),
    (
        "TritonSlow",
        {"nv_inference_request_duration_us": 100 * 3e6},
        5,
        "requests to model emotion, version 2 take 3s on average",
    ),
    (
        "TritonHostMemory",
        {"nv_cpu_memory_used_bytes": 9.5e9},
        10,
        "95% of the memory of triton:8002's machine is in use",
    ),
    ("TritonGpuMemory", {"nv_gpu_memory_used_bytes": 9.9e9}, 10, "99% of the memory of GPU GPU-0 is in use"),
]


@pytest.fixture
def rules(tmp_path: Path, repository: Path) -> Path:
    return write_deployment(repository, tmp_path / "watched", options(gpus=1)) / "prometheus" / "rules.yml"


def alert_names(rules: Path) -> list[str]:
    groups = yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def series(measured: Mapping[str, float | None]) -> list[dict[str, str]]:
    """In promtool's notation: gauges stay, counters grow."""
    found = []
    for metric, value in measured.items():
        if value is None:
            continue
        name, _, reason = metric.rstrip("}").partition("{")
        labels = dict(SERVER)
        if name.startswith("nv_inference"):
            labels |= VERSION
        if name.startswith("nv_gpu"):
            labels["gpu_uuid"] = "GPU-0"
        listed = ",".join([*(f'{key}="{text}"' for key, text in labels.items()), *filter(None, [reason])])
        count = MINUTES * 60 // INTERVAL_SECONDS
        gauge = name == "up" or name.endswith(("_bytes", "_count"))
        values = f"{value:.0f}x{count}" if gauge else f"0+{value:.0f}x{count}"
        found.append({"series": f"{name}{{{listed}}}", "values": values})
    return found


def judge(
    programs: Programs, rules: Path, measured: Mapping[str, float | None], expected: list[dict[str, Any]]
) -> subprocess.CompletedProcess[str]:
    """Run promtool: `expected` has the name, time and alerts of each moment to look at."""
    test = {"interval": f"{INTERVAL_SECONDS}s", "input_series": series(measured), "alert_rule_test": expected}
    content = {"rule_files": [str(rules)], "evaluation_interval": f"{INTERVAL_SECONDS}s", "tests": [test]}
    path = rules.parent / "test.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [programs.promtool, "test", "rules", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def silence(name: str, minutes: float) -> dict[str, Any]:
    return {"alertname": name, "eval_time": f"{minutes * 60:.0f}s", "exp_alerts": []}


def labels_of(name: str) -> dict[str, str]:
    if name in ("TritonDown", "TritonHostMemory"):
        return SERVER
    if name == "TritonGpuMemory":
        return {**SERVER, "gpu_uuid": "GPU-0"}
    if name == "TritonQueueFull":
        return {**SERVER, **VERSION}
    return {"job": "triton", "model": "emotion"} if name == "TritonModelMissing" else VERSION


def severity_of(rules: Path, name: str) -> str:
    groups = yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
    return str(next(rule["labels"]["severity"] for rule in groups[0]["rules"] if rule["alert"] == name))


def test_prometheus_takes_configuration_and_rules(programs: Programs, rules: Path) -> None:
    command = [programs.promtool, "check", "config", str(rules.parent / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{len(alert_names(rules))} rules found" in done.stdout


def test_a_healthy_server_raises_no_alert(programs: Programs, rules: Path) -> None:
    moments = [silence(name, minutes) for name in alert_names(rules) for minutes in (0, 1, 6, 20)]
    done = judge(programs, rules, HEALTHY, moments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "change", "minutes", "summary"), CASES)
def test_an_alert_fires_once_its_reason_has_lasted(
    programs: Programs, rules: Path, name: str, change: Mapping[str, float], minutes: float, summary: str
) -> None:
    labels = {**labels_of(name), "severity": severity_of(rules, name)}
    alert = {"exp_labels": labels, "exp_annotations": {"summary": summary}}
    # Rates need two samples, so those alerts begin to count an interval later.
    moments = [
        silence(name, minutes - 0.25),
        {"alertname": name, "eval_time": f"{minutes * 60 + 30:.0f}s", "exp_alerts": [alert]},
    ]
    done = judge(programs, rules, {**HEALTHY, **change}, moments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case(rules: Path) -> None:
    assert {case[0] for case in CASES} == set(alert_names(rules))


def test_no_server_no_alarm_about_its_models(programs: Programs, rules: Path) -> None:
    """One alert says that the server is down; a second for every model would only be noise."""
    gone = {metric: None for metric in HEALTHY if metric != "up"}
    done = judge(programs, rules, {**gone, "up": 0}, [silence("TritonModelMissing", 20)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tool_sees_an_alert_that_does_not_fire(programs: Programs, rules: Path) -> None:
    content = rules.read_text(encoding="utf-8")
    rules.write_text(content.replace('up{job="triton"} == 0', 'up{job="tritn"} == 0'), encoding="utf-8")
    alert = {"exp_labels": {**SERVER, "severity": "critical"}, "exp_annotations": {"summary": CASES[0][3]}}
    moment = {"alertname": "TritonDown", "eval_time": "5m", "exp_alerts": [alert]}
    assert judge(programs, rules, {**HEALTHY, "up": 0}, [moment]).returncode == 1
