"""What a Triton repository serves, read from its manifests."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixel_mm.exporters.deployment.options import DeploymentError
from pixel_mm.model_folder import ModelSpec

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model of a repository.

    Attributes:
        name: of the model, in letters, digits, `_`, `-` and `.`.
        versions: what the manifest says of each version, by number.
        served: numbers of the versions that the server offers, ascending.
        spec: of the newest one of them.
    """

    name: str
    versions: Mapping[int, Mapping[str, Any]]
    served: tuple[int, ...]
    spec: ModelSpec


def read_served(repository: Path) -> list[ServedModel]:
    """All models of a repository, by name.

    Args:
        repository: that `target=triton` wrote.

    Raises:
        DeploymentError: it is no such repository, or a manifest cannot be read.
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
    return ServedModel(name, versions, served, ModelSpec.read(path.parent / str(served[-1]) / "model.yaml"))
