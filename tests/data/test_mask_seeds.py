"""Seeds of what the network masks of a clip: one per clip and epoch, none where nothing is trained on."""

from functools import partial
from pathlib import Path

import pytest

from pixel_mm.data.augment import Augment
from pixel_mm.data.batching import FrameBatchSampler, WaveformBatch
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.data.splits import hold_out
from tests.data.listed_corpus import write_corpus


def make(root: Path, augment: Augment | None) -> SpeechDataModule:
    return SpeechDataModule(
        write_corpus(root),
        split=partial(hold_out, fractions={"validation": 0.25, "test": 0.25}, seed=0),
        batching=partial(FrameBatchSampler, max_frames_per_batch=20_000, max_clips_per_batch=4),
        augment=augment,
    )


def seeds_by_clip(data: SpeechDataModule, epoch: int) -> dict[str, int]:
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    seeds = {}
    for batch in loader:
        assert isinstance(batch, WaveformBatch)
        assert batch.mask_seeds is not None
        seeds |= dict(zip(batch.keys, batch.mask_seeds.tolist(), strict=True))
    return seeds


def test_every_clip_has_a_seed_of_its_own_that_is_new_in_every_epoch(tmp_path: Path) -> None:
    data = make(tmp_path, None)
    first, second = seeds_by_clip(data, 0), seeds_by_clip(data, 1)
    assert len(set(first.values()) | set(second.values())) == 2 * len(first)
    assert seeds_by_clip(data, 0) == first


def test_variants_bring_the_seeds_of_an_epoch_back(tmp_path: Path) -> None:
    data = make(tmp_path, Augment(variants=2))
    assert seeds_by_clip(data, 5) == seeds_by_clip(data, 1) != seeds_by_clip(data, 0)


def test_what_a_cache_is_built_from_has_the_seeds_of_training(tmp_path: Path) -> None:
    data = make(tmp_path, Augment(variants=2))
    in_training = seeds_by_clip(data, 3)
    for batch in data.clips(1):
        assert batch.mask_seeds is not None
        for key, seed in zip(batch.keys, batch.mask_seeds.tolist(), strict=True):
            assert in_training.get(key, seed) == seed


def test_nothing_is_masked_in_validation_test_and_clean_clips(tmp_path: Path) -> None:
    data = make(tmp_path, Augment(variants=2))
    for batches in (data.val_dataloader(), data.test_dataloader(), data.clips("clean")):
        assert all(batch.mask_seeds is None for batch in batches)


def test_copies_that_differ_in_their_masks_are_told_apart_by_seed() -> None:
    assert Augment(variants=2, seed=1).fingerprint != Augment(variants=2, seed=2).fingerprint
    assert Augment(variants=2).kept_variants() == (0, 1)
    assert Augment().kept_variants() == ("clean",)


@pytest.mark.parametrize("changed", [("seed 2", 0), ("other clip", 0), ("clip", 1)])
def test_a_seed_depends_on_run_clip_and_epoch(changed: tuple[str, int]) -> None:
    key, epoch = changed
    augment = Augment(seed=2) if key == "seed 2" else Augment(seed=1)
    assert augment.mask_seed(key.replace("seed 2", "clip"), epoch) != Augment(seed=1).mask_seed("clip", 0)
