"""Answers token by token: those of the language model's own generation, and the scores of one pass over all of it."""

from collections.abc import Sequence

import pytest
import torch

from pixel_mm.models.fusion.answering import AnswerPass, Sampling
from pixel_mm.models.fusion.generation import generate
from pixel_mm.models.fusion.hearing import Hearing
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Pass, Prompt
from tests.models.fusion.tiny_fusion import CROSS_ATTENTION, SOFT_TOKENS, backbone, fusion_network, listen, prompt

NUM_TOKENS = 12


def answer(network: FusionNetwork, ids: torch.Tensor, hearing: Hearing | None) -> tuple[list[int], torch.Tensor, Pass]:
    """Greedy tokens, the logits that each was chosen by, and all that was read."""
    choose, reading, tokens, logits = Sampling().chooser(), AnswerPass(network, ids, hearing), [], []
    for _ in range(NUM_TOKENS):
        logits.append(reading.next_logits)
        tokens.append(choose(reading.next_logits))
        reading.read(tokens[-1])
    return tokens, torch.stack(logits), reading.whole()


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "qwen3_moe"])
def test_without_a_voice_tokens_and_logits_are_the_bare_models_to_the_bit(architecture: str) -> None:
    bare = backbone(architecture)
    ids = prompt(bare, ["I'm fine, really."]).input_ids
    wanted = bare.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NUM_TOKENS, do_sample=False, eos_token_id=None,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    network = fusion_network(backbone(architecture), trained=True)
    tokens, logits, _ = answer(network, ids, None)
    assert tokens == wanted.sequences[0, ids.shape[1] :].tolist()
    assert torch.equal(logits, torch.cat(wanted.logits))


@pytest.mark.parametrize("adapter", [CROSS_ATTENTION, SOFT_TOKENS])
def test_with_a_voice_tokens_and_scores_are_those_of_a_pass_over_all(adapter: object) -> None:
    network = fusion_network(adapter=adapter, trained=True)
    ids = prompt(network.backbone, ["Hello you"]).input_ids
    hearing = listen(network, (0,), 1)
    tokens, _, read = answer(network, ids, hearing)
    ones = torch.ones_like(ids)
    assert (
        tokens
        == generate(network, Prompt(ids, ones), hearing, max_new_tokens=NUM_TOKENS, eos_token_id=None).tolist()[0]
    )
    whole = torch.cat((ids, torch.tensor([tokens])), 1)
    asked, answered = masks(ids.shape[1], whole.shape[1])
    there = torch.ones(1, dtype=torch.bool)
    with torch.no_grad():
        wanted = network(Prompt(whole, torch.ones_like(whole)), asked, answered, there, hearing)
        found = network.score(read, asked, answered, there, hearing)
    for name in ("text", "audio", "both", "answer"):
        for one, other in zip(getattr(found, name), getattr(wanted, name), strict=True):
            assert torch.allclose(one, other, atol=1e-4), name


def masks(prompt_length: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    place = torch.arange(length)[None]
    return place < prompt_length, place >= prompt_length


def draws(sampling: Sampling, logits: Sequence[float], count: int = 200) -> list[int]:
    choose = sampling.chooser()
    return [choose(torch.tensor(logits)) for _ in range(count)]


def test_a_seed_repeats_draws_and_leaves_the_generator_of_others_alone() -> None:
    before = torch.random.get_rng_state()
    one = draws(Sampling(1.0, seed=3), [0.0, 1.0, 2.0])
    assert one == draws(Sampling(1.0, seed=3), [0.0, 1.0, 2.0]) != draws(Sampling(1.0, seed=4), [0.0, 1.0, 2.0])
    assert draws(Sampling(1.0), [0.0] * 50) != draws(Sampling(1.0), [0.0] * 50)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_temperature_and_top_p_narrow_what_is_drawn() -> None:
    logits = [0.0, 1.0, 3.0]  # 0.042, 0.114, 0.844
    assert set(draws(Sampling(1.0, seed=0), logits)) == {0, 1, 2}
    assert set(draws(Sampling(1.0, top_p=0.9, seed=0), logits)) == {1, 2}
    assert set(draws(Sampling(1.0, top_p=0.1, seed=0), logits)) == {2}
    assert set(draws(Sampling(0.01, seed=0), logits)) == {2} == set(draws(Sampling(), logits))


@pytest.mark.parametrize(
    ("options", "named"), [({"temperature": -1.0}, "temperature is -1"), ({"top_p": 0.0}, "top_p is 0")]
)
def test_what_cannot_be_is_refused(options: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Sampling(**options)
