"""What the trackers get of a finished run, besides the metrics that the modules log: figures, worst clips, the model.

The run folder has all of it anyway; a tracker is a second place to look.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from pixel_mm.audio import SAMPLE_RATE_HZ, read_audio
from pixel_mm.data.utterance import Utterance
from pixel_mm.runs import RunFolder
from pixel_mm.training.task import WrongClip


def shows_more(logger: Logger) -> bool:
    """Whether a tracker can show anything besides numbers."""
    return isinstance(logger, (WandbLogger, TensorBoardLogger))


def publish(
    loggers: Sequence[Logger],
    run: RunFolder,
    metrics: dict[str, float],
    worst: Sequence[WrongClip],
    utterances: Sequence[Utterance],
) -> None:
    """Give every tracker what it can show.

    Args:
        loggers: of the trainer.
        run: finished run folder, with figures and checkpoints.
        metrics: last values, for the summary.
        worst: clips for the table, see `Task.worst_clips`.
        utterances: of the data module; `WrongClip.index` counts in them.
    """
    figures = sorted(run.figures.glob("[!.]*.png"))
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _publish_to_wandb(logger, run, metrics, figures, worst, utterances)
        elif isinstance(logger, TensorBoardLogger):
            for figure in figures:
                logger.experiment.add_image(figure.stem, matplotlib.image.imread(figure), dataformats="HWC")


def finish(loggers: Sequence[Logger], failed: bool = False) -> None:
    """Close the trackers' runs, so that the next run of a sweep starts its own instead of writing into this one.

    Args:
        loggers: of a trainer, or used without one.
        failed: the run did not come to its end; trackers that can show it do.
    """
    for logger in loggers:
        logger.finalize("failed" if failed else "success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=int(failed))


def _publish_to_wandb(
    logger: WandbLogger,
    run: RunFolder,
    metrics: dict[str, float],
    figures: Sequence[Path],
    worst: Sequence[WrongClip],
    utterances: Sequence[Utterance],
) -> None:
    import wandb  # takes a second; most runs are without it

    logger.experiment.summary.update(metrics)
    logger.experiment.log({f"figures/{figure.stem}": wandb.Image(str(figure)) for figure in figures})
    if worst:
        columns: list[str | int] = ["clip", "audio", *worst[0].cells]
        logger.experiment.log({"worst_clips": wandb.Table(columns=columns, data=_rows(worst, utterances))})
    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "_", f"model-{logger.experiment.id}"), type="model")
    for file in (run.find_checkpoint("best"), run.config, run.environment, run.metrics):
        artifact.add_file(str(file))
    logger.experiment.log_artifact(artifact)


def _rows(worst: Sequence[WrongClip], utterances: Sequence[Utterance]) -> list[list[object]]:
    import wandb

    rows: list[list[object]] = []
    for clip in worst:
        utterance = utterances[clip.index]
        audio = read_audio(utterance.path, utterance.start_seconds, utterance.end_seconds)
        rows.append([clip.key, wandb.Audio(audio.waveform, sample_rate=SAMPLE_RATE_HZ), *clip.cells.values()])
    return rows
