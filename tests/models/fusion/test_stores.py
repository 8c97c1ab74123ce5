"""Frames and hidden states on the disk: the same results, made once, never those of other weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pixel_mm.models.freezing import trained_parameters
from pixel_mm.models.fusion.backbone import Backbone, RandomBackbone
from pixel_mm.models.fusion.frame_store import FrameStore
from pixel_mm.models.fusion.hidden_cache import HiddenStateCache
from pixel_mm.models.state_store import StateStoreError
from tests.models.fusion.test_fusion_module import make_batch, make_module
from tests.models.fusion.tiny_fusion import ARCHITECTURES, backbone, fusion_network, listen, prompt
from tests.models.tiny_networks import speech, stirred, whisper

HASHES = ("a" * 64, "b" * 64, "c" * 64)


def test_frames_from_the_disk_are_what_the_encoders_gave_and_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, (waveform, lengths) = fusion_network(), speech(16_000, 9_000, 20_000)
    expected = network.encode(waveform, lengths)["recognition"]
    store = FrameStore(tmp_path, dtype="float32")
    store(network, waveform[1:2, :9_000], lengths[1:2], HASHES[1:2])
    for again in (store, FrameStore(tmp_path, dtype="float32")):
        frames, counts = again(network, waveform, lengths, HASHES)["recognition"]
        assert torch.equal(counts, expected[1])
        torch.testing.assert_close(frames, expected[0], atol=1e-5, rtol=0)
    monkeypatch.setattr(network, "encode", lambda *a: pytest.fail("heard again"))
    store(network, waveform, lengths, HASHES)


def test_encoders_go_where_all_frames_are_kept(tmp_path: Path) -> None:
    network, (waveform, lengths) = fusion_network(), speech(16_000, 9_000)
    store = FrameStore(tmp_path, dtype="float32")
    store.make(network, waveform, lengths, HASHES[:2])
    expected, frozen = network.encode(waveform, lengths)["recognition"][0], network.frozen_sha256
    network.let_encoders_go()
    assert not list(network.encoders.parameters())
    assert network.frozen_sha256 == frozen
    frames, _ = FrameStore(tmp_path, dtype="float32")(network, waveform, lengths, HASHES[:2])["recognition"]
    torch.testing.assert_close(frames, expected, atol=1e-5, rtol=0)


def test_another_encoder_has_frames_of_its_own(tmp_path: Path) -> None:
    voices, store = speech(16_000), FrameStore(tmp_path)
    first = store(fusion_network(), *voices, HASHES[:1])["recognition"][0]
    other = fusion_network(encoder=stirred(whisper(), seed=5))
    second = FrameStore(tmp_path)(other, *voices, HASHES[:1])["recognition"][0]
    assert not torch.allclose(first, second, atol=0.1)
    third = store(other, *voices, HASHES[:1])["recognition"][0]  # the same store, asked for another network
    assert torch.equal(second, third)


def test_frames_beyond_the_bound_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StateStoreError, match=r"module.frames: .* grow past .* module.frames.max_gigabytes"):
        FrameStore(tmp_path, max_gigabytes=1e-6)(fusion_network(), *speech(16_000), HASHES[:1])


def cache(folder: Path, source: Backbone | None = None, **options: Any) -> HiddenStateCache:
    settings = {"layer": 2, **options}
    return HiddenStateCache(folder, backbone() if source is None else source, **settings)


def half(architecture: str = "llama", seed: int = 0, layer: int = 2) -> Backbone:
    return RandomBackbone(ARCHITECTURES[architecture], seed).load(first_layer=layer)


@pytest.mark.parametrize("reads_top", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_on_kept_states_is_training_on_the_whole_model(
    architecture: str, reads_top: bool, tmp_path: Path
) -> None:
    whole, upper, batch = backbone(architecture), half(architecture), make_batch()
    prompts = [prompt(whole, ["How do you feel? well", "How do you feel? bad!", "How do you feel? well", "Hm"])]
    assert cache(tmp_path, whole).build(prompts) == 4
    modules = [
        make_module(fusion_network(whole, dropout=0.0, reads_top=reads_top)),
        make_module(fusion_network(upper, dropout=0.0, reads_top=reads_top)),
    ]
    modules[1].network.states = cache(tmp_path, upper)
    losses: list[list[float]] = []
    for module in modules:
        module.log_part = lambda *a: None  # type: ignore[method-assign]
        optimizer = torch.optim.AdamW(trained_parameters(module.network).values(), lr=1e-2)
        losses.append([])
        for _ in range(5):
            optimizer.zero_grad()
            loss = module.train().training_step(batch, 0)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0][-1] < losses[0][0] - 0.1
    sizes = [sum(p.numel() for p in module.network.language_model.parameters()) for module in modules]
    assert sizes[1] < sizes[0]


@torch.no_grad()
def test_rows_without_an_answer_need_no_layers_where_scores_are_not_read_from_them(tmp_path: Path) -> None:
    whole, upper = backbone(), half()
    text = prompt(whole)
    cache(tmp_path, whole).build([text])
    networks = [fusion_network(source, trained=True, reads_top=False) for source in (whole, upper)]
    networks[1].states = cache(tmp_path, upper)
    sizes: list[int] = []
    upper.model.register_forward_pre_hook(
        lambda _, __, given: sizes.append(len(given["inputs_embeds"])), with_kwargs=True
    )
    mask = text.attention_mask.bool()
    for answered in ([False, True, True, False], [False] * 4):
        answers = mask & torch.tensor(answered)[:, None]
        columns = torch.arange(3)
        expected, got = (
            network(network.prompt(*text[:2]), mask, answers, mask.any(1), listen(network, (1, 3)), columns)
            for network in networks
        )
        for name in ("text", "audio", "both"):
            torch.testing.assert_close(getattr(got, name).logits, getattr(expected, name).logits, atol=1e-4, rtol=0)
        there = answers[:, :3]
        torch.testing.assert_close(got.logits[there], expected.logits[there], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(got.answer.logits[answered], expected.answer.logits[answered], atol=1e-4, rtol=0)
        assert not got.logits[[not each for each in answered]].any()
    assert sizes == [2]


def test_an_interrupted_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [["one", "two"], ["three"], ["four", "five"]]
    whole = backbone()
    prompts = [prompt(whole, each) for each in texts]
    first = cache(tmp_path, whole)
    original, calls = first.put, []

    def fail(name: str, *rest: Any) -> None:
        calls.append(name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        original(name, *rest)

    monkeypatch.setattr(first, "put", fail)
    with pytest.raises(KeyboardInterrupt):
        first.build(prompts)
    again = cache(tmp_path, whole)
    assert again.missing(prompts) == [2]
    assert again.build(prompts) == 2
    assert again.build(prompts) == 0
    assert again.missing(prompts) == []
    assert not list(tmp_path.rglob("*.partial*"))


def test_states_of_other_weights_or_another_layer_are_not_taken(tmp_path: Path) -> None:
    text = prompt(backbone())
    cache(tmp_path).build([text])
    kept = cache(tmp_path, half())
    assert kept.put_into(text).below is not None
    for other in (
        cache(tmp_path, half(seed=1)),
        cache(tmp_path, half(layer=3), layer=3),
        cache(tmp_path, half(), autocast=torch.bfloat16),
    ):
        with pytest.raises(StateStoreError, match="4 of 4 rows have no states of this backbone"):
            other.put_into(text)
    with pytest.raises(StateStoreError, match="states enter layer 3, but the backbone has its layers from 2"):
        cache(tmp_path, half(), layer=3)
    with pytest.raises(StateStoreError, match="the layers that would make them are not loaded"):
        kept.build([prompt(backbone(), ["something else"])])


def test_states_are_kept_to_the_bit_in_bfloat16(tmp_path: Path) -> None:
    whole = backbone()
    whole.model.to(torch.bfloat16)
    text = prompt(whole)
    kept = cache(tmp_path, whole)
    kept.build([text])
    network = fusion_network(whole)
    mask = text.attention_mask.bool()
    with torch.no_grad():
        fusion = network.fusion(None)
        network.language_model(text.input_ids, attention_mask=text.attention_mask, fusion=fusion)
    below = kept.put_into(text).below
    assert below is not None
    assert below.dtype == torch.bfloat16
    assert fusion.below is not None
    assert torch.equal(below[mask], fusion.below[mask])


def test_the_disk_is_bounded(tmp_path: Path) -> None:
    text = prompt(backbone())
    with pytest.raises(StateStoreError, match=r"hidden_states: .* would grow past .*hidden_states.max_gigabytes"):
        cache(tmp_path, max_bytes=3000).build([text])
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.npy")) < 4000


def test_rows_padded_on_the_left_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateStoreError, match="padded on the right"):
        cache(tmp_path).build([prompt(backbone(), side="left")])


def test_mixed_precision_has_states_of_its_own(tmp_path: Path) -> None:
    text, source = prompt(backbone()), backbone()
    plain, mixed = cache(tmp_path, source), cache(tmp_path, source, autocast=torch.bfloat16)
    for each in (plain, mixed):
        assert each.build([text]) == 4
    below = [each.put_into(text).below for each in (plain, mixed)]
    assert below[0] is not None
    assert below[1] is not None
    mask = text.attention_mask.bool()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        fusion = fusion_network(source).fusion(None)
        source.model(text.input_ids, attention_mask=text.attention_mask, fusion=fusion)
    assert fusion.below is not None
    assert torch.equal(below[1][mask], fusion.below[mask])
    assert not torch.equal(below[0][mask], below[1][mask])


def test_a_model_that_changes_its_number_format_on_the_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cache(tmp_path)
    monkeypatch.setattr(kept, "dtype", torch.float16)
    with pytest.raises(StateStoreError, match=r"the backbone computes torch.float32, the cache is of torch.float16"):
        kept.build([prompt(backbone())])
