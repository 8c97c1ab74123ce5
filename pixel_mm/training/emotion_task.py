"""Training of an emotion regressor: classes from the corpus, a cache for the frozen trunk, scales of the states."""

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.training.standardise import standardise_states
from pixel_mm.training.trunk import use_trunk_cache
from pixel_mm.training.worst_clips import ScoredClip, worst_clips


class EmotionTask:
    """See `pixel_mm.training.task.Task`."""

    def build(self, cfg: DictConfig, datamodule: SpeechDataModule) -> DescribedNetwork:
        """Regressor over the categories of the corpus."""
        network: DescribedNetwork = instantiate(cfg.model, emotion_labels=datamodule.emotion_labels)
        return network

    def prepare(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device, anew: bool
    ) -> None:
        """Fill the trunk cache; bring the states to one scale."""
        use_trunk_cache(cfg, network, datamodule, device)
        if anew:
            standardise_states(network, datamodule, device, cfg.seed)

    def worst_clips(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device
    ) -> list[ScoredClip]:
        """Those with the largest error."""
        part = datamodule.parts.test or datamodule.parts.validation
        return worst_clips(network.eval(), datamodule.loader(part), cfg.worst_clips, device) if part else []
