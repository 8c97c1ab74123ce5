"""Scores by name, of rows that have a voice, words, both, and an answer or none."""

import pytest
import torch
from torch import Tensor

from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.scores import FusionScores, name_scores
from tests.models.fusion.tiny_fusion import SOFT_TOKENS, TEXTS, fusion_network, listen, prompt, read
from tests.models.tiny_networks import speech

EVERYONE = torch.ones(4, dtype=torch.bool)


@torch.no_grad()
def scored(network: FusionNetwork, rows: tuple[int, ...] = (0, 2), has_text: Tensor = EVERYONE) -> FusionScores:
    hearing = listen(network, rows) if rows else None
    output = read(network, prompt(network.backbone), hearing, has_text)
    has_answer = torch.tensor([True, True, False, True])
    return name_scores(output, network.state_scores, network.answer_scores, has_text, has_answer)


def test_every_score_has_its_name_and_is_there_where_its_row_has_what_it_needs() -> None:
    got = scored(fusion_network(trained=True))
    assert list(got.scores) == ["valence", "arousal", "crisis", "interpretation"]
    assert list(got.text) == list(got.audio) == ["valence", "arousal", "crisis"]
    assert got.scores["valence"].isnan().tolist() == [False] * 4
    assert got.audio["valence"].isnan().tolist() == [False, True, False, True]
    assert got.scores["interpretation"].isnan().tolist() == [False, False, True, False]
    assert {name: value.isnan().tolist() for name, value in got.confidence.items()} == {
        "text": [False] * 4,
        "audio": [False, True, False, True],
        "overall": [False] * 4,
    }
    assert all(0 <= value <= 1 for score in got.scores.values() for value in score.tolist() if value == value)


def test_a_row_is_scored_by_what_it_has() -> None:
    network = fusion_network(trained=True)
    got = scored(network, (0, 2), torch.tensor([True, True, False, True]))
    words, voice, both = (got.text["valence"], got.audio["valence"], got.scores["valence"])
    assert both[1] == words[1]
    assert both[3] == words[3]
    assert both[2] == voice[2]
    assert both[0] not in (words[0], voice[0])
    assert words[2].isnan()


def test_rows_that_are_not_heard_have_the_scores_of_the_text_alone() -> None:
    network = fusion_network(trained=True)
    alone, mixed = scored(network, ()), scored(network, (0, 2))
    for name in ("valence", "arousal", "crisis"):
        assert torch.equal(alone.scores[name][[1, 3]], mixed.scores[name][[1, 3]])
        assert torch.equal(alone.text[name], mixed.text[name])
    assert alone.audio == {}


@pytest.mark.parametrize("soft_tokens", [False, True])
def test_crisis_with_a_voice_is_never_below_that_of_the_words_alone(soft_tokens: bool) -> None:
    adapter = {"adapter": SOFT_TOKENS} if soft_tokens else {}
    network = fusion_network(trained=True, **adapter)
    words = scored(network, ()).scores["crisis"]
    for bias in (-60.0, -8.0, 0.0, 8.0):
        network.heads.both.logits.bias.data[2] = bias
        got = scored(network, (0, 1, 2, 3)).scores["crisis"]
        assert (got >= words).all()
    assert (got > words).all()


@torch.no_grad()
def test_what_a_voice_adds_to_the_logit_of_crisis_is_never_negative() -> None:
    network = fusion_network(trained=True)
    network.heads.both.logits.bias.data[2] = -8.0
    output = read(network, prompt(network.backbone), listen(network, (0, 1, 2, 3)))
    assert (output.both.logits[:, 2] >= output.text.logits[:, 2]).all()
    assert (output.both.logits[:, :2] < output.text.logits[:, :2]).any()


@torch.no_grad()
def test_scores_do_not_depend_on_the_padding_of_a_batch() -> None:
    network = fusion_network(trained=True)
    together = read(network, prompt(network.backbone), listen(network, (0, 1, 2, 3)))
    for row, text in enumerate(TEXTS):
        frames = network.encode(*(part[row : row + 1] for part in speech(*(19_200 + 4_000 * n for n in range(4)))))
        alone = read(network, prompt(network.backbone, [text]), network.hear(frames, torch.tensor([0]), 1))
        for name in ("text", "audio", "both", "answer"):
            torch.testing.assert_close(
                getattr(alone, name).logits[0], getattr(together, name).logits[row], atol=1e-4, rtol=0
            )


def test_readers_are_given_no_more_than_the_columns_that_some_row_reads() -> None:
    network = fusion_network(trained=True)
    text = prompt(network.backbone)
    turn, nothing = text.attention_mask.bool(), torch.zeros_like(text.attention_mask, dtype=torch.bool)
    turn[:, :3] = False
    hearing = listen(network, (0, 1, 2, 3))
    given = {}
    for name in ("words", "top", "answer"):
        reader = getattr(network.heads, name)
        reader.register_forward_pre_hook(lambda _, inputs, name=name: given.update({name: inputs[0].shape[1]}))
    output = network(text, turn, nothing, EVERYONE, hearing)
    length = text.input_ids.shape[1]
    assert given == {"words": length - 3, "top": length - 3, "answer": 0}
    fusion = network.fusion(None)
    network.language_model(text.input_ids, attention_mask=text.attention_mask, fusion=fusion)
    expected = network.heads.read_words(fusion.below, turn)
    torch.testing.assert_close(output.text.logits, expected[1].logits, atol=1e-5, rtol=0)
    (output.answer.logits.sum() + output.both.logits.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.heads.parameters())


def test_before_training_a_voice_adds_hardly_any_crisis() -> None:
    network = fusion_network()
    words, got = scored(network, ()).scores["crisis"], scored(network, (0, 1, 2, 3)).scores["crisis"]
    assert (got - words).max() < 0.02


def test_words_alone_have_no_readers_of_a_voice() -> None:
    network = fusion_network(adapter=None)
    assert network.encode(torch.zeros(1, 8000), torch.tensor([8000])) == {}
    assert network.hear({}, torch.tensor([0]), 4) is None
    assert not any(name.startswith(("heads.voice", "heads.both", "adapter")) for name in network.state_dict())
    assert list(scored(network, ()).scores) == ["valence", "arousal", "crisis", "interpretation"]


def test_the_baseline_of_the_voice_alone_refuses_words() -> None:
    network = fusion_network(reads_text=False)
    assert scored(network, (0, 1, 2, 3), ~EVERYONE).scores["valence"].isfinite().all()
    with pytest.raises(ValueError, match=r"model.reads_text is false, but rows have words"):
        scored(network)


def test_without_labels_there_are_no_scores() -> None:
    got = scored(fusion_network(scores=()))
    assert got == FusionScores({}, {}, {}, {})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_audio_that_is_not_a_number_is_refused(value: float) -> None:
    network = fusion_network()
    waveform = torch.zeros(2, 8000)
    waveform[1, 6000] = value
    with pytest.raises(ValueError, match="audio 1 of the batch has samples that are NaN"):
        network.encode(waveform, torch.tensor([8000, 8000]))
    network.encode(waveform, torch.tensor([8000, 5000]))  # beyond the voice's end


@torch.no_grad()
def test_thirty_seconds_with_one_word_and_one_moment_with_many() -> None:
    network = fusion_network(trained=True)
    waveform = torch.randn(2, 480_000, generator=torch.Generator().manual_seed(0)) * 0.1
    hearing = network.hear(network.encode(waveform, torch.tensor([480_000, 400])), torch.tensor([0, 1]), 2)
    output = read(network, prompt(network.backbone, ["Hi", TEXTS[1] * 20]), hearing)
    assert output.both is not None
    assert output.both.logits.isfinite().all()
    assert output.logits.isfinite().all()


def test_bias_is_that_of_the_words_and_of_nothing_else() -> None:
    network = fusion_network(trained=True, scores=("valence", "bias", "interpretation"))
    got = scored(network, (0, 2), torch.tensor([True, True, False, True]))
    assert torch.equal(got.scores["bias"][[0, 1, 3]], got.text["bias"][[0, 1, 3]])
    assert got.scores["bias"].isnan().tolist() == [False, False, True, False]
    assert got.audio["bias"].isnan().all()


def test_bias_is_learnt_with_features_of_its_own() -> None:
    network = fusion_network(trained=True, scores=("valence", "bias", "interpretation"))
    before = scored(network, (0, 2))
    for parameter in network.heads.bias.parameters():
        parameter.data.add_(0.1)
    after = scored(network, (0, 2))
    assert (before.scores["bias"][[0, 1, 3]] != after.scores["bias"][[0, 1, 3]]).all()
    for name in ("valence", "interpretation"):
        assert torch.equal(before.scores[name].nan_to_num(), after.scores[name].nan_to_num())
    read(network, prompt(network.backbone)).text.logits[:, 1].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.heads.bias.parameters())
    assert all(p.grad is None or not p.grad.any() for p in network.heads.words.parameters())


@torch.no_grad()
def test_without_the_top_layers_scores_are_of_words_and_voice_alone() -> None:
    network = fusion_network(trained=True, reads_top=False)
    assert network.heads.top is None
    text, hearing = prompt(network.backbone), listen(network, (0, 1, 2, 3))
    before = read(network, text, hearing)
    for block in network.adapter.by_layer().values():
        block.attention_gate.data.zero_()
        block.feed_forward_gate.data.zero_()
    after = read(network, text, hearing)
    assert torch.equal(before.both.logits, after.both.logits)
    assert not torch.equal(before.logits, after.logits)
