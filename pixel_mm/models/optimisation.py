"""How trained weights move: groups with their learning rates, schedules over steps, and a running average."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pixel_mm.models.freezing import trained_parameters


def parameter_groups(
    network: nn.Module, head_learning_rate: float, encoder_learning_rate: float
) -> list[dict[str, Any]]:
    """Trained parameters as an optimiser takes them.

    Args:
        network: its encoder, pretrained, is trained more gently than what begins with random weights.
        head_learning_rate: of everything outside `encoder`.
        encoder_learning_rate: of everything inside.

    Returns:
        Up to four groups with `name` and `lr`; biases and normalisations are apart, without weight decay.

    Raises:
        ValueError: nothing is trained.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in trained_parameters(network).items():
        groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    if not groups:
        raise ValueError("no parameter is trained: the adaptation freezes all of the network")
    return [
        {
            "params": groups[inside, decays],
            "lr": encoder_learning_rate if inside else head_learning_rate,
            "name": f"{'encoder' if inside else 'head'}{'' if decays else '_no_decay'}",
            **({} if decays else {"weight_decay": 0.0}),
        }
        for inside, decays in sorted(groups)
    ]


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup_share: float = 0.25,
    start_factor: float = 0.04,
    end_factor: float = 1e-4,
) -> LambdaLR:
    """Up and down along cosines, once (Smith & Topin 2017), each group to its own rate.

    Args:
        optimizer: its groups' rates are the highest ones.
        total_steps: of the training.
        warmup_share: share of them that go up, 0..1.
        start_factor: first rate, as a share of the highest.
        end_factor: last rate, as a share of the highest.
    """
    return LambdaLR(optimizer, partial(_one_cycle_factor, total_steps, warmup_share, start_factor, end_factor))


def cosine_with_warmup(optimizer: Optimizer, total_steps: int, warmup_share: float = 0.1) -> LambdaLR:
    """Up along a line from 0, then down along a cosine to 0; arguments as in `one_cycle`."""
    return LambdaLR(optimizer, partial(_warmup_factor, total_steps, warmup_share))


def _one_cycle_factor(total: int, share: float, start: float, end: float, step: int) -> float:
    top = max(share * total - 1, 0.0)
    if step < top:
        return _cosine(start, 1.0, step / top)
    return _cosine(1.0, end, min(1.0, (step - top) / max(total - 1 - top, 1.0)))


def _warmup_factor(total: int, share: float, step: int) -> float:
    top = share * total
    return (step + 1) / (top + 1) if step < top else _cosine(1.0, 0.0, min(1.0, (step - top) / max(total - top, 1)))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


Schedule = Callable[..., LambdaLR]


class WeightAverage:
    """Exponential moving average of weights (Polyak & Juditsky 1992), which can change places with them.

    The average of a young training is a plain mean of the steps so far, so that it does not remember the beginning.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        """Begin with the weights as they are.

        Args:
            parameters: what is averaged, by name.
            decay: share of the old average that a step keeps, 0..1, exclusive.

        Raises:
            ValueError: a decay outside.
        """
        if not 0 < decay < 1:
            raise ValueError(f"module.average_decay is {decay}; give a number between 0 and 1, such as 0.99, or null")
        self._parameters = dict(parameters)
        self._other = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._decay = decay
        self.num_updates = 0
        self.in_use = False

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.num_updates += 1
        for name, parameter in self._parameters.items():  # which may have moved to a GPU
            self._other[name] = self._other[name].to(parameter.device)
        gain = max(1 - self._decay, 1 / self.num_updates)
        torch._foreach_lerp_(list(self._other.values()), list(self._parameters.values()), gain)

    @torch.inference_mode(False)  # validation runs in it, and what it makes could not be averaged into later
    @torch.no_grad()
    def use(self, averaged: bool) -> None:
        """Let the network compute with the averaged weights, or with those of the last step."""
        if averaged == self.in_use:
            return
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self._other[name])
            self._other[name] = kept
        self.in_use = averaged

    def weights(self, averaged: bool) -> dict[str, Tensor]:
        """Averaged weights or those of the last step, whichever the network computes with."""
        present = {name: parameter.detach() for name, parameter in self._parameters.items()}
        return present if averaged == self.in_use else dict(self._other)

    @torch.no_grad()
    def load(self, averaged: Mapping[str, Tensor], num_updates: int) -> None:
        """Go on from a checkpoint; the network then computes with the weights of the last step."""
        for name, value in averaged.items():
            self._other[name].copy_(value)
        self.num_updates, self.in_use = num_updates, False
