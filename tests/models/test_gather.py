"""Two processes that share a batch take the step that one would with the whole of it."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from pixel_mm.models.emotion.losses import ConcordanceLoss
from pixel_mm.models.gather import gather_lists, gather_rows

SHARES = ([0, 2, 4], [1, 3])  # uneven, as batches are dealt


def problem() -> tuple[torch.nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3), torch.randn(5, 4), torch.rand(5, 3)


def share_of(rank: int, folder: str) -> None:
    # A file to meet at: a port may be taken, and the process that keeps it may leave while the other still asks it.
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model, inputs, ratings = problem()
    parallel = DistributedDataParallel(model)
    scores = gather_rows(parallel(inputs[SHARES[rank]]))
    loss = ConcordanceLoss()(scores, gather_rows(ratings[SHARES[rank]]))
    loss.backward()
    listed = gather_lists([(row, inputs[row]) for row in SHARES[rank]])
    torch.save({"loss": loss.detach(), "gradient": model.weight.grad, "listed": listed}, Path(folder) / f"{rank}.pt")
    dist.barrier()  # gloo aborts a process whose peer has gone while it still waits for it
    dist.destroy_process_group()


@pytest.mark.slow
def test_loss_and_gradients_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    model, inputs, ratings = problem()
    loss = ConcordanceLoss()(model(inputs), ratings)
    loss.backward()
    mp.spawn(share_of, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        theirs = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(theirs["loss"], loss.detach())
        torch.testing.assert_close(theirs["gradient"], model.weight.grad)
        assert [row for row, _ in theirs["listed"]] == [*SHARES[0], *SHARES[1]]
        assert all(torch.equal(values, inputs[row]) for row, values in theirs["listed"])


def test_one_process_keeps_its_rows() -> None:
    rows = torch.rand(3, 2)
    assert gather_rows(rows) is rows
    assert gather_lists([1, 2]) == [1, 2]
