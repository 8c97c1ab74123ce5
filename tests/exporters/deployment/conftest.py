"""A deployment folder, and the programs that judge it."""

from pathlib import Path

import pytest

from pixel_mm.exporters.deployment.folder import write_deployment
from tests.exporters.deployment.deployments import add_deployable, options
from tests.exporters.deployment.prometheus import Programs, find_programs


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
