"""Training on the layers above the adapter's lowest block alone, with the hidden states below them from the disk.

The encoders are not needed either, once the frames of every voice are kept.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.models.fusion.adapter import choose_layers
from pixel_mm.models.fusion.hidden_cache import HiddenStateCache
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.precision import pick_precision

log = logging.getLogger(__name__)
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def first_layer(cfg: DictConfig) -> int:
    """Lowest layer of the backbone that training loads: 0, or with `hidden_states.enabled` that of the lowest block."""
    if not cfg.hidden_states.enabled:
        return 0
    model = cfg.model
    return choose_layers(instantiate(cfg.backbone).num_layers, model.layers, model.top_share, model.every)[0]


def use_hidden_states(cfg: DictConfig, network: FusionNetwork, datamodule: Any, device: torch.device) -> None:
    """Give a network without its lower layers the states that they would give.

    The whole backbone is loaded only where states are missing, and let go of afterwards. An interrupted build goes on.

    Args:
        cfg: the configuration; `backbone`, `hidden_states.*`, `trainer.*` and `paths.cache`.
        network: from `first_layer(cfg)` on.
        datamodule: a `FusionDataModule` with its tokenizer, set up.
        device: to run the lower layers on.

    Raises:
        StateStoreError: the cache would grow past `hidden_states.max_gigabytes`.
    """
    first = network.backbone.first_layer
    if first == 0:
        return
    precision = cfg.trainer.precision
    if precision == "auto":
        precision = pick_precision(cfg.trainer.accelerator)
    options = {
        "folder": Path(cfg.paths.cache) / "hidden_states",
        "layer": first,
        "autocast": _AUTOCAST.get(str(precision)),
        "max_bytes": round(cfg.hidden_states.max_gigabytes * 1e9),
    }
    network.states = HiddenStateCache(backbone=network.backbone, **options)
    if network.states.missing(_prompts(datamodule)):
        whole = instantiate(cfg.backbone).load()
        count = HiddenStateCache(backbone=whole, **options).build(_prompts(datamodule), device)
        log.info("hidden states below layer %d: %d rows were read by the layers below", first, count)


def keep_frames(cfg: DictConfig, network: FusionNetwork, datamodule: Any, device: torch.device) -> None:
    """Make the frames of all voices that are missing, where frames are kept, and let the encoders go.

    Args:
        cfg: the configuration; `module.frames`.
        network: without its lower layers; one with them hears as it trains, and keeps its encoders.
        datamodule: a `FusionDataModule` with its tokenizer, set up.
        device: to hear on.

    Raises:
        StateStoreError: the frames would grow past `module.frames.max_gigabytes`.
    """
    if network.backbone.first_layer == 0 or cfg.module.frames is None or not network.encoders:
        return
    store = instantiate(cfg.module.frames)
    network.encoders.to(device)
    for batch in _batches(datamodule):
        if len(batch.audio_rows):
            store.make(network, batch.waveform.to(device), batch.num_samples.to(device), batch.audio_hashes)
    network.let_encoders_go()


def _batches(datamodule: Any) -> Iterator[Any]:
    """All rows of all parts, without shuffling."""
    yield from datamodule.loader([place for part in datamodule.parts for place in part])


def _prompts(datamodule: Any) -> Iterator[Prompt]:
    for batch in _batches(datamodule):
        yield Prompt(batch.input_ids, batch.attention_mask)
