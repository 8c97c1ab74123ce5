"""Which language models an adapter fits, which layers it takes, and what it says where it does not fit."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from pixel_mm.models.fusion.adapter import choose_layers
from pixel_mm.models.fusion.layers import FusionFitError, fuse_layers
from pixel_mm.models.fusion.network import FusionNetwork
from tests.models.fusion.tiny_fusion import CROSS_ATTENTION, backbone, fusion_network, prompt, read


def test_layers_are_taken_from_the_top() -> None:
    assert choose_layers(30, None, 0.25, 2) == (23, 25, 27, 29)
    assert choose_layers(48, None, 0.25, 1) == tuple(range(36, 48))
    assert choose_layers(4, None, 0.1, 3) == (3,)
    assert choose_layers(8, [-1, 2, 2], 1.0, 1) == (2, 7)


@pytest.mark.parametrize(
    ("layers", "top_share", "every", "first_layer", "message"),
    [
        ([4], 1.0, 1, 0, r"model.layers is \[4\]; the backbone has layers 0 to 3"),
        ([-5], 1.0, 1, 0, "the backbone has layers 0 to 3"),
        ([], 1.0, 1, 0, "choose among them"),
        (None, 0.0, 1, 0, "model.top_share is 0.0"),
        (None, 0.5, 0, 0, "every 0"),
        ([1, 2], 1.0, 1, 2, "layer 1 is below 2, the lowest that is loaded"),
    ],
)
def test_layers_that_the_backbone_has_not_are_named(
    layers: list[int] | None, top_share: float, every: int, first_layer: int, message: str
) -> None:
    with pytest.raises(FusionFitError, match=message):
        choose_layers(4, layers, top_share, every, first_layer)


def test_a_model_whose_layers_take_no_further_arguments_is_named() -> None:
    config = AutoConfig.for_model("gpt2", n_embd=16, n_layer=2, n_head=2, vocab_size=20)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(FusionFitError, match="GPT2"):
        fuse_layers(model)
    assert type(model).__name__ == "GPT2LMHeadModel"


def test_a_layer_that_does_not_fit_is_named_and_the_model_left_alone() -> None:
    class Odd(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs

    model = backbone().model
    model.get_decoder().layers[2] = Odd()
    kinds = [type(layer) for layer in model.get_decoder().layers]
    with pytest.raises(FusionFitError, match="layer 2 is a Odd, whose forward"):
        fuse_layers(model)
    assert [type(layer) for layer in model.get_decoder().layers] == kinds


def test_what_is_no_language_model_is_refused() -> None:
    with pytest.raises(FusionFitError, match="has no decoder with a list of layers"):
        fuse_layers(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"scores": ("joy",)}, "scores: joy are none of valence"), ({"encoders": {}}, "nothing to listen through")],
)
def test_impossible_settings_are_refused(options: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"encoders": {}, "scores": (), "adapter": CROSS_ATTENTION, **options}
    with pytest.raises(ValueError, match=message):
        FusionNetwork(backbone(), **settings)


def test_a_model_that_does_not_hand_the_argument_to_its_layers_is_named() -> None:
    network = fusion_network()
    decoder: Any = network.language_model.get_decoder()
    original = decoder.forward
    decoder.forward = lambda *args, fusion=None, **kwargs: original(*args, **kwargs)
    with pytest.raises(FusionFitError, match="LlamaForCausalLM does not hand the argument 'fusion' to its layers"):
        read(network, prompt(network.backbone))
