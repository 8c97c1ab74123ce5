from pathlib import Path

import pytest
import torch

from benchmarks.stock_training import StockTrainee, stock_examples
from benchmarks.training_speed import SIDES, Clock, configure, load_clips, training_speed
from pixel_mm.train import build_module

TINY = (
    "encoder=whisper_micro_random",
    "encoder.num_layers=6",
    "trainer.accelerator=cpu",
)  # the recipe names six layers


def options(tones: Path) -> list[str]:
    return [*TINY, "data=manifest", "data.label_source=mapped", f"data.root={tones / 'manifest.csv'}"]


def test_warm_up_is_not_timed() -> None:
    clock = Clock(warm_up=2)
    for clips in (100, 100, 3, 4):
        clock.step(clips)
    assert clock.clips == [3, 4]
    assert clock.speed == pytest.approx(7 / sum(clock.seconds))
    with pytest.raises(ValueError, match="none is left to time"):
        _ = Clock().speed


def test_every_side_trains_the_same_clips_in_the_same_effective_batches(tone_corpus: Path, tmp_path: Path) -> None:
    cfg = configure("full", tmp_path, options(tone_corpus))
    data = load_clips(cfg, 20)
    assert len(data.parts.train) == 20
    examples = stock_examples(data.loader(data.parts.train), 80)
    assert len(examples) == 20
    assert {tuple(example["input_features"].shape) for example in examples} == {(80, 3000)}
    frames = sorted(int(example["num_frames"]) for example in examples)
    seconds = sorted(data.durations_seconds[data.parts.train])
    assert frames == [int(s * 50 + 1e-6) for s in seconds]


def test_the_stock_side_is_the_same_network_under_the_same_losses(tone_corpus: Path, tmp_path: Path) -> None:
    """As many trained weights, and a gradient for every one of them."""
    cfg = configure("full", tmp_path, options(tone_corpus))
    data = load_clips(cfg, 4)
    module = build_module(cfg, data)
    trainee = StockTrainee(module.network, module.losses)
    trained = {name: p for name, p in trainee.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == sum(
        p.numel() for p in module.network.parameters() if p.requires_grad
    )
    batch = {
        name: torch.stack([example[name] for example in stock_examples(data.loader(data.parts.train), 80)])
        for name in ("input_features", "num_frames", "ratings", "emotion")
    }
    trainee(**batch)["loss"].backward()
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []


@pytest.mark.slow
def test_all_sides_are_timed_in_turn(tone_corpus: Path) -> None:
    measures = training_speed(options(tone_corpus), clips=24, stock_steps=1, rounds=1)
    by_id = {measure.id: measure for measure in measures}
    assert {f"3-{side}" for side in SIDES} <= by_id.keys()
    assert all(measure.value and measure.value > 0 for measure in measures)
    full = by_id["3-full"]
    assert full.target == ">= 5"
    assert full.interval is not None
    assert full.interval[0] <= by_id["3-full"].value <= full.interval[1]  # type: ignore[operator]  # it has a value
    assert by_id["3-cached-recipe"].target == by_id["3-cached-frozen"].target == ">= 20"
