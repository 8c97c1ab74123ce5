"""A deployment folder of a repository as the export writes it."""

from pathlib import Path

import yaml

from pixel_mm.exporters.deployment.folder import write_deployment
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import TritonOptions
from pixel_mm.model_folder import ModelFolder
from tests.exporters.deployment.deployments import options


def test_a_repository_that_the_export_wrote_is_deployed(tmp_path: Path, tiny_model_folder: Path) -> None:
    model = ModelRepository(tmp_path / "repository", "feelings")
    wishes = TritonOptions(response_cache=True, warm_up_batch_sizes=())
    for _ in range(2):
        model.publish(ModelFolder(tiny_model_folder), "model.onnx", wishes)
    model.promote([1, 2])
    folder = write_deployment(model.repository, tmp_path / "deployment", options(cache_megabytes=3))
    command = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["triton"]["command"]
    assert "--load-model=feelings" in command
    assert "--cache-config=local,size=3145728" in command
    guide = (folder / "README.md").read_text()
    assert "| feelings | 2 | yes |" in guide
    assert '{"1": 0.5, "2": 0.5}' in guide


def test_a_server_gets_no_cache_that_nobody_asks_for(deployment: Path) -> None:
    assert "--cache-config" not in (deployment / "compose.yaml").read_text()
