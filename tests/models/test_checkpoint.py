"""Each way a checkpoint can be wrong has its own refusal; the right one loads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pixel_mm.models.adaptation import Freeze, LastLayers, LowRank
from pixel_mm.models.checkpoint import CheckpointError, describe, load_trained
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.freezing import trained_parameters
from tests.models.tiny_networks import LABELS, regressor, speech, whisper


def adapted(network: EmotionRegressor | None = None, adaptation: Any = None) -> EmotionRegressor:
    network = network or regressor()
    (adaptation or LastLayers(1))(network)
    return network.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = adapted()
    with torch.no_grad():
        network.score_head.bias += 0.5
    weights = {name: parameter.detach() for name, parameter in trained_parameters(network).items()}
    torch.save({"epoch": 3} | describe(network, weights), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_the_right_checkpoint_loads(saved: Path) -> None:
    network = adapted()
    before = network(*speech(4_000)).scores
    load_trained(network, saved)
    after = network(*speech(4_000)).scores
    torch.testing.assert_close(after.logit() - before.logit(), torch.full((1, 3), 0.5), atol=1e-4, rtol=0)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint["pixel_mm"])
    torch.save(checkpoint, path)


def test_a_missing_key_is_refused(saved: Path) -> None:
    rewrite(saved, lambda content: content["weights"].pop("score_head.weight"))
    with pytest.raises(CheckpointError, match=r"it lacks 1 \(score_head\.weight\)"):
        load_trained(adapted(), saved)


def test_an_unexpected_key_is_refused(saved: Path) -> None:
    rewrite(saved, lambda content: content["weights"].update(extra=torch.zeros(1)))
    with pytest.raises(CheckpointError, match=r"it has beyond them 1 \(extra\)"):
        load_trained(adapted(), saved)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: EmotionRegressor(whisper(), LABELS[:2]), r"emotion_labels is \['anger', 'neutral', 'sadness'\] in it"),
        (lambda: EmotionRegressor(whisper(), LABELS, states=[2]), r"states is \[0, 1, 2\] in it, \[2\] in this"),
        (lambda: EmotionRegressor(whisper(1), LABELS, states=[1]), r"encoder\.layers is 2 in it, 1 in this"),
        (lambda: EmotionRegressor(whisper(), LABELS), r"'projection\.1\.weight' is \[8, 16\] in it, \[256, 16\]"),
    ],
    ids=["labels", "states", "encoder", "sizes"],
)
def test_another_architecture_is_refused(saved: Path, network: Callable[[], EmotionRegressor], message: str) -> None:
    with pytest.raises(CheckpointError, match=r"(?s)of another architecture.*" + message):
        load_trained(adapted(network()), saved)


@pytest.mark.parametrize("adaptation", [Freeze(), Freeze(["encoder.*"]), LowRank(2, 4, ["q_proj"])])
def test_another_adaptation_is_refused(saved: Path, adaptation: Any) -> None:
    with pytest.raises(CheckpointError, match="does not hold the weights that this network trains"):
        load_trained(adapted(adaptation=adaptation), saved)


@pytest.mark.parametrize("name", ["encoder.conv1.weight", "encoder.embed_positions.weight"])
def test_other_frozen_weights_are_refused(saved: Path, name: str) -> None:
    network = adapted()
    with torch.no_grad():
        network.state_dict()[name].view(-1)[0] += 1e-4
    with pytest.raises(CheckpointError, match="other frozen weights"):
        load_trained(network, saved)


def test_a_refused_checkpoint_leaves_the_network_as_it_was(saved: Path) -> None:
    network = adapted()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rewrite(saved, lambda content: content["weights"].pop("score_head.weight"))
    with pytest.raises(CheckpointError):
        load_trained(network, saved)
    torch.testing.assert_close(dict(network.state_dict()), before, atol=0, rtol=0)


def test_what_is_no_checkpoint_is_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none\.ckpt"):
        load_trained(adapted(), tmp_path / "none.ckpt")
    saved.write_bytes(saved.read_bytes()[:-1_000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_trained(adapted(), saved)
    torch.save({"state_dict": {}}, saved)
    with pytest.raises(CheckpointError, match=r"not written by .*pixel_mm\.train"):
        load_trained(adapted(), saved)
    saved.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="damaged"):
        load_trained(adapted(), saved)
