import pytest
import torch

from pixel_mm.models.adaptation import Freeze, LastLayers, LowRank, merge_adapters
from pixel_mm.models.freezing import (
    FreezeError,
    count,
    fingerprint,
    freeze,
    frozen_depth,
    frozen_tensors,
    trained_parameters,
    trunk_tensors,
)
from tests.models.tiny_networks import FAMILIES, regressor, speech, wav2vec2, whisper
from tests.tiny_recognition import tiny_recognizer


def groups(names: object) -> set[str]:
    return {".".join(str(name).split(".")[:3]) for name in names}  # type: ignore[attr-defined]


def test_a_pattern_freezes_what_it_names_and_nothing_else() -> None:
    network = regressor()
    everything = dict(network.named_parameters())
    freeze(network, ["encoder.conv*", "encoder.layers.0.*"])
    left = everything.keys() - trained_parameters(network).keys()
    assert left == {name for name in everything if name.startswith(("encoder.conv", "encoder.layers.0."))}


@pytest.mark.parametrize("pattern", ["encoder.convs*", "layers.0.*", "encoder"])
def test_a_pattern_that_matches_nothing_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(FreezeError, match=rf"'{pattern.replace('*', '[*]')}' matches no parameter.*encoder\.\*"):
        Freeze([pattern])(regressor())


def test_trained_frozen_and_all_parameters_are_counted_by_one_predicate() -> None:
    network = regressor()
    LastLayers(1)(network)
    trained = trained_parameters(network)
    # One layer: 4 projections of 16 x 16 (three with bias), 2 x 16 x 32 with biases, 2 normalisations; the final one.
    layer = 4 * 256 + 3 * 16 + 2 * 512 + 32 + 16 + 2 * 32
    # Shares, scales and offsets of three states; projection; attention; two linear heads on mean and deviation.
    head = 3 + 2 * 3 * 16 + (16 * 8 + 8) + (8 * 4 + 4 + 4) + (16 * 3 + 3) * 2
    assert count(network)[0] == layer + 32 + head
    assert count(network)[1] == sum(parameter.numel() for parameter in network.parameters())
    assert trained.keys() | set(frozen_tensors(network)) == network.state_dict().keys()
    assert not trained.keys() & frozen_tensors(network).keys()


def test_frozen_parts_rest_while_the_others_train() -> None:
    network = regressor(whisper(dropout=0.5), dropout=0.5)
    LastLayers(1)(network)
    network.train()
    assert network.dropout.training
    assert network.encoder.layer_stack()[1].training
    assert not any(module.training for module in network.encoder.layer_stack()[0].modules())
    waveform, num_samples = speech(4_000, 3_000)
    torch.testing.assert_close(network.trunk(waveform, num_samples), network.trunk(waveform, num_samples))
    assert not torch.equal(network(waveform, num_samples).scores, network(waveform, num_samples).scores)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frozen_depth_is_where_training_begins(family: str) -> None:
    encoder = FAMILIES[family]()
    network = regressor(encoder)
    assert frozen_depth(encoder) is None
    freeze(network, ["encoder.*"])
    assert frozen_depth(encoder) == 2
    encoder.layer_stack()[1].requires_grad_(True)
    assert frozen_depth(encoder) == 1
    encoder.layer_stack()[0].requires_grad_(True)
    assert frozen_depth(encoder) == 0
    next(encoder.parameters()).requires_grad_(True)
    assert frozen_depth(encoder) is None


def test_a_trained_final_normalisation_keeps_the_last_layer_out_of_the_trunk() -> None:
    encoder = whisper()
    freeze(encoder, ["*"])
    encoder.layer_norm.requires_grad_(True)  # type: ignore[union-attr]
    assert frozen_depth(encoder) == 1


def test_last_layers_trains_them_the_final_normalisation_and_the_head() -> None:
    network = regressor()
    LastLayers(1)(network)
    inside = {name for name in trained_parameters(network) if name.startswith("encoder.")}
    assert groups(inside) == {"encoder.layers.1", "encoder.layer_norm.weight", "encoder.layer_norm.bias"}
    assert network.trunk_depth == 1
    with pytest.raises(FreezeError, match="num_layers is 3; the encoder uses 2"):
        LastLayers(3)(regressor())


def test_adapters_begin_without_effect_train_alone_and_merge_for_export() -> None:
    network = regressor()
    waveform, num_samples = speech(4_000, 3_000)
    before = network(waveform, num_samples)
    LowRank(rank=2, alpha=4, targets=["q_proj", "v_proj"])(network.eval())
    torch.testing.assert_close(network.eval()(waveform, num_samples), before)
    inside = {name for name in trained_parameters(network) if name.startswith("encoder.")}
    assert len(inside) == 2 * 2 * 2
    assert all("lora_" in name for name in inside)
    with torch.no_grad():
        for name in inside:
            network.get_parameter(name).normal_()
    changed = network(waveform, num_samples)
    assert not torch.allclose(changed.scores, before.scores, atol=1e-4)
    merge_adapters(network)
    assert not any("lora" in name or "base_layer" in name for name in network.state_dict())
    torch.testing.assert_close(network(waveform, num_samples), changed, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_take_effect_in_every_family(family: str) -> None:
    network = regressor(FAMILIES[family]())
    LowRank(rank=2, alpha=4, targets=["v_proj"], num_layers=1)(network)
    waveform, num_samples = speech(4_000)
    before = network.eval()(waveform, num_samples).emotion_logits
    adapters = [parameter for name, parameter in trained_parameters(network).items() if "lora_" in name]
    assert len(adapters) == 2
    assert network.trunk_depth == 1
    with torch.no_grad():
        for adapter in adapters:
            adapter.normal_()
    assert not torch.allclose(network(waveform, num_samples).emotion_logits, before, atol=1e-4)


def test_a_decoder_is_adapted_as_the_encoder_is() -> None:
    network = tiny_recognizer()
    LastLayers(1)(network)
    decoder = {name for name in trained_parameters(network) if name.startswith("decoder.")}
    assert groups(decoder) == {"decoder.layers.1", "decoder.layer_norm.weight", "decoder.layer_norm.bias"}
    assert "encoder.layers.1" in groups(trained_parameters(network))
    network = tiny_recognizer()
    LowRank(rank=2, alpha=4, targets=["q_proj"])(network)
    adapted = {name.partition(".lora_")[0] for name in trained_parameters(network)}
    attentions = ("encoder.layers.{}.self_attn", "decoder.layers.{}.self_attn", "decoder.layers.{}.encoder_attn")
    assert adapted == {f"{name.format(layer)}.q_proj" for name in attentions for layer in (0, 1)}


def test_adapters_for_modules_that_there_are_not_are_refused() -> None:
    with pytest.raises(FreezeError, match=r"targets: a layer has no query; it has .*q_proj"):
        LowRank(rank=2, alpha=4, targets=["q_proj", "query"])(regressor())


def test_a_fingerprint_tells_names_types_shapes_and_values_apart_but_not_the_order() -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    same = fingerprint(tensors)
    assert fingerprint(dict(reversed(tensors.items()))) == same
    others = [
        {"a": torch.zeros(2, 3), "c": torch.ones(4)},
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3).double(), "b": torch.ones(4)},
        {"a": torch.full((2, 3), 1e-30), "b": torch.ones(4)},
    ]
    assert len({same, *map(fingerprint, others)}) == 5
    assert fingerprint({"s": torch.tensor(1.0)}) != fingerprint({"s": torch.tensor(2.0)})


def test_a_trunk_depends_on_what_lies_below_its_top_alone() -> None:
    encoder = whisper()
    names = trunk_tensors(encoder, 1).keys()
    assert groups(names) == {
        "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "embed_positions.weight",
        *groups(name for name in encoder.state_dict() if name.startswith("layers.0.")),
    }  # fmt: skip
    assert trunk_tensors(encoder, 2).keys() == encoder.state_dict().keys()


def test_wavlms_bias_by_distance_belongs_to_its_first_layer() -> None:
    from transformers import WavLMConfig

    names = trunk_tensors(wav2vec2(WavLMConfig, per_frame=False), 1)
    assert "model.encoder.layers.0.attention.rel_attn_embed.weight" in names
