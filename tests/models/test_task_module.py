"""What all tasks' modules do alike, in Lightning's own loop."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.task_module import TaskModule


class _Line(DescribedNetwork):
    architecture = {"line": True}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 1)


class _Steep(TaskModule):
    """A loss whose gradient is far above any limit; takes down the norm that the optimiser saw."""

    def __init__(self, fused: bool) -> None:
        super().__init__(_Line(), partial(torch.optim.AdamW, fused=fused), None, 1e-3, 1e-3, None)
        self.norms: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = 1e3 * self.network.head(batch).float().square().mean()
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        self.norms.append(float(nn.utils.get_total_norm(gradients)))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_in_every_precision_and_optimiser(tmp_path: Path, precision: Any, fused: bool) -> None:
    module = _Steep(fused)
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=2, gradient_clip_val=0.5, precision=precision, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(2, 4)))  # type: ignore[arg-type]
    assert module.norms == pytest.approx([0.5, 0.5], rel=1e-2)
