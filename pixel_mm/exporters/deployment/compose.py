"""The compose file: Triton, Prometheus and Grafana, on this machine's loopback unless told otherwise."""

from collections.abc import Sequence
from typing import Any

from pixel_mm.exporters.deployment.options import DeploymentOptions

METRICS_ARGUMENT = "--metrics-config=summary_latencies=true"
_READY = "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"
_BIND = "${BIND_ADDRESS:-127.0.0.1}"
_PASSWORD = "${GRAFANA_ADMIN_PASSWORD:?set it in the environment; it is stored in no file}"


def compose_file(
    repository: str, models: Sequence[str], options: DeploymentOptions, cached: bool = False
) -> dict[str, Any]:
    """Content of compose.yaml.

    Args:
        repository: path of the Triton repository as seen from the folder of the compose file.
        models: names of the models to load.
        options: images and processors.
        cached: whether a model asks for the server's response cache.
    """
    return {
        "name": "pixel-mm",
        "services": {
            "triton": _triton(repository, [*server_arguments(models), *_cache_arguments(options, cached)], options),
            "prometheus": _prometheus(options.prometheus_image),
            "grafana": _grafana(options.grafana_image),
        },
        "volumes": {"prometheus-data": {}, "grafana-data": {}},
    }


def server_arguments(models: Sequence[str]) -> list[str]:
    """Arguments of tritonserver, ports and repository apart.

    Models are loaded one by one, so that one that is broken does not stop the others, and a promoted version is taken
    when an operator says so. What `config.pbtxt` leaves out is not guessed, as in the tests.
    """
    return [
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in models),
        "--exit-on-error=false",
        "--disable-auto-complete-config",
        METRICS_ARGUMENT,
        "--exit-timeout-secs=30",
    ]


def _cache_arguments(options: DeploymentOptions, cached: bool) -> list[str]:
    """A model's wish for a cache does nothing in a server that was started without one."""
    return [f"--cache-config=local,size={options.cache_megabytes * 2**20}"] if cached else []


def _triton(repository: str, arguments: Sequence[str], options: DeploymentOptions) -> dict[str, Any]:
    models_mount = {
        "type": "bind",
        "source": f"${{MODEL_REPOSITORY:-{repository}}}",
        "target": "/models",
        "read_only": True,
        "bind": {"create_host_path": False},  # a wrong path is an error, not an empty repository
    }
    service: dict[str, Any] = {
        "image": options.triton_image,
        "command": ["tritonserver", "--model-repository=/models", *arguments],
        "ports": [f"{_BIND}:{port}:{port}" for port in (8000, 8001, 8002)],
        "volumes": [models_mount],
        "shm_size": "1gb",
        "ulimits": {"memlock": -1, "stack": 67108864},  # as the image's maker advises
        "stop_grace_period": "40s",
        "healthcheck": {
            "test": ["CMD", "python3", "-c", _READY],  # Python is in every image whose name ends in -py3
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "2m",
        },
        **_always_on(),
    }
    if options.gpus:
        device = {"driver": "nvidia", "count": options.gpus, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return service


def _prometheus(image: str) -> dict[str, Any]:
    return {
        "image": image,
        "command": [
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=30d",
        ],
        "ports": [f"{_BIND}:9090:9090"],
        "volumes": ["./prometheus:/etc/prometheus:ro", "prometheus-data:/prometheus"],
        **_always_on(),
    }


def _grafana(image: str) -> dict[str, Any]:
    return {
        "image": image,
        "environment": {
            "GF_SECURITY_ADMIN_PASSWORD": _PASSWORD,
            "GF_USERS_ALLOW_SIGN_UP": "false",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
        },
        "ports": [f"{_BIND}:3000:3000"],
        "volumes": [
            "./grafana/provisioning:/etc/grafana/provisioning:ro",
            "./grafana/dashboards:/var/lib/grafana/dashboards:ro",
            "grafana-data:/var/lib/grafana",
        ],
        "depends_on": ["prometheus"],
        **_always_on(),
    }


def _always_on() -> dict[str, Any]:
    return {"restart": "unless-stopped", "security_opt": ["no-new-privileges:true"]}
