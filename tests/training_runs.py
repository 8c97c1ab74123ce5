"""Trainings small enough for tests: the tone corpus, a random encoder of two narrow layers, one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.train import TrainResult

QUIET = ("trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", "trainer.accelerator=cpu")


def compose_train(*overrides: str, hydra: bool = False) -> DictConfig:
    """Configuration of `pixel_mm.train`; with Hydra's own part if asked for."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("train", list(overrides), return_hydra_config=hydra)


def tiny_overrides(corpus: Path, runs: Path) -> list[str]:
    """Options that make any experiment a tiny one on the tone corpus."""
    places = [f"data.root={corpus / 'manifest.csv'}", f"paths.run={runs / 'run'}", f"paths.cache={runs / 'cache'}"]
    # Tests compare numbers to more digits than bfloat16 has, which `auto` takes where the processor is made for it.
    return ["data=manifest", "data.label_source=mapped", "trainer.precision=32-true", *places, *QUIET]


def compose_tiny(corpus: Path, runs: Path, *overrides: str) -> DictConfig:
    """A configuration that trains in a second or two."""
    short = ["encoder=whisper_micro_random", "trainer.max_epochs=2", "datamodule.batching.max_clips_per_batch=6"]
    return compose_train(*short, "callbacks.learning_curves=null", *tiny_overrides(corpus, runs), *overrides)


def run_command(*arguments: str) -> None:
    """`python -m pixel_mm.train`, as people type it.

    Raises:
        CalledProcessError: it ended in an error; `stderr` says which.
        TimeoutExpired: it did not end in ten minutes.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONFIG_DIR.parent)}
    command = [sys.executable, "-m", "pixel_mm.train", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=600)


def weights(result: TrainResult) -> dict[str, Tensor]:
    """All weights and buffers of the trained network."""
    return {name: tensor.clone() for name, tensor in result.module.network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two networks are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Witness(pl.Callback):
    """Takes down the clips of every training batch; kills the run before a chosen one."""

    seen: list[tuple[int, int, tuple[str, ...]]] = []  # noqa: RUF012  # one list for all: Hydra makes the callback

    def __init__(self, kill_at: tuple[int, int] | None = None, by_keyboard: bool = False) -> None:
        self.kill_at = None if kill_at is None else tuple(kill_at)
        self.error = KeyboardInterrupt() if by_keyboard else RuntimeError("killed")

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch, batch_idx: int) -> None:
        place = (trainer.current_epoch, batch_idx)
        if place == self.kill_at:
            raise self.error
        self.seen.append((*place, batch.keys))
