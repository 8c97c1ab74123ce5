"""Glue between the data and the trunk cache: run the frozen part once per clip, then train on what it gave."""

import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from pixel_mm.data.batching import CLEAN, Variant
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.models.trunk_cache import TrunkCache

log = logging.getLogger(__name__)


def use_trunk_cache(cfg: DictConfig, network: Any, datamodule: SpeechDataModule, device: torch.device) -> None:
    """Let the data module load trunk states where the network has a frozen trunk, waveforms where it has none.

    Clips that the cache lacks are put into it first, in every variant that training uses; folds and runs on the same
    weights, audio and augmentation share what is there. An interrupted build goes on where it stopped.

    Args:
        cfg: the configuration; `trunk_cache.*` and `paths.cache`.
        network: an `EmotionRegressor`.
        datamodule: set up.
        device: to run the trunk on.

    Raises:
        ValueError: the cache would grow past `trunk_cache.max_gigabytes`.
    """
    variants = datamodule.augment.kept_variants()
    if network.encoder.masks and variants == (CLEAN,):
        variants = None  # what is masked is new in every epoch, too
    if not cfg.trunk_cache.enabled or network.trunk_depth is None:
        datamodule.use_states(None)
        return
    if variants is None:
        log.info("no trunk cache: augmentation or masks are new in every epoch; augment.variants=N would allow one")
        datamodule.use_states(None)
        return
    cache = TrunkCache(
        Path(cfg.paths.cache) / "trunk",
        network,
        dtype=cfg.trunk_cache.dtype,
        augment_fingerprint=datamodule.augment.fingerprint,
        max_bytes=round(cfg.trunk_cache.max_gigabytes * 1e9),
    )
    training = network.training
    network.to(device).eval()
    for variant in dict.fromkeys((CLEAN, *variants)):  # validation and test are always on clips as they are
        _fill(cache, network, datamodule, variant, device)
    network.train(training)
    datamodule.use_states(cache)


@torch.inference_mode()
def _fill(
    cache: TrunkCache, network: Any, datamodule: SpeechDataModule, variant: Variant, device: torch.device
) -> None:
    """Run the trunk on the clips whose states in this variant are missing."""
    console = Console(stderr=True)
    batches = datamodule.clips(variant, missing_from=cache)
    for batch in track(batches, f"frozen trunk, {variant} clips", console=console, transient=True):
        batch = batch.to(device)
        output = network.trunk(batch.waveform, batch.num_samples, batch.mask_seeds)
        for states, num_frames, audio_hash in zip(output.states, output.num_frames, batch.audio_hashes, strict=True):
            cache.put(audio_hash, variant, states[:, :num_frames].cpu().numpy())
