"""Training of a speech recogniser, with or without transcripts."""

from collections.abc import Sequence

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.training.task import WrongClip


class RecognitionTask:
    """See `pixel_mm.training.task.Task`."""

    def build(self, cfg: DictConfig, datamodule: SpeechDataModule) -> DescribedNetwork:
        """The recogniser that `conf/recognizer` describes."""
        network: DescribedNetwork = instantiate(cfg.model)
        return network

    def prepare(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device, anew: bool
    ) -> None:
        """Nothing comes before the first step."""

    def worst_clips(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device
    ) -> Sequence[WrongClip]:
        """None: without transcripts nobody knows."""
        return []
