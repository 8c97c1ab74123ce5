import pytest
import torch

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.models.adaptation import Freeze, LastLayers
from pixel_mm.models.emotion import network as network_file
from pixel_mm.models.emotion.network import EmotionRegressor
from tests.models.tiny_networks import FAMILIES, LABELS, regressor, speech, whisper

LENGTHS = (9_000, 400, 6_543)


def test_scores_have_the_names_and_order_that_labels_have() -> None:
    assert network_file.DIMENSIONS == DIMENSIONS
    network = regressor()
    assert (network.dimensions, network.emotion_labels) == (DIMENSIONS, LABELS)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_clips_scores_are_the_same_alone_and_in_a_batch(family: str) -> None:
    network = regressor(FAMILIES[family]())
    waveform, num_samples = speech(*LENGTHS)
    together = network(waveform, num_samples)
    assert together.scores.shape == (3, 3)
    assert together.emotion_logits.shape == (3, 3)
    for row, length in enumerate(LENGTHS):
        alone = network(waveform[row : row + 1, :length], num_samples[row : row + 1])
        for mine, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(theirs[row : row + 1], mine, atol=1e-4, rtol=0)


@torch.no_grad()
def test_scores_lie_between_0_and_1_and_differ_from_clip_to_clip() -> None:
    scores = regressor()(*speech(*LENGTHS)).scores
    assert ((scores > 0) & (scores < 1)).all()
    assert scores.std(0).min() > 1e-4


@torch.no_grad()
def test_the_level_of_a_recording_changes_nothing() -> None:
    network = regressor()
    waveform, num_samples = speech(*LENGTHS)
    torch.testing.assert_close(network(0.01 * waveform, num_samples), network(waveform, num_samples), atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("trained_layers", [0, 1, 2])
@pytest.mark.parametrize("states", [None, [2], [0, 2], [1, 2], [-2, -1]])
def test_trunk_and_rest_are_the_whole(trained_layers: int, states: list[int] | None) -> None:
    network = EmotionRegressor(whisper(), LABELS, states=states, projection_size=8).eval()
    (LastLayers(trained_layers) if trained_layers else Freeze(["encoder.*"]))(network)
    assert network.trunk_depth == 2 - trained_layers
    waveform, num_samples = speech(*LENGTHS)
    trunk = network.trunk(waveform, num_samples)
    assert trunk.states.shape[:2] == (3, len(network.trunk_states))
    assert trunk.states.dtype == torch.float32
    torch.testing.assert_close(network.from_trunk(*trunk), network(waveform, num_samples), atol=1e-6, rtol=1e-5)
    rough = network.from_trunk(trunk.states.half(), trunk.num_frames)
    torch.testing.assert_close(rough.scores, network(waveform, num_samples).scores, atol=1e-2, rtol=0)


def test_a_trunk_keeps_the_states_that_are_needed_above_it() -> None:
    network = EmotionRegressor(whisper(), LABELS, states=[0, 2])
    LastLayers(1)(network)
    assert network.trunk_states == (0, 1)
    Freeze(["encoder.*"])(network)
    assert network.trunk_states == (0, 2)


def test_a_network_that_is_trained_from_the_bottom_has_no_trunk() -> None:
    network = regressor()
    assert network.trunk_depth is None
    with pytest.raises(ValueError, match="no frozen trunk"):
        network.trunk(*speech(400))


def test_states_that_there_are_not_and_layers_for_nothing_are_refused() -> None:
    for states in ([3], [1, 1], [2, 1], [-4, 2], []):
        with pytest.raises(ValueError, match=r"ascending numbers of hidden states, 0 to 2"):
            EmotionRegressor(whisper(), LABELS, states=states)
    with pytest.raises(ValueError, match=r"layers 2 to 2 would run for nothing: set encoder\.last_layer to 1"):
        EmotionRegressor(whisper(), LABELS, states=[0, 1])
    assert EmotionRegressor(whisper(last_layer=1), LABELS, states=[0, 1]).state_numbers == (0, 1)


@torch.no_grad()
def test_a_network_without_categories_scores() -> None:
    network = EmotionRegressor(whisper(), (), projection_size=8).eval()
    output = network(*speech(*LENGTHS))
    assert output.emotion_logits.shape == (3, 0)
    assert output.scores.isfinite().all()


def test_mixed_precision_gives_float32_scores_near_the_exact_ones() -> None:
    network = regressor()
    exact = network(*speech(*LENGTHS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(*speech(*LENGTHS))
    assert {tensor.dtype for tensor in mixed} == {torch.float32}
    torch.testing.assert_close(mixed.scores, exact.scores, atol=0.03, rtol=0)


def test_architectures_differ_where_the_computation_does() -> None:
    base = regressor().architecture
    assert base == regressor().architecture
    others = [
        EmotionRegressor(whisper(last_layer=1), LABELS),
        EmotionRegressor(whisper(), LABELS, states=[2]),
        EmotionRegressor(whisper(), LABELS[::-1]),
        EmotionRegressor(FAMILIES["hubert, group norm"](), LABELS),
    ]
    assert all(other.architecture != base for other in others)
