"""The gates of an adapter: how far open they are, and whether training still makes sense."""

import math

import torch

from pixel_mm.models.fusion.network import FusionNetwork


class GateDivergedError(ValueError):
    """A gate that left the range in which it can be trained, or a loss that is not a number."""


def gate_values(network: FusionNetwork) -> dict[str, float]:
    """Gates before tanh by name: `LAYER_attention`, `LAYER_feed_forward`."""
    blocks = {} if network.adapter is None else network.adapter.by_layer()
    values: dict[str, float] = {}
    for layer, block in blocks.items():
        names = ("attention", "feed_forward")
        values |= {f"{layer}_{name}": float(gate) for name, gate in zip(names, block.gates().detach(), strict=False)}
    return values


def openness(network: FusionNetwork) -> float:
    """Mean of |tanh(gate)|, 0 (closed) to 1; 0 without gates."""
    values = gate_values(network).values()
    return sum(abs(math.tanh(value)) for value in values) / len(values) if values else 0.0


def check_gates(network: FusionNetwork, limit: float) -> None:
    """Refuse to go on with a gate that has diverged.

    Args:
        network: after a step.
        limit: largest absolute value of a gate before tanh; at 3, tanh is 0.995 and its slope 0.01.

    Raises:
        GateDivergedError: names the gate, its value and what to do.
    """
    for name, value in gate_values(network).items():
        if not abs(value) <= limit:  # also true for NaN
            layer, _, part = name.partition("_")
            raise GateDivergedError(
                f"training stopped: the {part} gate before layer {layer} is {value:.3g}, beyond {limit:g} "
                "(module.max_gate); lower module.head_learning_rate, or clip gradients: trainer.gradient_clip_val=1.0"
            )


def check_loss(loss: torch.Tensor) -> None:
    """Refuse to step on a loss that is not a number.

    Raises:
        GateDivergedError: it is NaN or infinite.
    """
    if not torch.isfinite(loss):
        raise GateDivergedError(
            f"training stopped: the loss is {loss.item()}; lower module.head_learning_rate, or set "
            "trainer.precision=32-true"
        )
