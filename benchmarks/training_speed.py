"""Measure 3: clips trained per second, against `transformers.Trainer` with the stock Whisper feature extractor.

`benchmarks.emotion_speed` runs it with the others. All sides train the same regressor on the same clips with the same
losses, optimiser, effective batch, precision and threads:

  full           pixel_mm.train, the whole encoder fine-tuned on all frames
  cached-recipe  pixel_mm.train with the emotion recipe, whose frozen layers' states are kept on the disk. Running
                 those layers once is not timed: these are the later epochs
  cached-frozen  the same with the whole encoder frozen, and all frames
  stock          `transformers.Trainer`, the whole encoder fine-tuned on spectrograms padded to 30 s. They are computed
                 before the clock starts, which favours this side
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments

from benchmarks.report import Measure
from benchmarks.stock_training import StockTrainee, stock_examples
from pixel_mm.cli import CONFIG_DIR
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.models.emotion.module import EmotionModule
from pixel_mm.precision import pick_precision
from pixel_mm.train import build_module, build_trainer
from pixel_mm.training.trunk import use_trunk_cache

EFFECTIVE_BATCH = 16
STOCK_PER_STEP = 4  # clips of 30 s at once; four such batches make a step, or the memory would not do for 16
MAX_FRAMES = 3000  # of the longest clip there may be, 30 s
WARM_UP = 2  # steps that are not timed, each time a side begins
_PLAIN = ("encoder.last_layer=null", "model.states=null", "model.frame_stride=1", "model.stride_depth=0")
SIDES: Mapping[str, tuple[str, ...]] = {
    "full": ("adaptation=full", *_PLAIN),
    "cached-recipe": (),
    "cached-frozen": ("adaptation=frozen", *_PLAIN),
}


@dataclass
class Clock:
    """Clips and seconds of the steps after the warm-up.

    Attributes:
        warm_up: steps that are not timed.
        seconds: time of each step that is.
        clips: in each of those steps.
    """

    warm_up: int = WARM_UP
    seconds: list[float] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    _steps: int = 0
    _last: float = 0.0

    def step(self, clips: int) -> None:
        """Take down a step that has just ended."""
        now = time.perf_counter()
        self._steps += 1
        if self._steps > self.warm_up:
            self.seconds.append(now - self._last)
            self.clips.append(clips)
        self._last = now

    @property
    def speed(self) -> float:
        """Clips per second.

        Raises:
            ValueError: all steps went into the warm-up.
        """
        if not self.seconds:
            raise ValueError(f"{self._steps} steps warm up and none is left to time; train on more clips")
        return sum(self.clips) / sum(self.seconds)


class _LightningClock(pl.Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.clock.step(len(batch.index))


class _TrainerClock(TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.step(EFFECTIVE_BATCH)


def time_stock(cfg: DictConfig, data: SpeechDataModule, examples: list[dict[str, Tensor]], steps: int) -> Clock:
    """Train the stock side for some steps.

    Args:
        cfg: configuration of the "full" side.
        data: whose emotion labels count.
        examples: what `stock_examples` gave, at least a few.
        steps: to time, after the warm-up of one.
    """
    module = build_module(cfg, data)
    assert isinstance(module, EmotionModule)
    clock = Clock(warm_up=1)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=STOCK_PER_STEP,
            gradient_accumulation_steps=EFFECTIVE_BATCH // STOCK_PER_STEP,
            max_steps=steps + clock.warm_up,
            learning_rate=cfg.module.encoder_learning_rate,
            bf16=pick_precision(cfg.trainer.accelerator) == "bf16-mixed",
            use_cpu=not torch.cuda.is_available(),
            seed=cfg.seed,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        trainee = StockTrainee(module.network, module.losses)
        Trainer(trainee, arguments, train_dataset=examples, callbacks=[_TrainerClock(clock)]).train()
    return clock


def time_ours(cfg: DictConfig, data: SpeechDataModule, epochs: int) -> Clock:
    """Train with `pixel_mm` for some epochs; states of a frozen trunk are computed before the clock starts."""
    clock = Clock()
    module = build_module(cfg, data)
    cfg.trainer.max_epochs = epochs
    trainer = build_trainer(cfg, has_validation=False)
    trainer.callbacks.append(_LightningClock(clock))  # type: ignore[attr-defined]  # Lightning sets it unannounced
    use_trunk_cache(cfg, module.network, data, trainer.strategy.root_device)
    trainer.fit(module, datamodule=data)
    return clock


def configure(side: str, folder: Path, options: Sequence[str]) -> DictConfig:
    """Configuration of one of `SIDES`: the emotion recipe without augmentation and all that only shows or keeps."""
    quiet = ("trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", "augment=none")
    places = (f"paths.run={folder}", f"paths.cache={folder / 'cache'}", "++trainer.enable_checkpointing=false")
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("train", ["experiment=emotion", *SIDES[side], *quiet, *places, *options])
    cfg.callbacks, cfg.logger = None, None
    return cfg


def load_clips(cfg: DictConfig, clips: int) -> SpeechDataModule:
    """The corpus, of which only some clips are trained on.

    Args:
        cfg: as `configure` gives it.
        clips: how many to draw by seed; all where there are fewer.
    """
    # Three whole batches in a bucket, whatever their length: more buckets of so few clips would make smaller batches.
    cfg.datamodule.batching.buckets = max(clips // (3 * EFFECTIVE_BATCH), 1)
    cfg.datamodule.batching.max_clips_per_batch = EFFECTIVE_BATCH
    cfg.datamodule.batching.max_frames_per_batch = EFFECTIVE_BATCH * MAX_FRAMES
    data: SpeechDataModule = instantiate(cfg.datamodule)
    data.setup()
    rows = np.random.default_rng(cfg.seed).permutation(len(data.utterances))[:clips]
    data.use_split(rows.tolist(), (), ())
    return data


def training_speed(options: Sequence[str], clips: int = 240, stock_steps: int = 2, rounds: int = 3) -> list[Measure]:
    """Measure 3. The sides take turns, so that whatever else the machine does meets all of them.

    Args:
        options: the corpus, and further options of pixel_mm.train for all sides.
        clips: how many of the corpus's clips to use.
        stock_steps: of the stock side in each round, beside one to warm up; a step takes it a minute on two cores.
        rounds: turns of each side.
    """
    clocks: dict[str, list[Clock]] = {name: [] for name in ("stock", *SIDES)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cfg = configure("full", folder, options)
        data = load_clips(cfg, clips)
        examples = stock_examples(data.loader(data.parts.train), cfg.encoder.num_mels)
        for _ in range(rounds):
            clocks["stock"].append(time_stock(cfg, data, examples, stock_steps))
            for side in SIDES:
                epochs = 2 if side == "full" else 5
                clocks[side].append(time_ours(configure(side, folder, options), data, epochs))
    seconds = float(data.durations_seconds[data.parts.train].mean())
    return _measures(clocks, f"{data.corpus.title}, {len(data.parts.train)} clips of {seconds:.1f} s on average")


def _measures(clocks: Mapping[str, Sequence[Clock]], corpus: str) -> list[Measure]:
    per_step = np.mean([clips for clock in clocks["full"] for clips in clock.clips])
    setting = (
        f"{corpus}, {per_step:.1f} clips per step ({EFFECTIVE_BATCH} on the other side), "
        f"{torch.get_num_threads()} threads, {pick_precision('auto')}"
    )
    against = "transformers.Trainer, whole encoder, stock feature extractor (30 s padded, computed beforehand)"
    what = {
        "full": "pixel_mm.train, whole encoder fine-tuned",
        "cached-recipe": "pixel_mm.train, the emotion recipe on cached states of its frozen layers, later epochs",
        "cached-frozen": "pixel_mm.train, head trained on cached states of the frozen encoder, later epochs",
    }
    stock = _speeds(clocks["stock"])
    measures = []
    for side in SIDES:
        ratios = _speeds(clocks[side]) / stock
        spread = (float(ratios.min()), float(ratios.max()))
        target = ">= 5" if side == "full" else ">= 20"
        speed_up = f"speed-up, median and spread of {len(ratios)} rounds: {what[side]}; {setting}"
        measures += [
            Measure(f"3-{side}", speed_up, float(np.median(ratios)), "times", target, spread, against),
            Measure(f"3-{side}-speed", what[side], float(np.median(_speeds(clocks[side]))), "clips/s"),
        ]
    return [*measures, Measure("3-stock-speed", against, float(np.median(stock)), "clips/s")]


def _speeds(clocks: Sequence[Clock]) -> np.ndarray:
    return np.array([clock.speed for clock in clocks])
