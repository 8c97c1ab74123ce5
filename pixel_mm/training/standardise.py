"""Bring the channels of the hidden states to one scale before training, as measured on clips of the training part."""

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pixel_mm.data.batching import StateBatch
from pixel_mm.data.datamodule import SpeechDataModule

_NUM_CLIPS = 128  # some ten thousand frames: more moves no scale by more than a few percent


def standardise_states(network: Any, datamodule: SpeechDataModule, device: torch.device, seed: int) -> None:
    """Set the scales and offsets that the head's weighted sum begins with.

    Every process of a distributed training measures the same clips, so all begin alike.

    Args:
        network: an `EmotionRegressor`, adapted.
        datamodule: set up; it loads waveforms, or the states of the network's frozen trunk.
        device: to run the network on.
        seed: of the choice of clips.
    """
    rows = datamodule.parts.train
    chosen = random.Random(seed).sample(rows, min(_NUM_CLIPS, len(rows)))
    training = network.training
    network.to(device).eval()
    network.layer_sum.standardise(_hidden_states(network, datamodule, chosen, device))
    network.train(training)


@torch.inference_mode()
def _hidden_states(
    network: Any, datamodule: SpeechDataModule, rows: list[int], device: torch.device
) -> Iterator[tuple[list[Tensor], Tensor]]:
    for batch in datamodule.loader(rows):
        batch = batch.to(device)
        if isinstance(batch, StateBatch):
            yield network.hidden_states_from_trunk(batch.states, batch.num_frames)
        else:
            yield network.hidden_states(batch.waveform, batch.num_samples)
