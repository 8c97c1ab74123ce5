"""A recogniser's report in the experiment trackers: error rates, speed, and the worst utterances with their audio."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, WandbLogger

from pixel_mm.audio import SAMPLE_RATE_HZ, read_audio
from pixel_mm.data.utterance import Utterance
from pixel_mm.runs import RunFolder
from pixel_mm.training.loggers import finish


def track(cfg: DictConfig, metrics: Mapping[str, Any], utterances: Sequence[Utterance]) -> None:
    """Give the report to every configured tracker.

    Args:
        cfg: of the evaluation.
        metrics: content of `report/metrics.json`.
        utterances: that were recognised.
    """
    config = OmegaConf.to_container(OmegaConf.load(RunFolder(Path(cfg.paths.run)).config))
    loggers: list[Logger] = [instantiate(node) for node in (cfg.logger or {}).values() if node is not None]
    try:
        for logger in loggers:
            logger.log_hyperparams(config)  # type: ignore[arg-type]  # a DictConfig gives a dict
            logger.log_metrics(headline(metrics))
            if isinstance(logger, WandbLogger) and metrics["worst"]:
                _show_worst(logger, metrics["worst"], utterances)
    finally:
        finish(loggers)


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that models are compared by, such as `evaluation/wer`."""
    scores, speed = metrics["scores"], metrics["speed"] or {}
    found = {
        "evaluation/wer": scores["word"]["rate"],
        "evaluation/cer": scores["character"]["rate"],
        "evaluation/real_time_factor": speed.get("real_time_factor"),
        "evaluation/latency_p50": speed.get("latency", {}).get("p50"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _show_worst(logger: WandbLogger, worst: Sequence[Mapping[str, Any]], utterances: Sequence[Utterance]) -> None:
    import wandb  # takes a second; most evaluations are without it

    by_key = {utterance.key: utterance for utterance in utterances}
    rows = []
    for mistake in worst:
        clip = by_key[mistake["clip"]]
        waveform = read_audio(clip.path, clip.start_seconds, clip.end_seconds).waveform
        rows.append([wandb.Audio(waveform, sample_rate=SAMPLE_RATE_HZ), *mistake.values()])
    logger.experiment.log({"report/worst_clips": wandb.Table(columns=["audio", *worst[0]], data=rows)})
