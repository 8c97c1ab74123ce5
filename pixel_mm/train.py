"""Train a network on a corpus and write a run folder.

    python -m pixel_mm.train experiment=emotion data=emodb data.root=DIR
    python -m pixel_mm.train -m experiment=emotion data=emodb data.root=DIR seed=1,2,3

The run folder holds the resolved config, the environment, checkpoints of the trained weights, metrics and figures
(`pixel_mm.runs.RunFolder`). docs/training.md tells the options.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import LearningRateMonitor, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only

from pixel_mm.cli import run
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.environment import describe_environment
from pixel_mm.models.checkpoint import DescribedNetwork, load_trained
from pixel_mm.precision import pick_precision
from pixel_mm.runs import RunFolder, find_resume, remove_leftovers, write_json
from pixel_mm.training.callbacks import AtomicCheckpoints
from pixel_mm.training.configuration import write_config
from pixel_mm.training.loggers import finish, publish, shows_more
from pixel_mm.training.plan import plan_run
from pixel_mm.training.plan_report import print_plan, write_plan
from pixel_mm.training.quiet import quiet_lightning
from pixel_mm.training.task import Task, WrongClip


class TrainError(ValueError):
    """A configuration that cannot train, or did not."""


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        metrics: last value of every metric by name, e.g. "train/loss", "validation/loss", "test/loss".
        run_folder: what was written.
        module: the trained module with the weights that were chosen: the best on the validation part, else the last.
    """

    metrics: dict[str, float]
    run_folder: RunFolder
    module: pl.LightningModule


def fit(cfg: DictConfig, datamodule: SpeechDataModule | None = None) -> TrainResult:
    """Train as configured, score the test part if there is one, and write the run folder `cfg.paths.run`.

    Args:
        cfg: composed from conf/train.yaml.
        datamodule: made from `cfg.datamodule` if None. One that is given is used as it is, with its split: an
            evaluation calls this once per fold without reading the corpus again.

    Raises:
        TrainError: there is nothing to train on, or not one step was done.
        ValueError: a mistake in the data or the configuration, by name.
    """
    folder = RunFolder(Path(cfg.paths.run))
    checkpoint = find_resume(cfg.resume, folder)
    datamodule = instantiate(cfg.datamodule) if datamodule is None else datamodule
    datamodule.setup("fit")
    if not datamodule.parts.train:
        raise TrainError("the training part of the split has no clip; check data.* and datamodule.split")
    task: Task = instantiate(cfg.task)
    module = build_module(cfg, datamodule)
    trainer = build_trainer(cfg, has_validation=bool(datamodule.parts.validation))
    begin(folder, cfg, trainer.loggers, anew=checkpoint is None)
    done = False
    try:
        device = trainer.strategy.root_device
        task.prepare(cfg, _network_of(module), datamodule, device, anew=checkpoint is None)
        _fit_or_interrupt(trainer, module, datamodule, checkpoint)
        metrics = _check_trained(trainer) | _choose_and_test(cfg, trainer, module, datamodule, folder)
        datamodule.trainer = None  # from here on it loads all clips of a part, not this rank's share
        if trainer.is_global_zero:
            worst = partial(task.worst_clips, cfg, _network_of(module), datamodule, device)
            _conclude(cfg, trainer, worst, datamodule, folder, metrics)
        done = True
    finally:
        finish(trainer.loggers, failed=not done)
    return TrainResult(metrics, folder, module)


def _fit_or_interrupt(
    trainer: pl.Trainer, module: pl.LightningModule, datamodule: SpeechDataModule, checkpoint: Path | None
) -> None:
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint)
    except SystemExit:
        # What Lightning makes of Ctrl-C. A sweep or the folds of an evaluation must not go on as if it were done.
        raise KeyboardInterrupt from None


def build_module(cfg: DictConfig, datamodule: SpeechDataModule) -> pl.LightningModule:
    """Network, adapted (frozen parts, LoRA) and wrapped for Lightning. Initialised from `cfg.seed` alone."""
    pl.seed_everything(cfg.seed, workers=True, verbose=False)  # whatever reading the corpus has drawn
    task: Task = instantiate(cfg.task)
    network = task.build(cfg, datamodule)
    adapted = instantiate(cfg.adaptation)(network)
    return instantiate(cfg.module, network=network if adapted is None else adapted)


def _network_of(module: pl.LightningModule) -> DescribedNetwork:
    network = module.network
    assert isinstance(network, DescribedNetwork)
    return network


def build_trainer(cfg: DictConfig, has_validation: bool) -> pl.Trainer:
    """Trainer with its callbacks and loggers; `precision: auto` becomes what this machine is fast with."""
    quiet_lightning()
    loggers = [instantiate(node) for node in (cfg.logger or {}).values() if node is not None]
    callbacks = list(_callbacks(cfg, has_validation, bool(loggers)))
    precision = cfg.trainer.precision
    if precision == "auto":
        precision = pick_precision(cfg.trainer.accelerator)
    return instantiate(
        cfg.trainer,
        precision=precision,
        callbacks=callbacks,
        logger=loggers or False,
        plugins=[AtomicCheckpoints()],
        default_root_dir=str(cfg.paths.run),
        _convert_="all",
    )


def _callbacks(cfg: DictConfig, has_validation: bool, has_loggers: bool) -> Iterable[pl.Callback]:
    """The configured callbacks, less those that have nothing to watch, draw on or write to in this run."""
    for node in (cfg.callbacks or {}).values():
        if node is None or (node.get("monitor") is not None and not has_validation):
            continue
        callback = instantiate(node)
        if isinstance(callback, ProgressBar) and not cfg.trainer.get("enable_progress_bar", True):
            continue
        if isinstance(callback, LearningRateMonitor) and not has_loggers:
            continue
        yield callback


@rank_zero_only
def begin(folder: RunFolder, cfg: DictConfig, loggers: list[Logger], anew: bool = False) -> None:
    """Write down what is run, before anything can go wrong. What an earlier run left is not this one's result.

    Args:
        folder: to write into.
        cfg: composed configuration.
        loggers: get it too.
        anew: there is no checkpoint to go on from; those of an earlier run in the folder are removed.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    for stale in [folder.metrics, *([folder.last_checkpoint, folder.best_checkpoint] if anew else [])]:
        stale.unlink(missing_ok=True)
    remove_leftovers(folder.path / "checkpoints")
    resolved = write_config(cfg, folder.config)
    write_json(folder.environment, describe_environment())
    for logger in loggers:
        logger.log_hyperparams(resolved)


def _check_trained(trainer: pl.Trainer) -> dict[str, float]:
    """Metrics of the training.

    Raises:
        TrainError: no step was done: a run must not look like a success then.
    """
    if trainer.global_step == 0:
        raise TrainError(
            f"not one step was trained in {trainer.max_epochs} epochs of {trainer.num_training_batches} batches; check "
            "trainer.max_epochs, trainer.limit_train_batches and that the training part fills a batch"
        )
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _choose_and_test(
    cfg: DictConfig, trainer: pl.Trainer, module: pl.LightningModule, datamodule: SpeechDataModule, folder: RunFolder
) -> dict[str, float]:
    """Leave the chosen weights in the network, and score the test part with them."""
    if datamodule.parts.validation and folder.best_checkpoint.is_file():
        load_trained(_network_of(module), folder.best_checkpoint)
    if not cfg.test or not datamodule.parts.test:
        return {}
    trainer.test(module, datamodule=datamodule, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _conclude(
    cfg: DictConfig,
    trainer: pl.Trainer,
    worst_clips: Callable[[], Sequence[WrongClip]],
    datamodule: SpeechDataModule,
    folder: RunFolder,
    metrics: dict[str, float],
) -> None:
    """Write what the run came to, and show it in the trackers."""
    write_json(folder.metrics, {name: value if math.isfinite(value) else None for name, value in metrics.items()})
    write_json(folder.bad_clips, datamodule.bad_clips)
    shown = [logger for logger in trainer.loggers if shows_more(logger)]
    if not shown or cfg.trainer.get("fast_dev_run"):
        return
    publish(shown, folder, metrics, worst_clips(), datamodule.utterances)


def show_plan(cfg: DictConfig) -> None:
    """Print what a run will need, and write it to `planning.output` if that is given.

    Raises:
        PlanError: a run that cannot be planned.
    """
    plan = plan_run(cfg)
    print_plan(plan)
    if cfg.planning.output is not None:
        write_plan(plan, Path(cfg.planning.output))


def main(cfg: DictConfig) -> float | None:
    """Train one configuration; called by Hydra, once per run of a sweep.

    Returns:
        The value of `cfg.optimised_metric`, for a sweeper; None of a run that was only planned.

    Raises:
        TrainError: a sweep asks for a metric that the run does not have.
    """
    hydra_config = HydraConfig.get()
    sweeping = hydra_config.mode == RunMode.MULTIRUN
    if (
        sweeping
        and "ddp" in str(cfg.trainer.get("strategy")).lower()
        and hydra_config.launcher._target_.endswith("BasicLauncher")
    ):
        # Lightning starts the other ranks by this command line, and each would run the whole sweep.
        raise TrainError("a sweep of distributed runs needs processes of its own: add launcher=local or launcher=slurm")
    if cfg.plan:
        show_plan(cfg)
        return None
    cfg.paths.run = hydra_config.runtime.output_dir
    result = fit(cfg)
    rank_zero_info("run folder: %s", result.run_folder.path)
    value = result.metrics.get(cfg.optimised_metric)
    if value is None and sweeping:
        raise TrainError(f"optimised_metric={cfg.optimised_metric}: the run has {', '.join(sorted(result.metrics))}")
    return value


if __name__ == "__main__":
    run(main, config_name="train")
