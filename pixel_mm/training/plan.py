"""What a fusion run will need, before anything is downloaded: parameters, disk, memory, work, and which GPU holds it.

    python -m pixel_mm.train experiment=fusion backbone=pixel_30b plan=true 'planning.gpus=[rtx4090_24,a100_80]'

Two ways to train are planned side by side: the whole model, and the layers from the lowest block on with hidden states
from the disk (`hidden_states.enabled=true`). `benchmarks.fusion_training` holds the memory against measured runs.

    memory = frozen weights + trained weights + gradients + Adam's two moments (Kingma & Ba 2015)
             + what a step holds (`pixel_mm.training.plan_step`) + allowance
    step   = the larger of work / (published speed * utilisation) and frozen weights read once for each pass / bandwidth
             (roofline model, Williams et al. 2009)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch._subclasses.fake_tensor import FakeTensorMode

from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.training.plan_parts import (
    EncoderSizes,
    build_parts,
    encoder_sizes,
    language_model_sizes,
    stored_bytes,
)
from pixel_mm.training.plan_step import StepNeeds, StepShape, step_needs

MODES = {"upper layers": True, "whole model": False}
_HEADER, _BLOCK = 128, 4096  # of a .npy file, and what file systems round its size up to


class PlanError(ValueError):
    """A run that cannot be planned."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a training process holds when it holds most, less the allowance.

    Attributes:
        frozen: weights of language model and encoders.
        trained: weights of adapter and heads, float32.
        optimiser: Adam's two moments of each, and the running average where there is one.
        step: inputs, activations, gradients and passing results.
    """

    frozen: int
    trained: int
    optimiser: int
    step: int

    @property
    def total(self) -> int:
        """Sum."""
        return self.frozen + self.trained + self.optimiser + self.step


@dataclass(frozen=True)
class ModePlan:
    """One way to train.

    Attributes:
        memory: of the process.
        step: of a batch.
        frozen_passes: how often a step reads the frozen weights.
    """

    memory: Memory
    step: StepNeeds
    frozen_passes: int


@dataclass(frozen=True)
class Plan:
    """What a run needs.

    Attributes:
        parameters: by "trained", "frozen below the adapter", "frozen above", "vocabulary".
        disk: bytes by "hidden states", "frames", "checkpoints".
        shape: of the batch that was planned.
        layers: that get a block.
        modes: by the names of `MODES`; "upper layers" is absent where the adapter needs the whole model.
        devices: by name, as `conf/planning` has them.
        settings: `utilisation` and `allowance_gib`.
    """

    parameters: Mapping[str, int]
    disk: Mapping[str, int]
    shape: StepShape
    layers: tuple[int, ...]
    modes: Mapping[str, ModePlan]
    devices: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, float]

    def free_bytes(self, mode: str, device: str) -> float:
        """What a device has left; negative where the run doesn't fit."""
        memory = (self.devices[device]["memory_gib"] - self.settings["allowance_gib"]) * 2**30
        return memory - self.modes[mode].memory.total

    def seconds_per_step(self, mode: str, device: str) -> float:
        """By the roofline model; frames are kept, so encoders take no time."""
        plan, speeds = self.modes[mode], self.devices[device]
        kind = "float32_tflops" if self.shape.autocast is None else "bfloat16_tflops"
        work = plan.step.flops / (speeds[kind] * 1e12 * self.settings["utilisation"])
        return max(work, plan.memory.frozen * plan.frozen_passes / (speeds["gigabytes_per_second"] * 1e9))


def plan_run(cfg: DictConfig) -> Plan:
    """Plan the run of a configuration.

    Args:
        cfg: composed from conf/train.yaml with experiment=fusion.

    Raises:
        PlanError: another task, or a device that is not in the table.
        ValueError: see `build_parts`.
    """
    if not str(cfg.task._target_).endswith(".FusionTask"):
        raise PlanError(
            f"plan=true plans experiment=fusion alone, and this is {cfg.experiment_name}; leave plan out to train it"
        )
    if unknown := [name for name in cfg.planning.gpus if name not in cfg.planning.devices]:
        known = ", ".join(cfg.planning.devices)
        raise PlanError(f"planning.gpus: {', '.join(unknown)} is none of {known}; add it to planning.devices")
    scores = _scores_and_sizes(cfg)
    settings = cfg.planning
    shape = StepShape(
        settings.batch_rows, settings.batch_tokens, settings.answer_tokens, settings.seconds_per_voice, _autocast(cfg)
    )
    encoders = encoder_sizes(cfg)
    soft = cfg.model.adapter is not None and str(cfg.model.adapter._target_).endswith(".SoftTokenAdapter")
    modes = {
        name: _plan_mode(cfg, encoders, scores, shape, upper) for name, upper in MODES.items() if not (upper and soft)
    }
    with FakeTensorMode():
        parts = build_parts(cfg, encoders, scores, upper=False)
        sizes, trained = language_model_sizes(parts), sum(each.numel() for each in parts.trained())
        width, state_bytes = parts.model.config.hidden_size, parts.model.dtype.itemsize
    return Plan(
        {
            "trained": trained,
            "frozen below the adapter": sizes.below,
            "frozen above": sizes.above,
            "vocabulary": sizes.head,
        },
        {
            "hidden states": settings.rows * _file(settings.tokens_per_row * width * state_bytes),
            "frames": sum(_frames_file(settings, each) * settings.rows for each in encoders.values()),
            "checkpoints": trained * 4 * (4 + 2 * (cfg.module.average_decay is not None)),  # last with Adam, and best
        },
        shape,
        parts.layers,
        modes,
        {name: dict(settings.devices[name]) for name in settings.gpus},
        {"utilisation": settings.utilisation, "allowance_gib": settings.allowance_gib},
    )


def _file(content: float) -> int:
    """Bytes that a file of states takes on the disk."""
    return -(-(round(content) + _HEADER) // _BLOCK) * _BLOCK


def _frames_file(settings: Any, encoder: EncoderSizes) -> int:
    return _file(settings.seconds_per_voice * encoder.frame_rate_hz * encoder.width * 2)


def _plan_mode(
    cfg: DictConfig, encoders: dict[str, EncoderSizes], scores: tuple[str, ...], shape: StepShape, upper: bool
) -> ModePlan:
    with FakeTensorMode():
        whole = build_parts(cfg, encoders, scores, upper=False)
        sizes, width = language_model_sizes(whole), whole.model.dtype.itemsize
        parts = build_parts(cfg, encoders, scores, upper) if upper else whole
        step = step_needs(parts, shape)
        trained = sum(parameter.nbytes for parameter in parts.trained())
    four_bits = (cfg.backbone.get("options") or {}).get("quantization_config") is not None
    held = {"above": sizes.above, **({} if upper else {"below": sizes.below})}
    frozen = sum(stored_bytes(count, sizes.quantised[side], width, four_bits) for side, count in held.items())
    frozen += sizes.head * width
    if not upper or cfg.module.frames is None:  # else they are let go of, once their frames are kept
        frozen += sum(each.bytes for each in encoders.values())
    average = trained if cfg.module.average_decay is not None else 0
    memory = Memory(frozen, trained, 2 * trained + average, step.bytes)
    return ModePlan(memory, step, 3 if parts.recompute else 2)


def _autocast(cfg: DictConfig) -> torch.dtype | None:
    """Number format of products; `auto` is what every device of the table is fast with."""
    kinds = {"auto": torch.bfloat16, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    return kinds.get(str(cfg.trainer.precision))


def _scores_and_sizes(cfg: DictConfig) -> tuple[str, ...]:
    """Names of scores; with `planning.from_data`, those that there are labels of, and sizes written into `planning`."""
    if not cfg.planning.from_data:
        return tuple(FUSION_SCORES)
    data: Any = instantiate(cfg.datamodule)
    data.setup()
    data.use_tokenizer(instantiate(cfg.backbone).tokenizer())
    places = [place for part in data.parts for place in part]
    batches = [(len(batch), batch.input_ids.shape[1], batch) for batch in data.loader(places)]
    _, _, largest = max(batches, key=lambda each: each[0] * each[1])
    answered = max(int((batch.labels >= 0).sum(1).max()) for _, _, batch in batches)
    settings = cfg.planning
    settings.rows = len(places)
    settings.tokens_per_row = float(sum(int(b.attention_mask.sum()) for _, _, b in batches)) / len(places)
    settings.batch_rows, settings.batch_tokens = len(largest), largest.input_ids.shape[1]
    settings.answer_tokens = max(answered, 1)
    settings.seconds_per_voice = max(float(b.num_samples.max()) for _, _, b in batches if len(b.num_samples)) / 16_000
    scores: tuple[str, ...] = data.scores
    return scores
