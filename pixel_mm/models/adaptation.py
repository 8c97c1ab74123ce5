"""How an encoder is adapted to a task: what is frozen, and where low-rank adapters go. Chosen by `conf/adaptation`.

Each class is called on a network (anything with an `encoder`) after its weights are loaded, and changes it in place.
Whisper's decoder is pretrained as its encoder is, and is adapted as that is; what is not pretrained is trained.
"""

from collections.abc import Sequence

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from pixel_mm.models.encoders.encoder import SpeechEncoder
from pixel_mm.models.freezing import FreezeError, freeze
from pixel_mm.models.speech_recognition.decoder import WhisperDecoder


class Freeze:
    """Train everything but what matches; no pattern trains everything."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Take the patterns of `pixel_mm.models.freezing.freeze`."""
        self.patterns = list(patterns)

    def __call__(self, network: nn.Module) -> None:
        """Freeze.

        Raises:
            FreezeError: a pattern matches no parameter.
        """
        freeze(network, self.patterns)


class LastLayers:
    """Train the last layers of what is pretrained, its final normalisations, and all that is not pretrained."""

    def __init__(self, num_layers: int, patterns: Sequence[str] = ()) -> None:
        """Choose how many.

        Args:
            num_layers: layers of the encoder to train, 1 to all of those in use; of a decoder as many, or all it has.
            patterns: what to freeze besides.
        """
        self.num_layers = num_layers
        self.patterns = list(patterns)

    def __call__(self, network: nn.Module) -> None:
        """Freeze the front end and the layers below.

        Raises:
            FreezeError: the encoder has fewer layers, or a pattern matches no parameter.
        """
        encoder, decoder = _pretrained_of(network)
        trained = [*_last(encoder, self.num_layers), encoder.final_norm()]
        if decoder is not None:
            trained += [*decoder.layers[-self.num_layers :], decoder.layer_norm]
        for part in trained:
            if part is not None:
                part.requires_grad_(True)
        freeze(network, self.patterns)


class LowRank:
    """Freeze what is pretrained and add low-rank adapters (LoRA, Hu et al., ICLR 2022) to its layers, through `peft`.

    `merge_adapters` adds them into the weights, for export.
    """

    def __init__(
        self,
        rank: int,
        alpha: int,
        targets: Sequence[str],
        dropout: float = 0.0,
        num_layers: int | None = None,
        patterns: Sequence[str] = (),
    ) -> None:
        """Choose size and places.

        Args:
            rank: of each adapter.
            alpha: the adapter's output is scaled by alpha / rank.
            targets: names of linear modules in a layer, such as `q_proj`.
            dropout: on the adapters' input.
            num_layers: adapt the last so many layers, as in `LastLayers`; None adapts all.
            patterns: what to freeze besides.
        """
        self.config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets))
        self.targets = list(targets)
        self.num_layers = num_layers
        self.patterns = list(patterns)

    def __call__(self, network: nn.Module) -> None:
        """Freeze and inject the adapters.

        Raises:
            FreezeError: a target that no layer has, fewer layers than asked for, or a pattern that matches nothing.
        """
        encoder, decoder = _pretrained_of(network)
        layers = _last(encoder, self.num_layers or encoder.num_layers)
        if decoder is not None:
            layers += decoder.layers[-(self.num_layers or decoder.num_layers) :]
        for layer in layers:
            linear = {name.split(".")[-1] for name, part in layer.named_modules() if isinstance(part, nn.Linear)}
            if unknown := [target for target in self.targets if target not in linear]:
                raise FreezeError(
                    f"adaptation.targets: a layer has no {', '.join(unknown)}; it has {', '.join(sorted(linear))}"
                )
            inject_adapter_in_model(self.config, layer)
        freeze(network, self.patterns)


def merge_adapters(network: nn.Module) -> None:
    """Add every low-rank adapter into the weight beside it and take it out; the network computes the same as before."""
    for name, module in list(network.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())


def _pretrained_of(network: nn.Module) -> tuple[SpeechEncoder, WhisperDecoder | None]:
    """The encoder, and the decoder of a network that has one, frozen."""
    encoder, decoder = getattr(network, "encoder", None), getattr(network, "decoder", None)
    if not isinstance(encoder, SpeechEncoder):
        raise FreezeError(f"adaptation: a {type(network).__name__} has no speech encoder")
    encoder.requires_grad_(False)
    if not isinstance(decoder, WhisperDecoder):
        return encoder, None
    return encoder, decoder.requires_grad_(False)


def _last(encoder: SpeechEncoder, num_layers: int) -> list[nn.Module]:
    if not 1 <= num_layers <= encoder.num_layers:
        raise FreezeError(
            f"adaptation.num_layers is {num_layers}; the encoder uses {encoder.num_layers} layers, give 1 to that"
        )
    return list(encoder.layer_stack())[-num_layers:]
