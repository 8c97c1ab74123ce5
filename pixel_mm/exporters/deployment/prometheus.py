"""What Prometheus scrapes, and when it raises an alert.

The metrics are those of Triton 24.10: https://github.com/triton-inference-server/server/blob/r24.10/docs/user_guide/metrics.md
"""

from collections.abc import Mapping
from typing import Any

from pixel_mm.exporters.deployment.options import DeploymentOptions

JOB = "triton"
_WINDOW = "5m"


def scrape_config() -> dict[str, Any]:
    """Content of prometheus.yml."""
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": JOB, "static_configs": [{"targets": ["triton:8002"]}]},
            {"job_name": "prometheus", "static_configs": [{"targets": ["localhost:9090"]}]},
        ],
    }


def alert_rules(queues: Mapping[str, int], options: DeploymentOptions) -> dict[str, Any]:
    """Content of rules.yml.

    Args:
        queues: how many requests may wait, 0 for any number, by name of the models that shall be served.
        options: when the alerts fire.
    """
    rules = [
        _alert("TritonDown", f'up{{job="{JOB}"}} == 0', "1m", "critical", "{{ $labels.instance }} does not answer"),
        *(_missing(name) for name in queues),
        *(_queue_full(name, size) for name, size in queues.items() if size),
        _failures("TritonRequestsFail", "BACKEND|OTHER", options.failure_ratio, "critical", "fail"),
        _failures(
            "TritonRequestsRejected", "REJECTED", options.failure_ratio, "warning", "gave up waiting in its queue"
        ),
        _alert(
            "TritonStuck",
            f"{_sum(_metric('nv_inference_pending_request_count'))} > 0 "
            f"and {_sum(_rate('nv_inference_request_success'))} == 0",
            "5m",
            "critical",
            f"{_WHOSE} has requests waiting and finishes none",
        ),
        _mean_time("TritonQueueSlow", "nv_inference_queue_duration_us", options.queue_seconds, "wait in its queue"),
        _mean_time("TritonSlow", "nv_inference_request_duration_us", options.request_seconds, "take"),
        _alert(
            "TritonHostMemory",
            f"{_metric('nv_cpu_memory_used_bytes')} / {_metric('nv_cpu_memory_total_bytes')} > 0.9",
            "10m",
            "warning",
            "{{ $value | humanizePercentage }} of the memory of {{ $labels.instance }}'s machine is in use",
        ),
    ]
    if options.gpus:
        rules.append(
            _alert(
                "TritonGpuMemory",
                f"{_metric('nv_gpu_memory_used_bytes')} / {_metric('nv_gpu_memory_total_bytes')} > 0.95",
                "10m",
                "warning",
                "{{ $value | humanizePercentage }} of the memory of GPU {{ $labels.gpu_uuid }} is in use",
            )
        )
    return {"groups": [{"name": JOB, "rules": rules}]}


_WHOSE = "model {{ $labels.model }}, version {{ $labels.version }}"


def _metric(name: str, matchers: str = "") -> str:
    return f'{name}{{job="{JOB}"{matchers}}}'


def _rate(name: str, matchers: str = "") -> str:
    return f"rate({_metric(name, matchers)}[{_WINDOW}])"


def _sum(expression: str) -> str:
    return f"sum by (model, version) ({expression})"


def _alert(name: str, expression: str, after: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": after,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }


def _missing(model: str) -> dict[str, Any]:
    """Triton takes away these counters with the model (those of failures stay), and none of them while it is down."""
    matchers = f',model="{model}"'
    expression = f'absent({_metric("nv_inference_request_success", matchers)}) and on() (up{{job="{JOB}"}} == 1)'
    return _alert("TritonModelMissing", expression, "2m", "critical", "model {{ $labels.model }} is not served")


def _queue_full(model: str, size: int) -> dict[str, Any]:
    """A request that finds the queue full is refused, and Triton counts it nowhere: this is all that tells of it."""
    matchers = f',model="{model}"'
    expression = f"{_metric('nv_inference_pending_request_count', matchers)} >= {max(1, round(0.9 * size))}"
    summary = f"{{{{ $value }}}} requests to {_WHOSE} wait, {size} may; further ones are refused"
    return _alert("TritonQueueFull", expression, "1m", "critical", summary)


def _failures(name: str, reasons: str, limit: float, severity: str, what: str) -> dict[str, Any]:
    bad = _sum(_rate("nv_inference_request_failure", f',reason=~"{reasons}"'))
    every = f"({_sum(_rate('nv_inference_request_success'))} + {_sum(_rate('nv_inference_request_failure'))})"
    summary = f"{{{{ $value | humanizePercentage }}}} of the requests to {_WHOSE} {what}"
    return _alert(name, f"{bad} / {every} > {limit:g}", "5m", severity, summary)


def _mean_time(name: str, metric: str, limit_seconds: float, what: str) -> dict[str, Any]:
    mean = f"{_sum(_rate(metric))} / {_sum(_rate('nv_inference_request_success'))} / 1e6"
    summary = f"requests to {_WHOSE} {what} {{{{ $value | humanizeDuration }}}} on average"
    return _alert(name, f"{mean} > {limit_seconds:g}", "5m", "warning", summary)
