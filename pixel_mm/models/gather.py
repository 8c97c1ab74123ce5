"""Rows of all processes on each of them, so that a loss over a batch is the same however many devices share it."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def is_alone() -> bool:
    """Whether there is one process only."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def gather_lists(items: Sequence[T]) -> list[T]:
    """Concatenate the lists of all ranks, whose tensors are on the CPU: what no gradient goes through, of any length.

    Returns:
        A list by rank, the same everywhere; of `items` alone where there is one process.
    """
    if is_alone():
        return list(items)
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, list(items))
    return [item for each in gathered for item in each]


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the rows of all ranks; gradients find their way back.

    With every rank computing the same loss of the result, and gradients averaged over ranks (as DistributedDataParallel
    does), training takes the steps that one process would take with the whole batch.

    Args:
        rows: [B, ...], B may differ from rank to rank.

    Returns:
        [sum of B, ...], by rank; `rows` itself where there is one process.
    """
    if is_alone():
        return rows
    result: Tensor = _GatherRows.apply(rows)
    return result


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        count = torch.tensor([rows.shape[0]], device=rows.device)
        gathered = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, count)
        ctx.counts = [int(number) for number in gathered]
        # The collective wants equal sizes: short ones are filled up, and cut again.
        filled = rows.new_zeros(max(ctx.counts), *rows.shape[1:])
        filled[: rows.shape[0]] = rows
        parts = [torch.empty_like(filled) for _ in ctx.counts]
        dist.all_gather(parts, filled)
        return torch.cat([part[:number] for part, number in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # The sum over ranks: the averaging that follows divides by their number.
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        rank = dist.get_rank()
        start = sum(ctx.counts[:rank])
        return total[start : start + ctx.counts[rank]]
