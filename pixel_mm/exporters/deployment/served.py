"""What a Triton repository serves, read from its manifests."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonclient.grpc.model_config_pb2 import ModelConfig

from pixel_mm.exporters.deployment.options import DeploymentError
from pixel_mm.exporters.manifest import MANIFEST
from pixel_mm.exporters.triton import CONFIG, read_config
from pixel_mm.model_folder import ModelSpec


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model of a repository.

    Attributes:
        name: of the model, in letters, digits, `_`, `-` and `.`.
        versions: what the manifest says of each version, by number.
        served: numbers of the versions that the server offers, ascending.
        spec: of the newest one of them.
        max_queue_size: requests that may wait for a version; 0 for any number.
        response_cache: whether equal requests are answered from a cache.
    """

    name: str
    versions: Mapping[int, Mapping[str, Any]]
    served: tuple[int, ...]
    spec: ModelSpec
    max_queue_size: int
    response_cache: bool


def read_served(repository: Path) -> list[ServedModel]:
    """All models of a repository, by name.

    Args:
        repository: that `target=triton` wrote.

    Raises:
        DeploymentError: it is no such repository, or a manifest or configuration cannot be read.
        ModelFolderError: a version's model.yaml is missing or damaged.
    """
    models = [_read(path) for path in sorted(repository.glob(f"[!.]*/{MANIFEST}"))]
    if not models:
        raise DeploymentError(
            f"repository={repository} is no Triton repository of this project: it has no MODEL/{MANIFEST}; "
            "make one with python -m pixel_mm.export target=triton"
        )
    return models


def _read(path: Path) -> ServedModel:
    name = path.parent.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise DeploymentError(f"{path.parent}: a model's name has letters, digits, '_', '-' and '.' only")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        versions = {int(number): dict(about) for number, about in content["versions"].items()}
        served = tuple(sorted(int(number) for number in content["served"]))
        absent = sorted(set(served) - set(versions))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeploymentError(f"{path} is no readable manifest ({error!r}); export the model again") from None
    if not served or absent:
        what = f"serves {absent}, which it does not have" if absent else "serves no version"
        raise DeploymentError(f"{path} {what}; promote one that is there")
    spec = ModelSpec.read(path.parent / str(served[-1]) / "model.yaml")
    config = _config(path.parent / CONFIG)
    queue_size = config.dynamic_batching.default_queue_policy.max_queue_size
    return ServedModel(name, versions, served, spec, queue_size, config.response_cache.enable)


def _config(path: Path) -> ModelConfig:
    try:
        return read_config(path)
    except (FileNotFoundError, ValueError) as error:
        raise DeploymentError(f"{path} cannot be read ({error}); export the model again") from None
