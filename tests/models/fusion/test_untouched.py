"""Where nobody is heard, and before training, the language model is the bare one, to the bit."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pixel_mm.models.fusion.generation import generate
from pixel_mm.models.fusion.network import FusionNetwork
from tests.models.fusion.tiny_fusion import (
    ARCHITECTURES,
    CROSS_ATTENTION,
    SOFT_TOKENS,
    backbone,
    fusion_network,
    listen,
    prompt,
    read,
)

ADAPTERS = {"cross-attention": CROSS_ATTENTION, "soft tokens": SOFT_TOKENS}
MIXED, UNHEARD = (0, 2), [1, 3]


def bare_logits(architecture: str) -> Tensor:
    bare = backbone(architecture)
    text = prompt(bare)
    with torch.no_grad():
        return bare.model(input_ids=text.input_ids, attention_mask=text.attention_mask).logits


@pytest.mark.parametrize("rows", [MIXED, (0, 1, 2, 3)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_before_training_hearing_changes_no_bit(architecture: str, rows: tuple[int, ...]) -> None:
    network = fusion_network(backbone(architecture))
    result = read(network, prompt(network.backbone), listen(network, rows))
    assert torch.equal(result.logits, bare_logits(architecture))


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_after_training_rows_that_are_not_heard_change_no_bit(architecture: str, adapter: str) -> None:
    network = fusion_network(backbone(architecture), ADAPTERS[adapter], trained=True)
    expected, text = bare_logits(architecture), prompt(network.backbone)
    assert torch.equal(read(network, text).logits, expected)
    heard = read(network, text, listen(network, MIXED)).logits
    assert torch.equal(heard[UNHEARD], expected[UNHEARD])
    inside = text.attention_mask.bool()
    for row in MIXED:
        assert not torch.allclose(heard[row][inside[row]], expected[row][inside[row]], atol=1e-2)


@torch.no_grad()
def test_routed_experts_do_not_carry_what_is_heard_to_other_rows() -> None:
    network, bare = fusion_network(backbone("qwen3_moe"), trained=True), backbone("qwen3_moe")
    text = prompt(bare, ["Hello y", "I'm fin", "x", "What?"])  # few tokens, so that products change their shape
    expected = bare.model(text.input_ids, attention_mask=text.attention_mask).logits
    assert isinstance(network.adapter, torch.nn.Module)
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        for parameter in network.adapter.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        heard = read(network, text, listen(network, MIXED)).logits
        assert torch.equal(heard[UNHEARD], expected[UNHEARD])


@pytest.mark.parametrize(
    ("architecture", "adapter", "passes"),
    [("llama", "cross-attention", 1), ("qwen3_moe", "cross-attention", 2), ("llama", "soft tokens", 2)],
)
def test_rows_that_others_would_touch_are_continued_in_a_pass_of_their_own(
    architecture: str, adapter: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = fusion_network(backbone(architecture), ADAPTERS[adapter], trained=True)
    model: Any = network.language_model
    original, calls = model.generate, []
    monkeypatch.setattr(model, "generate", lambda *a, **k: calls.append(k) or original(*a, **k), raising=False)
    continued(network, listen(network, MIXED))
    assert len(calls) == passes
    calls.clear()
    continued(network, listen(network, (0, 1, 2, 3)))
    assert len(calls) == 1


def continued(network: FusionNetwork, hearing: Any = None) -> Tensor:
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    return generate(network, prompt(network.backbone, side="left"), hearing, **options)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cached_generation_without_a_voice_is_the_bare_models(architecture: str, adapter: str) -> None:
    bare, network = backbone(architecture), fusion_network(backbone(architecture), ADAPTERS[adapter], trained=True)
    text = prompt(bare, side="left")
    model: Any = bare.model
    scores: dict[str, Any] = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    expected = model.generate(text.input_ids, attention_mask=text.attention_mask, **scores)[
        :, text.input_ids.shape[1] :
    ]
    assert torch.equal(continued(network), expected)
    heard = continued(network, listen(network, MIXED))
    assert torch.equal(heard[UNHEARD], expected[UNHEARD])
    assert not torch.equal(heard, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_every_step_of_cached_generation_has_the_bare_models_logits(architecture: str) -> None:
    bare, network = backbone(architecture), fusion_network(backbone(architecture), trained=True)
    text = prompt(bare, side="left")
    options: dict[str, Any] = {
        "max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True, "output_logits": True
    }  # fmt: skip
    models: tuple[Any, Any] = (bare.model, network.language_model)
    expected = models[0].generate(text.input_ids, attention_mask=text.attention_mask, **options)
    got = models[1].generate(text.input_ids, attention_mask=text.attention_mask, fusion=network.fusion(None), **options)
    assert all(torch.equal(*step) for step in zip(got.logits, expected.logits, strict=True))


@torch.no_grad()
def test_cached_generation_hears_as_the_whole_text_at_once_does() -> None:
    network = fusion_network(trained=True)
    hearing, text = listen(network, (0, 1, 2, 3)), prompt(network.backbone, side="left")
    tokens = generate(network, text, hearing, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    whole = text._replace(
        input_ids=torch.cat((text.input_ids, tokens), 1),
        attention_mask=torch.cat((text.attention_mask, torch.ones_like(tokens)), 1),
    )
    logits = network.language_model(
        whole.input_ids,
        attention_mask=whole.attention_mask,
        position_ids=(whole.attention_mask.cumsum(1) - 1).clamp(min=0),
        fusion=network.fusion(hearing),
    ).logits[:, text.input_ids.shape[1] - 1 : -1]
    logits[..., network.backbone.tokenizer.eos_token_id] = -torch.inf  # min_new_tokens
    assert torch.equal(logits.argmax(-1), tokens)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_language_model_keeps_its_names_and_nothing_of_a_call(architecture: str) -> None:
    bare, network = backbone(architecture), fusion_network(backbone(architecture), trained=True)
    kept, model = dict(vars(network.language_model)), network.language_model
    assert model.state_dict().keys() == bare.model.state_dict().keys()
    pairs = zip(model.state_dict().values(), bare.model.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    before = {name: set(vars(part)) for name, part in network.named_modules()}
    with torch.no_grad():
        read(network, prompt(network.backbone), listen(network))
    assert {name: set(vars(part)) for name, part in network.named_modules()} == before
    assert vars(model).keys() == kept.keys()


def test_a_voice_heard_for_other_rows_is_refused() -> None:
    network = fusion_network(trained=True)
    with pytest.raises(ValueError, match="heard for a batch of 7 rows, and 4 are read"):
        read(network, prompt(network.backbone), listen(network, (0, 2), num_rows=7))
    with pytest.raises(ValueError, match=r"4 rows were heard and 8 are read; .* one beam"):
        generate(network, prompt(network.backbone, side="left"), listen(network), max_new_tokens=2, num_beams=2)
