"""A language model cut in two: what lies below the adapter's lowest block never changes.

Each half is a model of the same class with fewer layers, over the same modules. The lower one gives the hidden states
between the two, the upper one takes them in place of embeddings.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from pixel_mm.models.fusion.layers import FusionFitError, decoder_of, layers_of

_HEAD = "lm_head.weight"


def upper_half(model: PreTrainedModel, first_layer: int) -> PreTrainedModel:
    """Layers from `first_layer` on, final normalisation and head, sharing the model's modules.

    Raises:
        FusionFitError: the model has no such layer.
    """
    half = _empty_half(model, first_layer, model.config.num_hidden_layers)
    decoder, whole = decoder_of(half), decoder_of(model)
    decoder.layers = layers_of(model)[first_layer:]
    decoder.norm = whole.norm
    decoder.embed_tokens = nn.Identity()
    half.set_output_embeddings(model.get_output_embeddings())
    return half


def lower_half(model: PreTrainedModel, first_layer: int) -> nn.Module:
    """Embeddings and the layers below `first_layer`: the decoder whose last hidden state is what enters that layer."""
    half = decoder_of(_empty_half(model, 0, first_layer))
    whole = decoder_of(model)
    half.layers = layers_of(model)[:first_layer]
    half.norm = nn.Identity()
    half.embed_tokens = whole.embed_tokens
    return half


def _empty_half(model: PreTrainedModel, start: int, end: int) -> PreTrainedModel:
    """A model of layers `start` to `end` - 1 without weights, on the computations of the whole."""
    config = _half_config(model.config, start, end)
    config._attn_implementation = model.config._attn_implementation
    with torch.device("meta"):
        half: PreTrainedModel = type(model)(config)
    half.requires_grad_(False).eval()
    decoder_of(half).rotary_emb = decoder_of(model).rotary_emb  # its frequencies are no weights, and not on `meta`
    return half


def _half_config(config: PreTrainedConfig, start: int, end: int) -> PreTrainedConfig:
    """The settings of layers `start` to `end` - 1 alone."""
    if not 0 < end - start < config.num_hidden_layers:
        raise FusionFitError(
            f"backbone: cannot be cut at layer {start or end}; it has layers 0 to {config.num_hidden_layers - 1}"
        )
    if start % getattr(config, "decoder_sparse_step", 1):
        raise FusionFitError(f"backbone: decoder_sparse_step {config.decoder_sparse_step} does not divide {start}")
    half = copy.deepcopy(config)
    half.num_hidden_layers = end - start
    half.use_cache = False  # layers keep their numbers, which a cache of fewer layers has no place for
    if getattr(half, "layer_types", None):
        half.layer_types = half.layer_types[start:end]
    if getattr(half, "mlp_only_layers", None):
        half.mlp_only_layers = [number - start for number in half.mlp_only_layers if start <= number < end]
    return half


def read_upper_half(folder: Path, first_layer: int, options: Mapping[str, Any]) -> tuple[PreTrainedModel, int]:
    """The upper half from a folder of safetensors, without reading what lies below.

    Args:
        folder: in the layout of `transformers`.
        first_layer: the lowest to read.
        options: of `from_pretrained`.

    Returns:
        The half, and how many layers the whole model has.

    Raises:
        FusionFitError: the model has no such layer.
    """
    config = AutoConfig.from_pretrained(folder)
    half_config = _half_config(config, first_layer, config.num_hidden_layers)
    tied = bool(getattr(config, "tie_word_embeddings", False))
    tensors = {
        name.replace(f".layers.{number}.", f".layers.{number - first_layer}.", 1)
        if number is not None
        else name: tensor
        for name, number, tensor in _upper_tensors(folder, first_layer, tied)
    }
    model = _map_weights(half_config, tensors, options) if options.keys() <= {"dtype"} else None
    if model is None:
        kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        model = kind.from_pretrained(None, config=half_config, state_dict=tensors, **options)
        head = model.get_output_embeddings()
        decoder_of(model).embed_tokens = nn.Identity()
        model.set_output_embeddings(head)
    model.requires_grad_(False).eval()
    return model, config.num_hidden_layers


def _map_weights(
    config: PreTrainedConfig, tensors: Mapping[str, Tensor], options: Mapping[str, Any]
) -> PreTrainedModel | None:
    """A half on weights as they lie in the file, which are read from the disk as they are used and copied nowhere.

    None where file and model name or stack them differently (routed experts), or another number format is asked for.
    """
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    decoder = decoder_of(model)
    decoder.embed_tokens = nn.Identity()
    rotary: Any = getattr(decoder, "rotary_emb", None)
    if rotary is not None:
        decoder.rotary_emb = type(rotary)(config=config)  # its frequencies are no weights
    wanted = model.state_dict()
    names = {name: name if name in wanted else _HEAD for name in tensors}
    dtype = options.get("dtype", "auto")
    same = all(dtype in ("auto", tensor.dtype, str(tensor.dtype).rpartition(".")[2]) for tensor in tensors.values())
    if not same or _HEAD not in wanted or set(names.values()) != wanted.keys() or len(names) != len(wanted):
        return None
    model.load_state_dict({own: tensors[name] for name, own in names.items()}, assign=True)
    left = any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    return None if left else model


def _upper_tensors(folder: Path, first_layer: int, tied: bool) -> Iterator[tuple[str, int | None, Tensor]]:
    """Name, number of its layer if it has one, and value of every weight that the upper half needs."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dictionary)
                number = int(name.split(".layers.")[1].split(".")[0]) if ".layers." in name else None
                if number is None and "embed_tokens" in name and not tied:
                    continue
                if number is None or number >= first_layer:
                    yield name, number, tensors.get_tensor(name)
