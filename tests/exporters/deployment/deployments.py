"""A repository to deploy, and the options as the command composes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters.deployment.options import DeploymentOptions
from tests.triton.served_models import add_model, add_version, emotion_config


def options(**changes: Any) -> DeploymentOptions:
    """The default ones of conf/, with some changed."""
    content = yaml.safe_load((CONFIG_DIR / "target" / "deployment.yaml").read_text(encoding="utf-8"))["deployment"]
    del content["_target_"]
    return DeploymentOptions(**{**content, **changes})


def add_deployable(
    repository: Path, model_folder: Path, name: str = "emotion", delay_microseconds: int = 20_000, **policy: int
) -> Path:
    """A model with the versions 1 (old) and 2, of which 2 is served; its folder.

    `policy` is that of its queue.
    """
    config = emotion_config(name, delay_microseconds=delay_microseconds)
    for field, value in policy.items():
        setattr(config.dynamic_batching.default_queue_policy, field, value)
    add_model(repository, config, model_folder)
    add_version(repository / name, "model.onnx", model_folder, 2)
    write_manifest(repository / name, served=[2])
    return repository / name


def write_manifest(folder: Path, served: Sequence[int], **about: Any) -> None:
    versions: Mapping[str, Any] = {
        str(number): {
            "created": f"2026-11-0{number}T12:00:00+00:00",
            "commit": "0123456789abcdef",
            "run": f"run_{number}",
            "file": "model.onnx",
            "sha256": {"model.onnx": f"{number}" * 64},
            "metrics": {"test/ccc_arousal": 0.5},
            **about,
        }
        for number in (1, 2)
    }
    content = {"format": 1, "name": folder.name, "versions": versions, "served": served, "history": []}
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
