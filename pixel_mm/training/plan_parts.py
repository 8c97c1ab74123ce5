"""Parts of a fusion run with their sizes and without their content: nothing is fetched or read, and no memory taken.

Language model, adapter and heads are built as training builds them, under torch's `FakeTensorMode`.
"""

import math
from typing import Any, NamedTuple

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn
from transformers import AutoModelForCausalLM

from pixel_mm.data.emotions import EQ_DIMENSIONS
from pixel_mm.models.fusion.adapter import choose_layers
from pixel_mm.models.fusion.halves import upper_half
from pixel_mm.models.fusion.heads import FusionHeads
from pixel_mm.models.fusion.layers import decoder_of, fuse_layers, layers_of
from pixel_mm.training.fusion_task import hear_emotion
from pixel_mm.training.plan_step import PlannedParts


class EncoderSizes(NamedTuple):
    """A speech encoder.

    Attributes:
        width: of its frames.
        frame_rate_hz: frames per second.
        bytes: of its weights.
    """

    width: int
    frame_rate_hz: float
    bytes: int


def encoder_sizes(cfg: DictConfig) -> dict[str, EncoderSizes]:
    """Sizes of the speech encoders of a configuration, by name; built with random weights, and let go of."""
    found = {}
    for name, node in (cfg.model.encoders or {}).items():
        plain = OmegaConf.to_container(node, resolve=True)
        assert isinstance(plain, dict)
        with torch.random.fork_rng(devices=[]):
            encoder = instantiate({**plain, "pretrained_weights": False})
        found[str(name)] = _sizes(encoder)
    if found and cfg.emotion_run is not None:
        found["emotion"] = _sizes(hear_emotion(cfg.emotion_run))
    return found


def _sizes(encoder: Any) -> EncoderSizes:
    weights = sum(tensor.nbytes for tensor in encoder.state_dict().values())
    return EncoderSizes(encoder.hidden_size, encoder.frame_rate_hz, weights)


def build_parts(
    cfg: DictConfig, encoders: dict[str, EncoderSizes], scores: tuple[str, ...], upper: bool
) -> PlannedParts:
    """Build them; call it under `FakeTensorMode`.

    Args:
        cfg: `backbone` and `model`.
        encoders: their sizes.
        scores: that have labels.
        upper: hold the layers from the lowest block on alone.

    Raises:
        FusionFitError: a backbone that the adapter doesn't fit.
        PretrainedError: a backbone whose architecture is not configured.
    """
    blueprint, model_cfg = instantiate(cfg.backbone).blueprint(), cfg.model
    total = blueprint.num_hidden_layers
    layers = choose_layers(total, model_cfg.layers, model_cfg.top_share, model_cfg.every)
    model = AutoModelForCausalLM.from_config(blueprint, dtype=blueprint.dtype).requires_grad_(False).eval()
    first = layers[0] if upper else 0
    if first:
        model = upper_half(model, first)
    fuse_layers(model, first)
    sources = {name: (each.width, each.frame_rate_hz) for name, each in encoders.items()}
    adapter, audio_size = None, None
    if model_cfg.adapter is not None:
        resampler = instantiate(model_cfg.resampler)(encoders=sources)
        audio_size = resampler.size
        adapter = instantiate(model_cfg.adapter)(
            resampler=resampler, hidden_size=blueprint.hidden_size, layers=layers
        ).train()
    state = tuple(name for name in scores if name not in EQ_DIMENSIONS)
    answer = tuple(name for name in scores if name in EQ_DIMENSIONS)
    sizes = (blueprint.hidden_size, audio_size, model_cfg.head_width, model_cfg.dropout)
    heads = FusionHeads(state, answer, *sizes, model_cfg.reads_top).train()
    return PlannedParts(model, first, total, layers, sources, adapter, heads, bool(model_cfg.recompute))


class LanguageModelSizes(NamedTuple):
    """Parameters of a language model, by where they are.

    Attributes:
        below: layers below the lowest block, and embeddings where they are not the head.
        above: layers from the lowest block on, with the final normalisation.
        head: of the vocabulary; and embeddings, where they are the same.
        quantised: of those in layers, by "below" and "above", linear layers, which 4 bits are for.
    """

    below: int
    above: int
    head: int
    quantised: dict[str, int]


def language_model_sizes(parts: PlannedParts) -> LanguageModelSizes:
    """Sizes of a whole language model."""
    layers = layers_of(parts.model)
    sides = {"below": layers[: parts.layers[0]], "above": layers[parts.layers[0] :]}
    counts = {side: sum(map(_count, each)) for side, each in sides.items()}
    quantised = {side: sum(_linear(layer) for layer in each) for side, each in sides.items()}
    decoder: Any = decoder_of(parts.model)
    output: Any = parts.model.get_output_embeddings()
    head, words = output.weight, decoder.embed_tokens.weight
    apart = 0 if head is words else words.numel()
    return LanguageModelSizes(counts["below"] + apart, counts["above"] + _count(decoder.norm), head.numel(), quantised)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _linear(module: nn.Module) -> int:
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))


NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in NormalFloat of 4 bits: blocks of 64 with a scale in 8 bits, 256 of which share one of 32 bits
(QLoRA, Dettmers et al., NeurIPS 2023, section 3)."""


def stored_bytes(count: int, quantised: int, width: int, four_bits: bool) -> int:
    """Bytes of frozen weights.

    Args:
        count: parameters.
        quantised: those of them that 4 bits are for.
        width: bytes of one that is not.
        four_bits: whether they are quantised.
    """
    small = quantised if four_bits else 0
    return math.ceil((count - small) * width + small * NF4_BYTES)
