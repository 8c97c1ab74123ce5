"""A repository to deploy, and the options as the command composes them."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpc
import yaml

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.exporters.deployment.options import DeploymentOptions
from pixel_mm.serving.server import TritonServer
from tests.triton.served_models import add_model, add_version, emotion_config

MODELS = ("emotion", "hasty", "narrow")
"""What `Deployed` serves."""


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
    add_version(repository / name, "model.onnx", model_folder / "model.onnx", 2)
    for version in ("1", "2"):
        shutil.copy(model_folder / "model.yaml", repository / name / version)
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


@dataclass(frozen=True)
class Deployed:
    folder: Path
    repository: Path
    server: TritonServer


def score(server: TritonServer, model: str = "emotion") -> None:
    clip = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32)
    first = grpc.InferInput("waveform", clip.shape, "FP32").set_data_from_numpy(clip)
    second = grpc.InferInput("num_samples", [1, 1], "INT64").set_data_from_numpy(np.array([[16_000]]))
    with grpc.InferenceServerClient(server.grpc_url) as client:
        client.infer(model, [first, second])


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
