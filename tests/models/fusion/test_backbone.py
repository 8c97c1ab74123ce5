"""Where a backbone comes from, who it is, and its halves."""

import json
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.models.fusion.backbone import Backbone, PublishedBackbone, RandomBackbone
from pixel_mm.models.fusion.halves import lower_half, upper_half
from pixel_mm.models.fusion.layers import FusionFitError
from pixel_mm.pretrained import PretrainedError
from tests.models.fusion.tiny_fusion import ARCHITECTURES, backbone, fusion_network, prompt


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXEL_MM_CACHE", str(tmp_path / "cache"))


def published(source: Backbone, folder: Path) -> PublishedBackbone:
    source.model.save_pretrained(folder)
    source.tokenizer.save_pretrained(folder)
    return PublishedBackbone("folder", folder=str(folder))


@torch.no_grad()
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_halves_are_the_whole_to_the_bit(architecture: str, fused: bool, tmp_path: Path) -> None:
    source = backbone(architecture)
    text = prompt(source)
    expected = source.model(text.input_ids, attention_mask=text.attention_mask).logits
    folder = published(source, tmp_path / "model")
    if fused:
        fusion_network(source)
    below = lower_half(source.model, 3)(text.input_ids, attention_mask=text.attention_mask).last_hidden_state
    from_disk = folder.load(first_layer=3)
    assert (from_disk.first_layer, from_disk.num_layers) == (3, 4)
    for half in (upper_half(source.model, 3), from_disk.model, backbone_half(architecture)):
        logits = half(inputs_embeds=below, attention_mask=text.attention_mask).logits
        assert torch.equal(logits, expected)


def backbone_half(architecture: str) -> torch.nn.Module:
    return RandomBackbone(ARCHITECTURES[architecture]).load(first_layer=3).model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_upper_half_holds_no_weight_of_the_layers_below(architecture: str, tmp_path: Path) -> None:
    source = backbone(architecture)
    layers = source.model.get_decoder().layers
    size = {name: sum(p.numel() for p in part.parameters()) for name, part in source.model.named_modules()}
    words = source.model.get_input_embeddings().weight.numel()
    half = published(source, tmp_path / "model").load(first_layer=3).model
    tied = source.model.config.tie_word_embeddings
    assert sum(p.numel() for p in half.parameters()) == size[""] - 3 * sum(
        p.numel() for p in layers[0].parameters()
    ) - (0 if tied else words)


def test_an_upper_half_in_another_number_format_is_converted(tmp_path: Path) -> None:
    published(backbone(), tmp_path / "model")
    exact, half = (
        PublishedBackbone("folder", folder=str(tmp_path / "model"), dtype=dtype).load(first_layer=3).model
        for dtype in ("float32", "bfloat16")
    )
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    for ours, theirs in zip(half.parameters(), exact.parameters(), strict=True):
        assert torch.equal(ours, theirs.bfloat16())


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_weights_of_an_upper_half_stay_in_the_file(architecture: str, tmp_path: Path) -> None:
    source = published(backbone(architecture), tmp_path / "model")
    half = source.load(first_layer=3).model
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path / "model") in line]
    ranges = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in mapped]
    assert all(any(low <= p.data_ptr() < high for low, high in ranges) for p in half.parameters())


def test_a_backbone_is_frozen_and_known_by_its_published_weights(tmp_path: Path) -> None:
    source = published(backbone(), tmp_path / "model")
    first = source.load()
    assert not any(p.requires_grad for p in first.model.parameters())
    assert not first.model.training
    assert first.sha256 == source.load(first_layer=2).sha256
    assert first.tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False).endswith(
        "<|im_end|>\n"
    )
    other = published(backbone(seed=1), tmp_path / "model")
    assert other.load().sha256 != first.sha256


def test_the_fingerprint_of_a_file_that_did_not_change_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = published(backbone(), tmp_path / "model")
    expected = source.load().sha256
    monkeypatch.setattr("pixel_mm.models.fusion.backbone.sha256_of", lambda path: pytest.fail("read again"))
    assert source.load().sha256 == expected


def test_a_random_backbone_is_the_same_every_time_and_leaves_the_seed_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second, other = backbone(), backbone(), backbone(seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert first.sha256 == second.sha256 != other.sha256


def test_what_cannot_be_had_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"backbone.source is 'hub', but nothing is configured"):
        PublishedBackbone("hub").load()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(PretrainedError, match=r"holds no \*.safetensors"):
        PublishedBackbone("folder", folder=str(tmp_path)).load()


@pytest.mark.parametrize("layer", [0, 4, 9])
def test_a_cut_where_there_is_no_layer_is_refused(layer: int) -> None:
    with pytest.raises(FusionFitError, match="has layers 0 to 3"):
        upper_half(backbone().model, layer)


def test_layers_below_a_half_cannot_have_blocks_and_a_half_wants_hidden_states(tmp_path: Path) -> None:
    half = published(backbone(), tmp_path / "model").load(first_layer=2)
    with pytest.raises(FusionFitError, match="layer 1 is below 2"):
        fusion_network(half, layers=(1, 3))
    network = fusion_network(half)
    text = prompt(half)
    mask = text.attention_mask.bool()
    with pytest.raises(ValueError, match="layers from 2 on, so it needs the hidden states that enter layer 2"):
        network(text, mask, mask, mask.any(1))
    whole = fusion_network()
    with pytest.raises(ValueError, match="takes tokens, not hidden states"):
        whole(text._replace(below=torch.zeros(4, mask.shape[1], 32)), mask, mask, mask.any(1))


@pytest.mark.slow
@pytest.mark.weights
def test_the_wheel_of_smollm2_is_a_language_model_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the cache of everybody: what is converted stays
    found = instantiate(OmegaConf.load(CONFIG_DIR / "backbone/smollm2_135m.yaml"))
    source = found.load()
    assert (source.num_layers, source.model.config.hidden_size) == (30, 576)
    words = source.tokenizer(
        "When I came home, my mother was sitting at the kitchen table.", return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        assert source.model(words, labels=words).loss < 4  # nats a token; chance is 10.8
    half = found.load(first_layer=28)
    assert sum(p.numel() for p in half.model.parameters()) == 35_392_320
