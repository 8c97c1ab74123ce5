"""Several folds at once, each in a process of its own.

Small networks don't keep two cores busy with one training; two trainings on a core each take far less time. What the
folds share, the states of a frozen trunk, is made before.
"""

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from pixel_mm.evaluation.fold_training import FoldTrainer, Trainer
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.evaluation.preparation import EvaluateError, Preparation
from pixel_mm.evaluation.protocols import Fold

_WATCH_SECONDS = 1.0


class FoldJob:
    """Trains and tests a fold by a configuration, in whatever process it is called in."""

    def __init__(self, cfg: DictConfig, train: Trainer) -> None:
        """Take what can be sent to another process.

        Args:
            cfg: of the evaluation.
            train: trains one fold; a function of a module, so that it can be sent.
        """
        self._config = OmegaConf.to_yaml(cfg)
        self._train = train

    def __call__(self, fold: Fold, seed: int, place: Path) -> Predictions:
        """Predictions on the fold's test part; see `FoldTrainer`."""
        return train_fold(_fold_trainer(self._config, self._train), fold, seed, place)


def train_fold(trainer: FoldTrainer, fold: Fold, seed: int, place: Path) -> Predictions:
    """Predictions on the fold's test part; the fold's model is kept if the configuration says so."""
    made = trainer(fold, seed, place)
    if not trainer.config.keep_checkpoints:
        shutil.rmtree(place / "checkpoints", ignore_errors=True)
    return made


@contextmanager
def processes(jobs: int) -> Iterator[Executor | None]:
    """As many processes, which share the cores between them; None for one job, which needs no other process.

    Raises:
        EvaluateError: less than one.
    """
    if jobs < 1:
        raise EvaluateError(f"jobs is {jobs}; give 1, or how many folds are trained at once")
    if jobs == 1:
        yield None
        return
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start, (threads,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _start(threads: int) -> None:
    """Begin a process: the resolvers that configurations use, its share of the cores, and an end with its parent."""
    setup_globals()
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Leave when the parent is gone, however it went: a pool's process would train on for hours, for nobody."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


@lru_cache(maxsize=1)  # a process reads the corpus once
def _fold_trainer(config: str, train: Trainer) -> FoldTrainer:
    cfg = OmegaConf.create(config)
    assert isinstance(cfg, DictConfig)
    cfg.trainer.enable_progress_bar = False  # bars of several processes would overwrite one another
    return FoldTrainer(cfg, Preparation(cfg).data, train)
