"""An evaluation's report in the experiment trackers: one run beside those of its folds, in the same group."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.image
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from pixel_mm.audio import SAMPLE_RATE_HZ, read_audio
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.runs import RunFolder
from pixel_mm.training.loggers import finish


def track(cfg: DictConfig, metrics: Mapping[str, Any], table: Predictions) -> None:
    """Give the report to every configured tracker.

    Args:
        cfg: of the evaluation; its `logger` are told the configuration, the scores and CCCs, and where they can show
            them the figures and the most confident mistakes with their audio.
        metrics: content of `report/metrics.json`.
        table: all predictions.
    """
    folder = RunFolder(Path(cfg.paths.run))
    config = OmegaConf.to_container(OmegaConf.load(folder.config))  # as it was written: resolved, without secrets
    figures = sorted((folder.path / "report" / "figures").glob("[!.]*.png"))
    loggers: list[Logger] = [instantiate(node) for node in (cfg.logger or {}).values() if node is not None]
    try:
        for logger in loggers:
            logger.log_hyperparams(config)  # type: ignore[arg-type]  # a DictConfig gives a dict
            logger.log_metrics(headline(metrics))
            if isinstance(logger, WandbLogger):
                _show_in_wandb(logger, figures, metrics, table)
            elif isinstance(logger, TensorBoardLogger):
                for path in figures:
                    logger.experiment.add_image(path.stem, matplotlib.image.imread(path), dataformats="HWC")
    finally:
        finish(loggers)


def headline(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that runs are compared by, e.g. `evaluation/emotion_ua` and `evaluation/valence_ccc_mapped`."""
    found = {
        f"evaluation/{measure}_{name}": entry[name]
        for measure, entry in metrics["scores"].items()
        if entry
        for name in ("ua", "accuracy", "majority")
    }
    source = metrics["ccc"]["label_source"]
    for name, value in metrics["ccc"].items():
        if name != "label_source" and value is not None:
            found[f"evaluation/{name}_ccc_{source}"] = value
    return {name: value for name, value in found.items() if value is not None}


def _show_in_wandb(logger: WandbLogger, figures: list[Path], metrics: Mapping[str, Any], table: Predictions) -> None:
    import wandb  # takes a second; most evaluations are without it

    logger.experiment.log({f"report/{path.stem}": wandb.Image(str(path)) for path in figures})
    by_key = {utterance.key: utterance for utterance in table.utterances}
    rows = []
    for mistake in metrics["worst_clips"]:
        clip = by_key[mistake["clip"]]
        waveform = read_audio(clip.path, clip.start_seconds, clip.end_seconds).waveform
        rows.append([wandb.Audio(waveform, sample_rate=SAMPLE_RATE_HZ), *mistake.values()])
    if rows:
        columns = ["audio", *metrics["worst_clips"][0]]
        logger.experiment.log({"report/worst_clips": wandb.Table(columns=columns, data=rows)})
