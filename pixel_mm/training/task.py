"""What a training of one task does differently from that of another; `conf/task` chooses."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from omegaconf import DictConfig

from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.models.checkpoint import DescribedNetwork


class WrongClip(Protocol):
    """A clip that a model gets wrong, for a tracker's table."""

    @property
    def index(self) -> int:
        """The data module's row."""

    @property
    def key(self) -> str:
        """Name of the clip."""

    @property
    def cells(self) -> Mapping[str, object]:
        """What the table says of it, by column."""


class Task(Protocol):
    """Steps of a training that depend on the task."""

    def build(self, cfg: DictConfig, datamodule: SpeechDataModule) -> DescribedNetwork:
        """The network with published weights, not yet adapted."""

    def prepare(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device, anew: bool
    ) -> None:
        """What is done before the first step; `anew`: the run does not go on from a checkpoint."""

    def worst_clips(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device
    ) -> Sequence[WrongClip]:
        """Clips of the test (else validation) part to be listened to, worst first."""
