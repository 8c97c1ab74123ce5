from pathlib import Path

import pytest
import torch
from transformers import AutoModel, HubertConfig, PreTrainedConfig, Wav2Vec2Config, Wav2Vec2ForPreTraining, WavLMConfig

from pixel_mm.models.encoders.wav2vec2 import Wav2Vec2Encoder
from pixel_mm.pretrained import PretrainedError, Weights
from tests.models.tiny_networks import speech, wav2vec2, wav2vec2_config

KINDS = pytest.mark.parametrize("kind", [Wav2Vec2Config, HubertConfig, WavLMConfig])
NORMS = pytest.mark.parametrize("per_frame", [False, True], ids=["group norm", "layer norm"])


@KINDS
@NORMS
@torch.no_grad()
def test_a_clip_alone_gives_what_the_published_model_gives(kind: type[PreTrainedConfig], per_frame: bool) -> None:
    encoder = wav2vec2(kind, per_frame)
    published = AutoModel.from_config(wav2vec2_config(kind, per_frame)).eval()
    published.load_state_dict(encoder.model.state_dict())
    waveform, num_samples = speech(9_001)
    given = (waveform - waveform.mean()) / waveform.var(correction=0).sqrt() if per_frame else waveform
    theirs = published(given, output_hidden_states=True)
    ours = encoder.all_states(waveform, num_samples)
    for mine, expected in zip(ours.states[:-1], theirs.hidden_states[:-1], strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.states[-1], theirs.last_hidden_state, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_published_group_norm_model_does_depend_on_padding() -> None:
    """Why the way through the modules is our own: this is what it avoids."""
    encoder = wav2vec2(Wav2Vec2Config, per_frame=False)
    published = AutoModel.from_config(wav2vec2_config(Wav2Vec2Config, False)).eval()
    published.load_state_dict(encoder.model.state_dict())
    waveform, _ = speech(4_000)
    padded = torch.nn.functional.pad(waveform, (0, 12_000))
    alone = published(waveform).last_hidden_state
    together = published(padded, attention_mask=(torch.arange(16_000) < 4_000).long()[None]).last_hidden_state
    assert float((alone - together[:, : alone.shape[1]]).abs().max()) > 1e-2


@KINDS
@NORMS
@torch.no_grad()
def test_the_first_layers_alone_are_those_of_the_whole(kind: type[PreTrainedConfig], per_frame: bool) -> None:
    whole, first = wav2vec2(kind, per_frame), wav2vec2(kind, per_frame, last_layer=1)
    first.load_state_dict({name: whole.state_dict()[name] for name in first.state_dict()})
    assert (first.num_layers, first.final_norm()) == (1, None)
    mine, theirs = first.all_states(*speech(5_000)), whole.all_states(*speech(5_000))
    torch.testing.assert_close(mine.states, theirs.states[:2])


def test_published_folders_load_with_their_old_names_and_unused_parts(tmp_path: Path) -> None:
    config = wav2vec2_config(Wav2Vec2Config, False)
    published = Wav2Vec2ForPreTraining(config)  # has a quantiser, which an encoder does not
    state = published.state_dict()
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = "wav2vec2.encoder.pos_conv_embed.conv"
        state[f"{name}.{old}"] = state.pop(f"{name}.parametrizations.weight.{new}")
    torch.save(state, tmp_path / "pytorch_model.bin")
    encoder = Wav2Vec2Encoder(config, normalise=True, weights=Weights("folder", folder=tmp_path))
    torch.testing.assert_close(dict(encoder.model.state_dict()), dict(published.wav2vec2.state_dict()))
    first = Wav2Vec2Encoder(config, normalise=True, weights=Weights("folder", folder=tmp_path), last_layer=1)
    assert first.num_layers == 1
    del state["wav2vec2.feature_projection.projection.bias"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(PretrainedError, match=r"1 tensors missing, such as feature_projection\.projection\.bias"):
        Wav2Vec2Encoder(config, normalise=True, weights=Weights("folder", folder=tmp_path))
    state["wav2vec2.feature_projection.projection.bias"] = torch.zeros(16)
    state["wav2vec2.adapter.weight"] = torch.zeros(16)
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(PretrainedError, match=r"1 tensors left over, such as adapter\.weight"):
        Wav2Vec2Encoder(config, normalise=True, weights=Weights("folder", folder=tmp_path))


def test_configurations_that_it_cannot_compute_are_refused() -> None:
    with pytest.raises(ValueError, match=r"last_layer 3 must be in 1\.\.2"):
        wav2vec2(WavLMConfig, per_frame=False, last_layer=3)
    config = wav2vec2_config(HubertConfig, False)
    config.conv_pos_batch_norm = True
    with pytest.raises(ValueError, match="conv_pos_batch_norm must be false"):
        Wav2Vec2Encoder(config, normalise=False, pretrained_weights=False)
