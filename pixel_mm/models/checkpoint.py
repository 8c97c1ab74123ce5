"""What a checkpoint says about its network, and the refusal to load it into another one.

A checkpoint holds the trained weights alone. It fits a network of the same architecture, with the same parameters
trained, on top of the same frozen weights; into anything else it would load without an error and be wrong.
"""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from pixel_mm.models.freezing import fingerprint, frozen_tensors, trained_parameters

_KEY = "pixel_mm"
_FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or of another network."""


class DescribedNetwork(nn.Module):
    """A network that says what it is."""

    @property
    def architecture(self) -> dict[str, Any]:
        """What defines the computation beside the weights, by name, in plain types."""
        raise NotImplementedError

    @property
    def frozen_sha256(self) -> str | dict[str, str]:
        """Fingerprint of all that is not trained; or of its parts, by name, so that a refusal can name one."""
        return fingerprint(frozen_tensors(self))


def describe(network: DescribedNetwork, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a checkpoint of a network must hold for `weights_for` to find and check its weights.

    Args:
        network: frozen as it is trained.
        weights: its trained parameters by name, with the values to use: averaged ones where there are.
    """
    return {
        _KEY: {
            "format": _FORMAT,
            "architecture": network.architecture,
            "frozen_sha256": network.frozen_sha256,
            "weights": dict(weights),
        }
    }


def load_trained(network: DescribedNetwork, path: str | Path) -> None:
    """Load a checkpoint's weights into a network that is built and adapted as the one it was made from.

    Args:
        network: changed in place.
        path: checkpoint file.

    Raises:
        CheckpointError: no such file, damaged, or of another network; the message names the file and what differs.
    """
    put_weights(network, weights_for(network, _read(path), str(path)))


def read_architecture(path: str | Path) -> dict[str, Any]:
    """Architecture of the network that a checkpoint was made from, such as the emotion labels it was trained on.

    Args:
        path: checkpoint file.

    Raises:
        CheckpointError: no such file, damaged, or not written by this version.
    """
    architecture: dict[str, Any] = dict(_content(_read(path), str(path))["architecture"])
    return architecture


def read_fingerprint(path: str | Path, name: str) -> str | None:
    """A fingerprint that a module left in its checkpoint, such as that of the tokenizer; None where there is none.

    Raises:
        CheckpointError: no such file, or damaged.
    """
    found = _read(path, mmap=True).get(name)  # without reading the weights
    return None if found is None else str(found)


def weights_for(
    network: DescribedNetwork, checkpoint: Mapping[str, Any], place: str = "checkpoint"
) -> dict[str, Tensor]:
    """Weights out of a checkpoint, after making sure that they are this network's.

    Args:
        network: what they are for.
        checkpoint: with what `describe` gave.
        place: what messages call it.

    Returns:
        Every trained parameter by name.

    Raises:
        CheckpointError: not a checkpoint of this network; the message says what differs.
    """
    content = _content(checkpoint, place)
    if differing := _differences(content["architecture"], network.architecture):
        raise CheckpointError(f"{place} is of another architecture: {'; '.join(differing)}")
    weights: dict[str, Tensor] = dict(content["weights"])
    _check_names(weights, network, place)
    _check_frozen(content["frozen_sha256"], network.frozen_sha256, place)
    return weights


@torch.no_grad()
def put_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy values into the parameters that they are named after."""
    parameters = dict(network.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)


def _read(path: str | Path, mmap: bool = False) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (UnpicklingError, OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged or not one: {error}") from error


def _content(checkpoint: Any, place: str) -> Mapping[str, Any]:
    """What `describe` put into a checkpoint."""
    content = checkpoint.get(_KEY) if isinstance(checkpoint, Mapping) else None
    if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{place} was not written by this version of pixel_mm.train")
    return content


def _check_frozen(theirs: str | Mapping[str, str], ours: str | Mapping[str, str], place: str) -> None:
    if theirs == ours:
        return
    parts = ""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        differing = [name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)]
        parts = f" ({', '.join(differing)})"
    raise CheckpointError(
        f"{place} was trained on top of other frozen weights than this network has{parts}: use the same encoder "
        "weights (encoder.weights, encoder.pretrained_weights) and the same backbone as the run that wrote it"
    )


def _check_names(weights: Mapping[str, Tensor], network: nn.Module, place: str) -> None:
    trained = trained_parameters(network)
    missing, unexpected = sorted(trained.keys() - weights.keys()), sorted(weights.keys() - trained.keys())
    if missing or unexpected:
        parts = [
            f"{what} {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in (("it lacks", missing), ("it has beyond them", unexpected))
            if names
        ]
        raise CheckpointError(
            f"{place} does not hold the weights that this network trains: {'; '.join(parts)}; build the network with "
            "the encoder, model and adaptation of the run that wrote it"
        )
    for name, parameter in trained.items():
        if weights[name].shape != parameter.shape:
            raise CheckpointError(
                f"{place} is of another architecture: '{name}' is {list(weights[name].shape)} in it, "
                f"{list(parameter.shape)} in this network"
            )


def _differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """Where two nested settings differ, as `name is THEIRS in it, OURS in this network`."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        keys = sorted(theirs.keys() | ours.keys())
        return [
            part for key in keys for part in _differences(theirs.get(key), ours.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if theirs == ours else [f"{name} is {theirs} in it, {ours} in this network"]
