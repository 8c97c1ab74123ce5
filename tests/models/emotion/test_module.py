"""The Lightning module in a real trainer, on batches that need no files."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from pixel_mm.data.batching import Batch, StateBatch, WaveformBatch
from pixel_mm.models.adaptation import Freeze, LastLayers, LowRank
from pixel_mm.models.checkpoint import CheckpointError, load_trained
from pixel_mm.models.emotion.losses import EmotionLoss, RobustLoss
from pixel_mm.models.emotion.module import EmotionModule
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.freezing import fingerprint, frozen_tensors, trained_parameters
from pixel_mm.models.frontend import FeatureMask
from pixel_mm.models.optimisation import one_cycle
from tests.models.tiny_networks import LABELS, regressor, speech, whisper

LAST_LAYER = LastLayers(1)


def batches(number: int = 3, seed: int = 0) -> list[WaveformBatch]:
    made = []
    for place in range(number):
        waveform, num_samples = speech(6_000, 3_000, 4_500, seed=seed + place)
        generator = torch.Generator().manual_seed(seed + place)
        made.append(
            WaveformBatch(
                waveform=waveform,
                num_samples=num_samples,
                ratings=torch.rand(3, 3, generator=generator),
                emotion=torch.randint(len(LABELS), (3,), generator=generator),
                index=torch.arange(3) + 3 * place,
                keys=("a", "b", "c"),
                audio_hashes=("", "", ""),
            )
        )
    return made


def as_states(network: EmotionRegressor, batch: WaveformBatch) -> StateBatch:
    with torch.no_grad():
        states, num_frames = network.trunk(batch.waveform, batch.num_samples)
    labels = {name: getattr(batch, name) for name in ("ratings", "emotion", "index", "keys", "audio_hashes")}
    return StateBatch(states=states, num_frames=num_frames, **labels)


def module_of(network: EmotionRegressor, adaptation: Any = LAST_LAYER, **changes: Any) -> EmotionModule:
    adaptation(network)
    options: dict[str, Any] = {
        "losses": EmotionLoss("mapped", {"mapped": RobustLoss()}, label_smoothing=0.1),
        "optimizer": partial(torch.optim.AdamW, weight_decay=0.01),
        "scheduler": one_cycle,
        "head_learning_rate": 1e-2,
        "encoder_learning_rate": 1e-3,
    }
    return EmotionModule(network, **options | changes)


def loader(content: list[Any]) -> DataLoader[Batch]:
    return DataLoader(content, batch_size=None)  # type: ignore[arg-type]


def train(module: EmotionModule, folder: Path, epochs: int = 2, resume: Path | None = None, **data: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, default_root_dir=folder,
        callbacks=[ModelCheckpoint(folder, "{epoch}", save_top_k=-1, save_last=True)],
    )  # fmt: skip
    training, validation = data.get("training", batches()), data.get("validation", batches(2, seed=50))
    trainer.fit(module, loader(training), loader(validation), ckpt_path=resume)
    return trainer


def weights_of(network: EmotionRegressor) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trained_parameters(network).items()}


def test_training_changes_what_is_trained_and_nothing_else_and_logs_by_name(tmp_path: Path) -> None:
    module = module_of(regressor())
    frozen, before = fingerprint(frozen_tensors(module.network)), weights_of(module.network)
    trainer = train(module, tmp_path)
    assert fingerprint(frozen_tensors(module.network)) == frozen
    unchanged = [name for name, value in weights_of(module.network).items() if torch.equal(value, before[name])]
    assert unchanged == []
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    parts = {f"{part}/{name}" for part in ("train", "validation") for name in ("loss", "rating_loss", "emotion_loss")}
    names = parts | {f"validation/ccc_{name}" for name in module.network.dimensions} | {"validation/ua"}
    assert metrics.keys() == names
    whole = metrics["validation/rating_loss"] + metrics["validation/emotion_loss"]
    assert metrics["validation/loss"] == pytest.approx(whole)


def test_frozen_parts_rest_while_lightning_trains(tmp_path: Path) -> None:
    modes: dict[str, bool] = {}

    class Look(EmotionModule):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            modes.update({name: part.training for name, part in self.network.named_modules()})
            return super().training_step(batch, batch_idx)

    plain = module_of(regressor(whisper(dropout=0.3), dropout=0.3).train())
    train(Look(plain.network, plain.losses, plain.optimizer), tmp_path, epochs=1)
    assert modes["dropout"]
    assert modes["encoder.layers.1.dropout"]
    assert not modes["encoder.layers.0.dropout"]


def test_a_few_clips_can_be_learnt_by_heart(tmp_path: Path) -> None:
    losses = EmotionLoss("mapped", {"mapped": RobustLoss()})
    module = module_of(regressor(), Freeze(), losses=losses, scheduler=None, head_learning_rate=3e-2)
    same = batches(1)
    trainer = train(module, tmp_path, epochs=2, training=25 * same, validation=same)
    assert float(trainer.callback_metrics["validation/ua"]) == 1.0
    assert float(trainer.callback_metrics["validation/loss"]) < 0.1


def test_training_on_kept_states_is_training_on_audio(tmp_path: Path) -> None:
    on_audio, on_states = module_of(regressor()), module_of(regressor())
    kept = [[as_states(on_states.network, batch) for batch in part] for part in (batches(), batches(2, seed=50))]
    first = train(on_audio, tmp_path / "audio").callback_metrics
    second = train(on_states, tmp_path / "states", training=kept[0], validation=kept[1]).callback_metrics
    for name, value in first.items():
        assert float(value) == pytest.approx(float(second[name]), abs=1e-4), name
    torch.testing.assert_close(weights_of(on_audio.network), weights_of(on_states.network), atol=1e-4, rtol=1e-3)


def test_a_part_is_measured_as_a_whole_however_it_is_batched(tmp_path: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    singles = []
    for batch in batches(2):
        for row in range(3):
            rows = {name: getattr(batch, name)[row : row + 1] for name in ("waveform", "num_samples", "ratings")}
            rest = {name: getattr(batch, name)[row : row + 1] for name in ("emotion", "index", "keys", "audio_hashes")}
            singles.append(WaveformBatch(**rows, **rest))
    whole, apart = (
        trainer.validate(module_of(regressor()), loader(content), verbose=False)[0] for content in (batches(2), singles)
    )
    assert whole == pytest.approx(apart, abs=1e-4)


def test_a_checkpoint_holds_trained_weights_alone_and_loads_without_pickled_code(tmp_path: Path) -> None:
    module = module_of(regressor())
    train(module, tmp_path)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    names = trained_parameters(module.network).keys()
    assert checkpoint["state_dict"].keys() == {f"network.{name}" for name in names}
    assert checkpoint["pixel_mm"]["weights"].keys() == names
    again = regressor(whisper())
    LAST_LAYER(again)
    with torch.no_grad():
        for parameter in trained_parameters(again).values():
            parameter.zero_()
    load_trained(again, tmp_path / "last.ckpt")
    torch.testing.assert_close(again(*speech(4_000)), module.network.eval()(*speech(4_000)))


@pytest.mark.parametrize("average_decay", [None, 0.9])
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path: Path, average_decay: float | None) -> None:
    whole = module_of(regressor(), average_decay=average_decay)
    train(whole, tmp_path / "whole", epochs=4)
    half = tmp_path / "whole" / "epoch=1.ckpt"
    resumed = module_of(regressor(), average_decay=average_decay)
    train(resumed, tmp_path / "resumed", epochs=4, resume=half)
    torch.testing.assert_close(weights_of(resumed.network), weights_of(whole.network), atol=0, rtol=0)


def test_averaged_weights_are_validated_saved_and_left_in_the_network(tmp_path: Path) -> None:
    module = module_of(regressor(), average_decay=0.9)
    trainer = train(module, tmp_path)
    assert module.average is not None
    assert module.average.in_use
    left, last = weights_of(module.network), module.average.weights(averaged=False)
    assert not torch.equal(left["score_head.weight"], last["score_head.weight"])
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.testing.assert_close(checkpoint["pixel_mm"]["weights"], left, atol=0, rtol=0)
    raw = {name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items()}
    torch.testing.assert_close(raw, last, atol=0, rtol=0)
    validated = float(trainer.callback_metrics["validation/loss"])
    tested = trainer.test(module, loader(batches(2, seed=50)), ckpt_path=str(tmp_path / "last.ckpt"), verbose=False)
    assert tested[0]["test/loss"] == pytest.approx(validated, abs=1e-5)
    torch.testing.assert_close(weights_of(module.network), left, atol=0, rtol=0)


def test_masks_are_drawn_from_the_batchs_seeds_in_training(tmp_path: Path) -> None:
    module = module_of(regressor(whisper(mask=FeatureMask(2, 0.5, 0))))
    (batch,) = batches(1)
    seeded = replace(batch, mask_seeds=torch.tensor([1, 2, 3]))
    clean, masked = module(batch).scores, module(seeded).scores
    assert not torch.allclose(clean, masked, atol=1e-5)
    torch.testing.assert_close(module(seeded).scores, masked)
    assert not torch.allclose(module(replace(batch, mask_seeds=torch.tensor([4, 5, 6]))).scores, masked, atol=1e-5)


def test_a_checkpoint_of_another_training_is_not_resumed(tmp_path: Path) -> None:
    train(module_of(regressor()), tmp_path, epochs=1)
    other = regressor()
    with torch.no_grad():
        other.encoder.get_parameter("conv1.bias")[0] += 1
    with pytest.raises(CheckpointError, match="other frozen weights"):
        train(module_of(other), tmp_path / "other", resume=tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="does not hold the weights that this network trains"):
        train(module_of(regressor(), LowRank(2, 4, ["q_proj"])), tmp_path / "lora", resume=tmp_path / "last.ckpt")
