"""The fusion network in Lightning: it learns, says what it learnt, and stops where a gate diverges."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.models.checkpoint import load_trained
from pixel_mm.models.freezing import frozen_tensors, trained_parameters
from pixel_mm.models.fusion.gates import GateDivergedError, check_gates, check_loss
from pixel_mm.models.fusion.losses import FusionLoss
from pixel_mm.models.fusion.measures import measure, whole_part
from pixel_mm.models.fusion.module import FusionModule
from tests.models.fusion.tiny_fusion import SOFT_TOKENS, backbone, fusion_network, prompt
from tests.models.tiny_networks import speech


@dataclass(frozen=True)
class Batch:
    """The fields that the module looks at; see pixel_mm/data/fusion/batch.py."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    prompt_mask: Tensor
    answer_mask: Tensor
    has_text: Tensor
    waveform: Tensor
    num_samples: Tensor
    audio_rows: Tensor
    audio_hashes: tuple[str, ...]
    targets: Tensor

    def to(self, device: Any, non_blocking: bool = False) -> "Batch":
        return self


def make_batch(rows: tuple[int, ...] = (0, 1, 3)) -> Batch:
    """Four rows whose valence is in the voice's pitch alone; the answers tell it, too."""
    text = prompt(backbone(), ["How do you feel? well", "How do you feel? bad!", "How do you feel? well", "Hm"])
    present = text.attention_mask.bool()
    answer = present & (torch.arange(present.shape[1]) >= 17)
    waveform, num_samples = (
        speech(*[16_000, 20_000, 18_000][: len(rows)]) if rows else (torch.zeros(0, 400), torch.zeros(0))
    )
    targets = torch.full((4, len(FUSION_SCORES)), torch.nan)
    targets[:, FUSION_SCORES.index("valence")] = torch.tensor([0.9, 0.1, 0.9, 0.4])
    targets[:, FUSION_SCORES.index("arousal")] = torch.tensor([0.2, 0.8, 0.3, torch.nan])
    targets[1, FUSION_SCORES.index("interpretation")] = 1.0
    return Batch(
        text.input_ids,
        text.attention_mask,
        text.input_ids.masked_fill(~answer, -100),
        present & ~answer,
        answer,
        torch.tensor([True, True, True, False]),
        waveform,
        num_samples.long(),
        torch.tensor(rows, dtype=torch.int64),
        tuple(f"{row:064x}" for row in rows),
        targets,
    )


def make_module(network: Any = None, **options: Any) -> FusionModule:
    settings: dict[str, Any] = {"optimizer": partial(torch.optim.AdamW), "head_learning_rate": 3e-3, **options}
    return FusionModule(fusion_network() if network is None else network, FusionLoss(), **settings)


def fit(module: FusionModule, batch: Batch, folder: Path, steps: int = 40) -> pl.Trainer:
    torch.manual_seed(0)
    loader: Any = DataLoader([batch], batch_size=None)
    trainer = pl.Trainer(
        max_epochs=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, num_sanity_val_steps=0, check_val_every_n_epoch=steps,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    return trainer


@pytest.mark.parametrize("soft_tokens", [False, True])
def test_it_learns_answers_and_scores_and_leaves_the_rest_alone(soft_tokens: bool, tmp_path: Path) -> None:
    network = fusion_network(**({"adapter": SOFT_TOKENS} if soft_tokens else {}))
    frozen = {name: tensor.clone() for name, tensor in frozen_tensors(network).items()}
    module, batch = make_module(network), make_batch()
    with torch.no_grad():
        before = module(batch).response.sums
    trainer = fit(module, batch, tmp_path)
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    network.eval()
    with torch.no_grad():
        after = module(batch).response.sums
    assert (after[:2] < before[:2] - 1).all()  # heard
    assert after[2] == before[2]  # not heard: the bare model's
    assert values["validation/ccc_valence"] > 0.3  # one of the rows is not heard, and its words say nothing
    assert values["validation/audio_ccc_valence"] > 0.3
    assert (values["train/openness"] > 0) is not soft_tokens
    assert not network.language_model.training
    assert not network.encoders["recognition"].training
    assert all(torch.equal(frozen[name], tensor) for name, tensor in frozen_tensors(network).items())


@torch.no_grad()
def test_a_part_of_several_batches_is_measured_as_a_whole() -> None:
    module = make_module(fusion_network(trained=True))
    batches = [make_batch((0, 1, 3)), make_batch(()), make_batch((1,))]
    whole = whole_part([module(batch) for batch in batches])
    assert whole.output.rows.tolist() == [0, 1, 3, 9]
    assert len(whole.has_text) == len(whole.response.sums) == 12
    measures = measure(module.losses, module.network, whole)
    shares = [module(batch).response for batch in batches]
    expected = sum(share.sums.sum() for share in shares) / sum(share.counts.sum() for share in shares)
    assert measures["response_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert {"ccc", "ccc_valence", "text_ccc_arousal", "audio_ccc_valence", "loss"} <= measures.keys()


@pytest.mark.parametrize("rows", [(), (0, 1, 3)])
@pytest.mark.parametrize("recompute", [False, True])
def test_every_trained_parameter_has_a_gradient_in_every_batch(rows: tuple[int, ...], recompute: bool) -> None:
    module = make_module(fusion_network(trained=True, recompute=recompute)).train()
    module.log_part = lambda *a: None  # type: ignore[method-assign]
    module.training_step(make_batch(rows), 0).backward()
    without = [name for name, weight in trained_parameters(module.network).items() if weight.grad is None]
    assert without == []


def test_recomputing_layers_gives_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        module = make_module(fusion_network(trained=True, recompute=recompute, dropout=0.0))
        seen = module(make_batch())
        seen.response.mean().backward()
        weights = trained_parameters(module.network).items()
        gradients.append({name: weight.grad for name, weight in weights if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) > 20
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_a_batch_without_answers_or_labels_trains_nothing_and_breaks_nothing() -> None:
    batch = make_batch()
    empty = replace(
        batch, labels=torch.full_like(batch.labels, -100), targets=torch.full_like(batch.targets, torch.nan)
    )
    module = make_module(fusion_network(trained=True)).train()
    module.log_part = lambda *a: None  # type: ignore[method-assign]
    loss = module.training_step(empty, 0)
    loss.backward()
    assert loss == 0
    assert all(not weight.grad.any() for weight in trained_parameters(module.network).values())  # type: ignore[union-attr]


def test_a_gate_that_diverges_stops_training_and_is_named(tmp_path: Path) -> None:
    network = fusion_network()
    network.adapter.blocks["3"].feed_forward_gate.data.fill_(-3.1)  # type: ignore[union-attr, index, operator]
    with pytest.raises(
        GateDivergedError, match=r"feed_forward gate before layer 3 is -3\.\d+, beyond 3 .*max_gate.*lower"
    ):
        fit(make_module(network), make_batch(), tmp_path, steps=1)
    network.adapter.blocks["3"].feed_forward_gate.data.fill_(torch.nan)  # type: ignore[union-attr, index, operator]
    with pytest.raises(GateDivergedError, match="is nan"):
        check_gates(network, 3.0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_a_number_stops_training(value: float) -> None:
    with pytest.raises(GateDivergedError, match="the loss is"):
        check_loss(torch.tensor(value))


@pytest.mark.parametrize("average_decay", [None, 0.9])
def test_validation_calibrates_confidence_and_a_checkpoint_holds_it(
    average_decay: float | None, tmp_path: Path
) -> None:
    module = make_module(average_decay=average_decay)
    trainer = fit(module, make_batch(), tmp_path, steps=4)
    assert module.network.heads.both.calibration.tolist() != [1.0, 0.0]
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    saved = torch.load(tmp_path / "x.ckpt", weights_only=False)
    names = set(trained_parameters(module.network))
    assert {name.removeprefix("network.") for name in saved["state_dict"]} == names
    assert set(saved["pixel_mm"]["weights"]) == names
    other = fusion_network()
    load_trained(other, tmp_path / "x.ckpt")
    assert torch.equal(other.heads.both.calibration, module.network.heads.both.calibration)
