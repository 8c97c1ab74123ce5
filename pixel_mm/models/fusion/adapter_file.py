"""An adapter and its heads as a file of safetensors: what was trained, and what it was trained on, nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pixel_mm.models.checkpoint import CheckpointError, describe, put_weights, weights_for
from pixel_mm.models.fusion.network import FusionNetwork


def save_adapter(network: FusionNetwork, path: Path) -> None:
    """Write what a network has beside the language model and the encoders.

    Args:
        network: trained.
        path: file to write.
    """
    weights = {
        name: parameter.detach().cpu().contiguous().clone()
        for name, parameter in network.named_parameters()
        if name.startswith(("adapter.", "heads."))
    }
    ((key, content),) = describe(network, {}).items()
    del content["weights"]
    save_file(weights, path, {key: json.dumps(content)})


def read_adapter(path: Path) -> dict[str, Any]:
    """A file of `save_adapter` in the form of a checkpoint.

    Raises:
        CheckpointError: no such file, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
    except (FileNotFoundError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is missing, damaged or no adapter: {error}") from error
    return {key: {**each, "weights": tensors} for key, each in content.items() if isinstance(each, Mapping)}


def load_adapter(network: FusionNetwork, path: Path) -> None:
    """Put a file's weights into a network that was built for them.

    Raises:
        CheckpointError: no such file, damaged, or of another network; the message says what differs.
    """
    put_weights(network, weights_for(network, read_adapter(path), str(path)))
