"""The wav2vec 2.0 family through `transformers`: wav2vec 2.0, HuBERT and WavLM.

The modules and their weights are those of `transformers`; the way through them is this file's, because there padding
changes results. Two kinds of model are to be told apart. Where the first convolution is followed by a group
normalisation over time (the base models), its statistics are taken over an utterance's own frames, which gives what
the published model gives for the utterance alone; the others normalise each frame by itself. In both, attention and the
positional convolution see an utterance's own frames only.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from pixel_mm.models.encoders.encoder import EncoderStates, SpeechEncoder
from pixel_mm.models.encoders.loading import load_published
from pixel_mm.models.frontend import (
    SAMPLE_RATE_HZ,
    FeatureMask,
    check_lengths,
    full_precision,
    padding_mask,
    zero_padding,
)
from pixel_mm.pretrained import Weights

_PREFIXES = ("wav2vec2.", "hubert.", "wavlm.")
# Parts of published models that only their pre-training or another task needs.
_UNUSED = (
    "encoder.layers.",
    "encoder.layer_norm.",
    "quantizer.",
    "project_",
    "lm_head.",
    "final_proj.",
    "masked_spec_",
)
_Attend = Callable[[Any, Tensor], Tensor]
_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


class Wav2Vec2Encoder(SpeechEncoder):
    """Convolutions on the waveform, a positional convolution, transformer layers. 50 frames per second.

    State 0 is what the first transformer layer is given.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        normalise: bool,
        weights: Weights | None = None,
        pretrained_weights: bool = True,
        last_layer: int | None = None,
        dropout: float = 0.0,
        mask: FeatureMask | None = None,
    ) -> None:
        """Build the encoder and load its weights.

        Args:
            config: of the published model: `Wav2Vec2Config`, `HubertConfig` or `WavLMConfig`.
            normalise: bring each utterance to mean 0 and variance 1 first, where the model was trained so.
            weights: where the published weights are.
            pretrained_weights: false leaves random weights: the same architecture, nothing fetched.
            last_layer: use the first so many layers; None uses all.
            dropout: on the output of each block, in training.
            mask: random masks over the projected features, for training.

        Raises:
            ValueError: a configuration that this encoder cannot compute.
            PretrainedError: weights that are not to be had or don't fit.
        """
        super().__init__()
        published = config.num_hidden_layers
        used = published if last_layer is None else last_layer
        if not 1 <= used <= published:
            raise ValueError(f"encoder: last_layer {used} must be in 1..{published}")
        if getattr(config, "conv_pos_batch_norm", False):
            raise ValueError(
                "encoder: config.conv_pos_batch_norm must be false; it would mix the utterances of a batch"
            )
        self.num_layers, self.hidden_size = used, config.hidden_size
        self.frame_rate_hz = SAMPLE_RATE_HZ / math.prod(config.conv_stride)
        self.architecture = {"family": config.model_type, "layers": used, "normalise": normalise, **_settings(config)}
        self.normalise, self.mask = normalise, mask
        self.model: Any = _build(config, used, dropout)
        self.stable = bool(config.do_stable_layer_norm)
        if pretrained_weights:
            load_published(self.model, weights, _PREFIXES, _UNUSED, rename=_modern_name)

    def layer_stack(self) -> nn.ModuleList:
        """Layers in order."""
        layers: nn.ModuleList = self.model.encoder.layers
        return layers

    def final_norm(self) -> nn.Module | None:
        """Normalisation after the last layer, where the published model has it there."""
        norm: nn.Module | None = self.model.encoder.layer_norm if self.stable else None
        return norm

    def front_end(self, waveform: Tensor, num_samples: Tensor, mask_seeds: Tensor | None = None) -> EncoderStates:
        """State 0: convolutions, projection, masks, positions. See `SpeechEncoder`."""
        check_lengths(waveform, num_samples)
        encoder, projection = self.model.encoder, self.model.feature_projection
        features, num_frames = self._convolve(waveform, num_samples)
        if getattr(projection, "layer_norm", None) is not None:
            features = projection.layer_norm(features)
        hidden = projection.projection(features)
        if self.mask is not None and mask_seeds is not None:
            hidden = self.mask(hidden, num_frames, mask_seeds)
        real = padding_mask(num_frames, hidden.shape[1])
        hidden = zero_padding(hidden, real)
        # oneDNN's bfloat16 kernel of grouped convolutions is wrong on processors with AMX where groups are narrow.
        with full_precision(hidden.device.type):
            hidden = hidden + encoder.pos_conv_embed(hidden.float())
        hidden = hidden if self.stable else encoder.layer_norm(hidden)
        return EncoderStates((zero_padding(hidden, real),), num_frames)

    def forward_from(self, state: Tensor, num_frames: Tensor, depth: int, until: int | None = None) -> EncoderStates:
        """States `depth` + 1 to `until`. See `SpeechEncoder`."""
        until = self.num_layers if until is None else until
        if until == depth:
            return EncoderStates((), num_frames)
        real = padding_mask(num_frames, state.shape[1])
        attend = self._attention(state.shape[1], real)
        norm = self.final_norm()
        states, hidden = [], state
        for number in range(depth + 1, until + 1):
            hidden = self._layer(self.layer_stack()[number - 1], hidden, attend)
            given = norm(hidden) if norm is not None and number == self.num_layers else hidden
            states.append(zero_padding(given, real))
        return EncoderStates(tuple(states), num_frames)

    def _convolve(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Features, float [B, F, C], and their numbers, int64 [B]. Beyond an utterance's end they are arbitrary."""
        with full_precision(waveform.device.type):
            waveform = zero_padding(waveform.float(), padding_mask(num_samples, waveform.shape[1]))
            if self.normalise:
                waveform = _standardise(waveform.unsqueeze(1), num_samples, eps=1e-7).squeeze(1)
        features, lengths = waveform.unsqueeze(1), num_samples
        for layer in self.model.feature_extractor.conv_layers:
            lengths = (lengths - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                with full_precision(features.device.type):
                    features = _standardise(layer.conv(features).float(), lengths, norm.eps)
                    features = layer.activation(features * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1))
            else:
                features = layer(features)
        return features.transpose(1, 2), lengths

    def _layer(self, layer: Any, hidden: Tensor, attend: _Attend) -> Tensor:
        """One layer; `stable` models normalise before a block, the others after it."""
        if self.stable:
            hidden = hidden + layer.dropout(attend(layer.attention, layer.layer_norm(hidden)))
            hidden = hidden + layer.feed_forward(layer.final_layer_norm(hidden))
        else:
            hidden = layer.layer_norm(hidden + layer.dropout(attend(layer.attention, hidden)))
            hidden = layer.final_layer_norm(hidden + layer.feed_forward(hidden))
        return hidden

    def _attention(self, num_frames: int, real: Tensor | None) -> _Attend:
        """How a layer attends in this batch: over real frames, and in WavLM by distance."""
        attended = None if real is None else real[:, None, None, :]
        first = self.model.encoder.layers[0].attention
        if not hasattr(first, "rel_attn_embed"):
            return lambda attention, hidden: attention(hidden, attention_mask=attended)[0]
        bias = first.compute_bias(num_frames, num_frames)  # the first layer's serves all of them
        return lambda attention, hidden: _gated_attention(attention, hidden, bias, attended)


def _gated_attention(attention: Any, hidden: Tensor, bias: Tensor, attended: Tensor | None) -> Tensor:
    """WavLM's attention (Chen et al. 2022, section 3.1), through the modules that adapters may have replaced.

    Args:
        attention: a layer's `WavLMAttention`.
        hidden: float [B, F, D].
        bias: float [H, F, F], by distance.
        attended: bool [B, 1, 1, F], which frames may be looked at; None is all.

    Returns:
        float [B, F, D].
    """
    heads = hidden.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
    gates = attention.gru_rel_pos_linear(heads).unflatten(3, (2, 4)).sum(4).sigmoid()
    gate = gates[..., :1] * (gates[..., 1:] * attention.gru_rel_pos_const - 1.0) + 2.0
    query, key, value = (
        projection(hidden).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    bias = (gate * bias).to(query.dtype)
    bias = bias if attended is None else bias.masked_fill(~attended, float("-inf"))
    dropout = attention.dropout if attention.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
    output: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return output


def _standardise(values: Tensor, lengths: Tensor, eps: float) -> Tensor:
    """Mean 0 and variance 1 over an utterance's own part of the last axis; beyond it, zero.

    Args:
        values: float32 [B, C, N].
        lengths: int64 [B].
        eps: added to the variance.
    """
    real = padding_mask(lengths, values.shape[2])
    if real is None:
        return F.instance_norm(values, eps=eps)
    real, number = real.unsqueeze(1), lengths[:, None, None]
    centred = values - torch.where(real, values, 0.0).sum(2, keepdim=True) / number
    centred = torch.where(real, centred, 0.0)
    return centred * (centred.square().sum(2, keepdim=True) / number + eps).rsqrt()


def _build(config: PreTrainedConfig, num_layers: int, dropout: float) -> Any:
    """The published model's modules, less the layers that are not used and all randomness but `dropout`."""
    config = copy.deepcopy(config)
    for name in ("hidden_dropout", "activation_dropout", "attention_dropout"):
        setattr(config, name, dropout)
    for name in ("feat_proj_dropout", "layerdrop", "mask_time_prob", "mask_feature_prob"):
        setattr(config, name, 0.0)
    model = AutoModel.from_config(config)
    if num_layers < config.num_hidden_layers:
        model.encoder.layers = model.encoder.layers[:num_layers]
        if config.do_stable_layer_norm:
            model.encoder.layer_norm = None
    return model


def _settings(config: PreTrainedConfig) -> dict[str, object]:
    """What of a configuration changes the computation, in plain types."""
    names = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "conv_dim",
        "conv_kernel", "conv_stride", "conv_bias", "feat_extract_norm", "feat_extract_activation", "layer_norm_eps",
        "do_stable_layer_norm", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "num_buckets",
        "max_bucket_distance",
    )  # fmt: skip
    values = {name: getattr(config, name, None) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _modern_name(name: str) -> str:
    """A published tensor's name as today's torch calls it."""
    start, _, last = name.rpartition(".")
    return f"{start}.{_WEIGHT_NORM[last]}" if last in _WEIGHT_NORM else name
