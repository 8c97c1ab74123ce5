"""Two processes that share a batch have the loss and the gradients that one has of the whole of it."""

from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from pixel_mm.models.freezing import trained_parameters
from pixel_mm.models.fusion.global_batch import global_batch
from pixel_mm.models.fusion.module import FusionModule
from pixel_mm.training.sharding import average_gradients
from tests.models.fusion.test_fusion_module import Batch, make_batch, make_module

HEARD = ((0, 1), (), (3,))  # by rank, where the ranks have 2 rows, 1 and 1: one of them hears nobody
SHARES = ([0, 1], [2], [3])


def part(rank: int) -> Batch:
    """The rows of a rank."""
    whole, rows = make_batch((0, 1, 3)), SHARES[rank]
    voices = [place for place, row in enumerate(whole.audio_rows.tolist()) if row in HEARD[rank]]
    mine = {
        field.name: getattr(whole, field.name)[rows]
        for field in fields(Batch)
        if field.name not in ("waveform", "num_samples", "audio_rows", "audio_hashes")
    }
    return replace(
        whole,
        **mine,
        waveform=whole.waveform[voices],
        num_samples=whole.num_samples[voices],
        audio_rows=torch.tensor([rows.index(row) for row in HEARD[rank]], dtype=torch.int64),
        audio_hashes=tuple(whole.audio_hashes[place] for place in voices),
    )


def backward(module: FusionModule, batch: Batch, together: bool = True) -> Tensor:
    seen = module(batch)
    if together:
        seen = global_batch(seen, module.network.anchor())
    names = module.network.state_scores
    loss = module.losses(seen.output, seen.response.mean(), seen.targets, names, seen.has_text).total
    (loss + module.network.anchor()).backward()
    return loss.detach()


def share(rank: int, folder: str, together: bool) -> None:
    meeting = f"file://{folder}/meeting"
    patience = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=len(SHARES), timeout=patience)
    module = make_module().eval()
    loss = backward(module, part(rank), together)
    average_gradients(module.network)
    gradients = {name: parameter.grad for name, parameter in trained_parameters(module.network).items()}
    torch.save({"loss": loss, "gradients": gradients}, Path(folder, f"{rank}.pt"))
    dist.barrier()  # gloo aborts a process whose peer has gone while it still waits for it
    dist.destroy_process_group()


@pytest.mark.slow
def test_loss_and_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    module = make_module().eval()
    loss = backward(module, make_batch((0, 1, 3)))
    mp.spawn(share, (str(tmp_path), True), nprocs=len(SHARES))
    for rank in range(len(SHARES)):
        theirs = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(theirs["loss"], loss)
        for name, parameter in trained_parameters(module.network).items():
            torch.testing.assert_close(theirs["gradients"][name], parameter.grad, msg=name)


@pytest.mark.slow
def test_a_mean_of_each_processs_own_loss_would_be_another(tmp_path: Path) -> None:
    loss = backward(make_module().eval(), make_batch((0, 1, 3)))
    mp.spawn(share, (str(tmp_path), False), nprocs=len(SHARES))
    theirs = [torch.load(tmp_path / f"{rank}.pt", weights_only=True)["loss"] for rank in range(len(SHARES))]
    assert abs(torch.stack(theirs).mean() - loss) > 0.01


def test_one_process_keeps_its_batch() -> None:
    with torch.no_grad():
        seen = make_module()(make_batch())
    assert global_batch(seen, torch.tensor(0.0)) is seen
