"""Training of the fusion adapter: backbone and encoders from where the configuration says, scores that have labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.exporters.trained_network import load_network
from pixel_mm.models.checkpoint import DescribedNetwork, load_trained, read_architecture
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.fusion.emotion_frames import EmotionFrames
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.runs import RunFolder
from pixel_mm.training.emotion_task import EmotionTask
from pixel_mm.training.hidden_states import first_layer, keep_frames, use_hidden_states
from pixel_mm.training.task import WrongClip


class FusionTaskError(ValueError):
    """A configuration that no fusion network can be built from."""


class FusionTask:
    """See `pixel_mm.training.task.Task`; the data module is a `FusionDataModule`."""

    def build(self, cfg: DictConfig, datamodule: Any) -> DescribedNetwork:
        """Adapter and heads on the backbone, whole or from its lowest block on.

        Raises:
            FusionTaskError: `emotion_run` was trained on a speaker who is held out here.
        """
        if cfg.emotion_run is not None and cfg.model.encoders is not None:
            _refuse_known_voices(_emotion_run(cfg.emotion_run), datamodule)
        network = build_network(cfg, datamodule.scores, first_layer(cfg))
        datamodule.use_tokenizer(network.backbone.tokenizer)
        return network

    def prepare(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: Any, device: torch.device, anew: bool
    ) -> None:
        """Hidden states and frames, where the lower layers are not loaded."""
        assert isinstance(network, FusionNetwork)
        use_hidden_states(cfg, network, datamodule, device)
        keep_frames(cfg, network, datamodule, device)

    def worst_clips(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: Any, device: torch.device
    ) -> Sequence[WrongClip]:
        """None: a row is more than its clip."""
        return []


def _refuse_known_voices(folder: RunFolder, datamodule: Any) -> None:
    """Refuse an emotion model that has learnt from clips of speakers who are held out here.

    Clips are known by speaker and file name, wherever the corpus lies.
    """
    heard = instantiate(folder.load_config().datamodule)
    known = {(u.speaker, u.path.name) for u in map(heard.utterances.__getitem__, heard.parts.train)}
    held = [row for part in datamodule.parts[1:] for row in map(datamodule.rows.__getitem__, part)]
    shared = sorted({row.speaker for row in held if row.clip and (row.clip.speaker, row.clip.path.name) in known})
    if shared:
        raise FusionTaskError(
            f"emotion_run={folder.path} was trained on {len(shared)} speakers who are held out here "
            f"({', '.join(shared[:5])}); train it with the same speakers: datamodule.split.fractions and seed, or "
            "datamodule.split as speaker_split"
        )


def build_network(cfg: DictConfig, scores: Sequence[str], lowest: int = 0) -> FusionNetwork:
    """The network of a configuration, with published weights and an untrained adapter.

    Args:
        cfg: `backbone`, `model`, `emotion_run`.
        scores: names of those that get a head.
        lowest: layer of the backbone that is loaded.

    Raises:
        FusionTaskError: `emotion_run` is no run of an emotion model.
    """
    backbone = instantiate(cfg.backbone).load(lowest)
    options: dict[str, Any] = {"backbone": backbone, "scores": list(scores)}
    if cfg.emotion_run is not None and cfg.model.encoders is not None:
        heard = {name: instantiate(node) for name, node in cfg.model.encoders.items()}
        options["encoders"] = {"emotion": hear_emotion(cfg.emotion_run), **heard}
    network: FusionNetwork = instantiate(cfg.model, **options)
    return network


def _emotion_run(run: str) -> RunFolder:
    folder = RunFolder(Path(run))
    task = str(folder.load_config().task._target_).rpartition(".")[2]
    if task != EmotionTask.__name__:
        raise FusionTaskError(f"emotion_run={run} is of {task}; give a run of experiment=emotion")
    return folder


def hear_emotion(run: str) -> EmotionFrames:
    """Frames of the emotion regressor of a run folder.

    Raises:
        FusionTaskError: it is no run of an emotion model.
    """
    regressor = load_network(_emotion_run(run))
    assert isinstance(regressor, EmotionRegressor)
    return EmotionFrames(regressor)


def load_fusion_network(folder: RunFolder, which: str = "best", lowest: int = 0) -> FusionNetwork:
    """The trained network of a run, on the CPU, in evaluation mode.

    Args:
        folder: of the run.
        which: "best" or "last" checkpoint.
        lowest: layer of the backbone that is loaded; above 0, it reads hidden states in place of tokens.

    Raises:
        RunError: no run folder, or no checkpoint in it.
        CheckpointError: the checkpoint does not fit the run's configuration, or another backbone or encoder is there.
    """
    checkpoint = folder.find_checkpoint("last" if which == "last" else "best")
    config = folder.load_config()
    architecture = read_architecture(checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # frozen weights that were random are made again, and verified by their SHA-256
        network = build_network(config, [*architecture["state_scores"], *architecture["answer_scores"]], lowest)
    load_trained(network, checkpoint)
    return network.requires_grad_(False).eval()
