"""Which parameters are trained. One predicate, `is_trained`, decides what is optimised, averaged, saved and counted."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256

import torch
from torch import Tensor, nn

from pixel_mm.models.encoders.encoder import SpeechEncoder


class FreezeError(ValueError):
    """A freezing configuration that means nothing for the network it is given."""


def is_trained(parameter: nn.Parameter) -> bool:
    """Whether a parameter is trained."""
    return parameter.requires_grad


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Trained parameters by name."""
    return {name: parameter for name, parameter in module.named_parameters() if is_trained(parameter)}


def frozen_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What a state dict holds beside the trained parameters: frozen parameters and persistent buffers, by name."""
    trained = trained_parameters(module)
    return {name: tensor for name, tensor in module.state_dict().items() if name not in trained}


def count(module: nn.Module) -> tuple[int, int]:
    """Number of trained parameters, and of all."""
    trained = sum(parameter.numel() for parameter in trained_parameters(module).values())
    return trained, sum(parameter.numel() for parameter in module.parameters())


def freeze(module: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze the parameters whose names match.

    Args:
        module: changed in place.
        patterns: shell patterns over whole parameter names, such as `encoder.conv*` or `encoder.layers.[0-3].*`.

    Raises:
        FreezeError: a pattern matches no parameter.
    """
    parameters = dict(module.named_parameters())
    for pattern in patterns:
        matched = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matched:
            children = ", ".join(f"{name}.*" for name, _ in module.named_children())
            raise FreezeError(
                f"adaptation: freeze pattern '{pattern}' matches no parameter; the network has {children}, "
                f"with names such as '{next(iter(parameters))}'"
            )
        for name in matched:
            parameters[name].requires_grad_(False)


def rest_frozen_parts(module: nn.Module) -> None:
    """Put every part that has parameters but trains none into evaluation mode, so that no dropout stirs it."""
    parameters = list(module.parameters())
    if parameters and not any(is_trained(parameter) for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        rest_frozen_parts(child)


def frozen_depth(encoder: SpeechEncoder) -> int | None:
    """Deepest hidden state that training cannot change.

    Returns:
        0 (the front end alone is frozen) to L (all is); None where the front end is trained.
    """
    layers, norm = encoder.layer_stack(), encoder.final_norm()
    above = {id(parameter) for part in (layers, norm) if part is not None for parameter in part.parameters()}
    if any(is_trained(parameter) for parameter in encoder.parameters() if id(parameter) not in above):
        return None
    # State L is behind the final normalisation: where that is trained, the last layer's state cannot be kept.
    blocks = [[*layer.parameters()] for layer in layers]
    if norm is not None:
        blocks[-1] += norm.parameters()
    trains = [any(is_trained(parameter) for parameter in block) for block in blocks]
    return trains.index(True) if True in trains else len(trains)


def trunk_tensors(encoder: SpeechEncoder, depth: int) -> dict[str, Tensor]:
    """Weights that hidden state `depth` depends on, by their names in the encoder."""
    layers, norm = encoder.layer_stack(), encoder.final_norm()
    parts = [*layers[depth:], *([] if norm is None or depth == len(layers) else [norm])]
    above = {id(tensor) for part in parts for tensor in part.state_dict(keep_vars=True).values()}
    return {name: tensor for name, tensor in encoder.state_dict(keep_vars=True).items() if id(tensor) not in above}


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, whatever the order; 64 hexadecimal digits."""
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
