"""Makes the decoder layers of any `transformers` causal language model take an argument `fusion`.

Layers get another class and nothing else: parameters, buffers and state-dict keys stay what they were, and without the
argument they compute what they did. Nothing is kept on them but their number.
"""

import functools
import inspect
from typing import Any

from torch import Tensor, nn

from pixel_mm.models.fusion.hearing import Fusion

_NUMBER = "fusion_layer"


class FusionFitError(ValueError):
    """A language model that the adapter does not fit."""


class _FusedModel:
    """Marks the class of a model that takes the argument."""


class _FusedLayer:
    """What a decoder layer's class is mixed with."""

    fusion_layer: int  # set by `fuse_layers`

    def forward(self, hidden_states: Tensor, *args: Any, fusion: Fusion | None = None, **kwargs: Any) -> Any:
        forward = super().forward  # type: ignore[misc]
        if fusion is None:
            return forward(hidden_states, *args, **kwargs)
        return fusion.run(self.fusion_layer, forward, hidden_states, *args, **kwargs)


def decoder_of(model: nn.Module) -> nn.Module:
    """The part of a causal language model that has `layers`, `norm` and embeddings.

    Raises:
        FusionFitError: there is none.
    """
    get_decoder: Any = getattr(model, "get_decoder", lambda: None)
    decoder = get_decoder()
    if not isinstance(getattr(decoder, "layers", None), nn.ModuleList):
        raise FusionFitError(f"backbone: a {type(model).__name__} has no decoder with a list of layers")
    assert isinstance(decoder, nn.Module)
    return decoder


def layers_of(model: nn.Module) -> nn.ModuleList:
    """The decoder layers of a causal language model, in order."""
    layers = decoder_of(model).layers
    assert isinstance(layers, nn.ModuleList)
    return layers


def fuse_layers(model: nn.Module, first_layer: int = 0) -> None:
    """Let a model and its layers take `fusion`; in place, and again without effect.

    Args:
        model: a causal language model of `transformers`.
        first_layer: number of the first layer that it has, where lower ones were cut off.

    Raises:
        FusionFitError: a model or layer whose forward takes no further arguments; names it.
    """
    if isinstance(model, _FusedModel):
        return
    for part in (model, decoder_of(model)):
        if not _takes_more(part):
            raise FusionFitError(f"backbone: {type(part).__name__}.forward hands no further arguments to its layers")
    for number, layer in enumerate(layers_of(model), start=first_layer):
        _check_layer(number, layer)
    for number, layer in enumerate(layers_of(model), start=first_layer):
        _mix(layer, _FusedLayer)
        setattr(layer, _NUMBER, number)
    _take_argument(model)


def _check_layer(number: int, layer: nn.Module) -> None:
    parameters = list(inspect.signature(layer.forward).parameters)
    if not parameters or parameters[0] != "hidden_states":
        raise FusionFitError(
            f"backbone: layer {number} is a {type(layer).__name__}, whose forward does not begin with hidden_states"
        )


def _takes_more(module: nn.Module) -> bool:
    return any(kind.kind == kind.VAR_KEYWORD for kind in inspect.signature(module.forward).parameters.values())


def _mix(module: nn.Module, mixin: type, **members: Any) -> None:
    """Put a mixin before a module's class, under the class's own name: others find layers by it (FSDP, outputs)."""
    own = type(module)
    if not issubclass(own, mixin):
        names = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
        module.__class__ = type(own.__name__, (mixin, own), names | members)


def _take_argument(model: nn.Module) -> None:
    """Name `fusion` in the signature of a model's forward, so that its `generate` hands it on."""
    original = type(model).forward

    @functools.wraps(original)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs)

    signature = inspect.signature(original)
    *known, further = signature.parameters.values()
    argument = inspect.Parameter("fusion", inspect.Parameter.KEYWORD_ONLY, default=None)
    forward.__signature__ = signature.replace(parameters=[*known, argument, further])  # type: ignore[attr-defined]
    _mix(model, _FusedModel, forward=forward)
