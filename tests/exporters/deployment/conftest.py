"""A deployment folder, and the programs that judge it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pixel_mm.exporters.deployment.compose import server_arguments
from pixel_mm.exporters.deployment.folder import write_deployment
from pixel_mm.serving.server import TritonServer, _free_ports
from tests.exporters.deployment.deployments import MODELS, Deployed, add_deployable, options
from tests.exporters.deployment.prometheus import Programs, Prometheus, find_programs, running


@pytest.fixture(scope="session")
def programs() -> Programs:
    found = find_programs()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture
def repository(tmp_path: Path, tiny_model_folder: Path) -> Path:
    return add_deployable(tmp_path / "repository", tiny_model_folder, max_queue_size=100).parent


@pytest.fixture
def deployment(tmp_path: Path, repository: Path) -> Path:
    return write_deployment(repository, tmp_path / "deployment", options())


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
