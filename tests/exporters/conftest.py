"""A model with two versions in a Triton repository."""

from pathlib import Path

import pytest

from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.model_folder import ModelFolder
from tests.exporters.repositories import OPTIONS


@pytest.fixture
def exported(tiny_model_folder: Path) -> ModelFolder:
    return ModelFolder(tiny_model_folder)


@pytest.fixture
def model(tmp_path: Path, exported: ModelFolder) -> ModelRepository:
    """With the versions 1 and 2, of which 2 is served."""
    found = ModelRepository(tmp_path / "repository", "emotion")
    assert [found.publish(exported, "model.onnx", OPTIONS) for _ in range(2)] == [1, 2]
    return found
