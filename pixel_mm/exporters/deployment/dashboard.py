"""The Grafana dashboard, and what lets Grafana find it and Prometheus by itself."""

from typing import Any

DATASOURCE = "prometheus"
_SELECTED = '{job="triton",model=~"$model",version=~"$version"}'
_BY_VERSION = "{{model}} {{version}}"
_WIDTH, _HEIGHT = 12, 8


def datasources() -> dict[str, Any]:
    """Content of provisioning/datasources/prometheus.yml."""
    source = {
        "name": "Prometheus",
        "uid": DATASOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": "http://prometheus:9090",
        "isDefault": True,
        "jsonData": {"timeInterval": "15s"},
    }
    return {"apiVersion": 1, "datasources": [source]}


def dashboard_providers() -> dict[str, Any]:
    """Content of provisioning/dashboards/files.yml."""
    provider = {"name": "files", "type": "file", "options": {"path": "/var/lib/grafana/dashboards"}}
    return {"apiVersion": 1, "providers": [provider]}


def dashboard(gpus: bool) -> dict[str, Any]:
    """Content of dashboards/triton.json.

    Args:
        gpus: with panels of the graphics processors.
    """
    panels = [*_request_panels(), *_machine_panels(), *(_gpu_panels() if gpus else [])]
    for number, panel in enumerate(panels):
        panel["id"] = number + 1
        panel["gridPos"] = {"x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
    return {
        "uid": "pixel-mm-triton",
        "title": "Triton: emotion from speech",
        "tags": ["pixel_mm", "triton"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_variable("model"), _variable("version")]},
        "panels": panels,
    }


def _request_panels() -> list[dict[str, Any]]:
    success = _rate("nv_inference_request_success")
    return [
        _panel("Requests answered", "reqps", (success, _BY_VERSION)),
        _panel(
            "Requests that failed",
            "reqps",
            (_rate("nv_inference_request_failure", "model, version, reason"), f"{_BY_VERSION} {{{{reason}}}}"),
        ),
        _panel(
            "Mean time in the server",
            "µs",
            (f"{_rate('nv_inference_request_duration_us')} / {success}", f"{_BY_VERSION} in all"),
            (f"{_rate('nv_inference_queue_duration_us')} / {success}", f"{_BY_VERSION} waiting"),
        ),
        _panel(
            "Time in the server, percentiles",
            "µs",
            (f"nv_inference_request_summary_us{_SELECTED}", f"{_BY_VERSION} {{{{quantile}}}}"),
        ),
        _panel(
            "Clips per execution",
            "none",
            (f"{_rate('nv_inference_count')} / {_rate('nv_inference_exec_count')}", _BY_VERSION),
        ),
        _panel("Requests waiting", "none", (f"nv_inference_pending_request_count{_SELECTED}", _BY_VERSION)),
    ]


def _machine_panels() -> list[dict[str, Any]]:
    used = 'nv_cpu_memory_used_bytes{job="triton"} / nv_cpu_memory_total_bytes{job="triton"}'
    return [
        _panel("Processor use", "percentunit", ('nv_cpu_utilization{job="triton"}', "{{instance}}")),
        _panel("Memory use", "percentunit", (used, "{{instance}}")),
    ]


def _gpu_panels() -> list[dict[str, Any]]:
    used = 'nv_gpu_memory_used_bytes{job="triton"} / nv_gpu_memory_total_bytes{job="triton"}'
    return [
        _panel("GPU use", "percentunit", ('nv_gpu_utilization{job="triton"}', "{{gpu_uuid}}")),
        _panel("GPU memory use", "percentunit", (used, "{{gpu_uuid}}")),
    ]


def _rate(metric: str, labels: str = "model, version") -> str:
    return f"sum by ({labels}) (rate({metric}{_SELECTED}[$__rate_interval]))"


def _panel(title: str, unit: str, *queries: tuple[str, str]) -> dict[str, Any]:
    """One diagram over time; each query is an expression and the legend of its lines."""
    source = {"type": "prometheus", "uid": DATASOURCE}
    return {
        "title": title,
        "type": "timeseries",
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": source, "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(queries)
        ],
    }


def _variable(label: str) -> dict[str, Any]:
    """A menu of the label's values; all of them unless some are chosen."""
    query = f"label_values(nv_inference_request_success, {label})"
    return {
        "name": label,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": DATASOURCE},
        "query": {"query": query, "refId": label},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }
