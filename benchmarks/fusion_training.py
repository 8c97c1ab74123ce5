"""What the fusion adapter leaves alone, and what training it costs.

    python -m benchmarks.fusion_training --output FILE.json [--quick]

Measures (the numbers are those of the targets):
  1  logits that differ from the bare backbone's in any bit: untrained with voices; trained without; trained, rows of a
     batch that has voices in others; each step of cached generation. SmolLM2 as published, Qwen3 and Qwen3-MoE random
  4  training on kept hidden states, without the layers below the lowest block, against the ordinary forward pass: the
     same adapter, batches of the fusion recipe and losses; steps per second and memory. Processes take turns; frames of
     the encoders come from the disk on both sides, and as in training the whole model keeps its encoders, the upper
     layers don't. Blocks where the recipe has them, four, and in two choices of two
  5  memory that `plan=true` foretells, against what training processes hold
  6  what a checkpoint holds beside adapter and heads, and its size

Speed is that of forward, backward and optimiser. Memory is resident memory above a process that has loaded its
libraries and nothing else, at its highest in the steps; there large tensors go back to the system when they end
(MALLOC_MMAP_THRESHOLD_), which costs time, so that speed has processes of its own. Takes about 10 minutes on two cores
and 4 GiB; --quick about a minute, on a tiny backbone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate

from benchmarks.fusion_training_process import configure, read_batches, save_batches
from benchmarks.fusion_untouched import checkpoint_measures, untouched_measures
from benchmarks.report import Measure, print_table, write_report
from pixel_mm.data.fusion.batch import FusionBatch
from pixel_mm.training.plan import plan_run

CACHED, WHOLE = "hidden_states.enabled=true", "hidden_states.enabled=false"
SIDES = {"cached": CACHED, "whole": WHOLE}
QUICK = ("backbone=tiny_moe", "encoder=whisper_micro_random")
# A language model of Pixel's architecture between tiny and Pixel's own, with random weights over bytes: 118 M.
MIDDLE_MOE = (
    "backbone=tiny_moe",
    *(
        f"backbone.config.{name}={value}"
        for name, value in (
            ("hidden_size", 512),
            ("num_attention_heads", 8),
            ("head_dim", 64),
            ("moe_intermediate_size", 256),
            ("num_experts", 32),
            ("num_experts_per_tok", 4),
        )
    ),
)
# Placements of blocks in the top quarter: by their lowest block, ever fewer layers are left to train through.
PLACEMENTS = {
    "recipe, blocks before every other layer of the top quarter": "model.layers=null",
    "lower two, blocks before the last layer but three and the last but one": "model.layers=[-4,-2]",
    "upper two, blocks before the last layer but two and the last": "model.layers=[-3,-1]",
}


@dataclass(frozen=True)
class Setting:
    """What all processes share.

    Attributes:
        folder: for jobs, batches and caches.
        options: of pixel_mm.train.
        scores: that have labels.
        batches: file of batches.
        threads: of each process.
    """

    folder: Path
    options: tuple[str, ...]
    scores: tuple[str, ...]
    batches: Path
    threads: int

    def run(
        self, *options: str, steps: int = 0, warm_up: int = 0, prepare: bool = False, trims: bool = False
    ) -> dict[str, Any]:
        """Result of one process; `trims`: tensors of 1 MiB and more go back to the system when they end."""
        job, result = self.folder / "job.json", self.folder / "result.json"
        places = [f"paths.cache={self.folder / 'cache'}", f"paths.run={self.folder / 'run'}"]
        content = {
            "options": [*self.options, *places, *options],
            "scores": list(self.scores),
            "batches": str(self.batches),
            "steps": steps,
            "warm_up": warm_up,
            "prepare": prepare,
            "threads": self.threads,
        }
        job.write_text(json.dumps(content))
        environment = {**os.environ, **({"MALLOC_MMAP_THRESHOLD_": str(2**20)} if trims else {})}
        command = [sys.executable, "-m", "benchmarks.fusion_training_process", str(job), str(result)]
        subprocess.run(command, check=True, env=environment)
        found: dict[str, Any] = json.loads(result.read_text())
        return found


def choose_batches(options: Sequence[str], count: int) -> tuple[list[FusionBatch], tuple[str, ...]]:
    """The first batches of the recipe's training, and the scores that have labels."""
    cfg = configure(options)
    data: Any = instantiate(cfg.datamodule)
    data.setup()
    data.use_tokenizer(instantiate(cfg.backbone).tokenizer())
    return [batch for _, batch in zip(range(count), data.train_dataloader(), strict=False)], data.scores


def speed_measures(setting: Setting, layers: str, name: str, rounds: int) -> list[Measure]:
    """Measure 4 of one choice of layers."""
    count = len(read_batches(setting.batches))
    setting.run(layers, WHOLE, prepare=True)
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, option in SIDES.items():
            results[side].append(setting.run(layers, option, steps=2 * count, warm_up=count))
    speeds = {side: np.array([count / sum(each["seconds"]) for each in found]) for side, found in results.items()}
    ratios = speeds["cached"] / speeds["whole"]
    held = {side: setting.run(layers, option, steps=count, trims=True) for side, option in SIDES.items()}
    losses = {side: np.array(found[0]["losses"]) for side, found in results.items()}
    share = held["cached"]["training_bytes"] / held["whole"]["training_bytes"]
    where = f"{name}, {count} batches of the recipe, float32, {setting.threads} threads"
    against = "the whole model in memory, ordinary forward pass, same adapter and batches"
    spread = (float(ratios.min()), float(ratios.max()))
    tag = name.split(",")[0].replace(" ", "-")
    return [
        Measure(f"4-loss-{tag}", f"largest difference of a step's loss over {2 * count} steps: {where}",
                float(np.abs(losses["cached"] - losses["whole"]).max()), "nat", "<= 1e-4", None, against),
        Measure(f"4-speed-{tag}", f"steps per second, median and spread of {rounds} rounds: {where}",
                float(np.median(ratios)), "times", ">= 3", spread, against),
        Measure(f"4-memory-{tag}", f"highest resident memory in the steps: {where}", share, "of it", "<= 0.5", None,
                against),
        *(Measure(f"4-{side}-{tag}", f"{side}: {where}", float(np.median(speeds[side])), "steps/s") for side in SIDES),
        *(Measure(f"4-{side}-{tag}-memory", f"{side}: {where}", held[side]["training_bytes"] / 2**20, "MiB")
          for side in SIDES),
    ]  # fmt: skip


def plan_measures(setting: Setting, configurations: dict[str, tuple[str, ...]], count: int) -> list[Measure]:
    """Measure 5."""
    measures = []
    batches = read_batches(setting.batches)
    largest = {max(batches, key=lambda b: b.input_ids.numel()).keys, max(batches, key=_answer_tokens).keys}
    setting.run(WHOLE, prepare=True)
    for name, options in configurations.items():
        measured = setting.run(*options, steps=count, trims=True)["training_bytes"]
        planned = max(_planned(setting, options, batch) for batch in batches if batch.keys in largest)
        tag = name.split(",")[0].replace(" ", "-")
        measures += [
            Measure(f"5-{tag}", f"error of planned memory: {name}", abs(planned / measured - 1), "of it", "<= 0.15"),
            Measure(f"5-{tag}-planned", f"planned: {name}", planned / 2**20, "MiB"),
            Measure(f"5-{tag}-measured", f"highest resident memory in the steps: {name}", measured / 2**20, "MiB"),
        ]
    return measures


def _answer_tokens(batch: FusionBatch) -> int:
    """Tokens of the longest answer that is learnt."""
    return max(int((batch.labels >= 0).sum(1).max()), 1)


def _planned(setting: Setting, options: Sequence[str], batch: FusionBatch) -> int:
    """Bytes that the planner foretells for a batch, without the allowance of a GPU."""
    sizes = {
        "batch_rows": len(batch),
        "batch_tokens": batch.input_ids.shape[1],
        "answer_tokens": _answer_tokens(batch),
        "seconds_per_voice": float(batch.num_samples.max()) / 16_000,
    }
    cfg = configure([*setting.options, *options, *(f"planning.{name}={value}" for name, value in sizes.items())])
    mode = "upper layers" if cfg.hidden_states.enabled else "whole model"
    return plan_run(cfg).modes[mode].memory.total


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    data = os.environ.get("PIXEL_MM_DATA")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    for name in ("emodb", "emobank"):
        default = Path(data, name) if data else None
        parser.add_argument(f"--{name}-root", type=Path, default=default, help="default: below PIXEL_MM_DATA")
    parser.add_argument("--batches", type=int, default=6, help="of the recipe, to train on; one in six has answers")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each side of measure 4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="smoke run on a tiny backbone; its numbers mean nothing")
    options = parser.parse_args(arguments)
    for name in ("emodb", "emobank"):
        root = getattr(options, f"{name}_root")
        if root is None:
            parser.error(f"--{name}-root is not given, and PIXEL_MM_DATA is not set")
        if not root.is_dir():
            parser.error(f"--{name}-root: {root} is no folder")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    shared = (
        "data=emodb",
        f"data.root={options.emodb_root}",
        f"datamodule.sources.pairs.sentences.root={options.emobank_root}",
    )
    model = QUICK if options.quick else ("backbone=smollm2_135m",)
    count, rounds = (2, 1) if options.quick else (options.batches, options.rounds)
    measures = untouched_measures(options.quick)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        setting = _setting(folder, (*shared, *model), count, options.threads)
        for name, layers in PLACEMENTS.items():
            measures += speed_measures(setting, layers, name, rounds)
        configurations: dict[str, tuple[str, ...]] = {
            "whole, the recipe": (WHOLE,),
            "upper, layers from the lowest block on": (CACHED,),
            "recomputed, upper layers computed again in the backward pass": (CACHED, "model.recompute=true"),
        }
        measures += plan_measures(setting, configurations, count)
        middle = _setting(folder / "moe", (*shared, *(QUICK if options.quick else MIDDLE_MOE)), count, options.threads)
        measures += plan_measures(middle, {"experts, Qwen3-MoE of random weights, whole": (WHOLE,)}, count)
        measures += checkpoint_measures(setting.options, setting.scores, folder)
    print_table(measures)
    write_report(options.output, "fusion_training", measures, options.quick)


def _setting(folder: Path, options: tuple[str, ...], count: int, threads: int) -> Setting:
    folder.mkdir(exist_ok=True)
    batches, scores = choose_batches(options, count)
    save_batches(batches, folder / "batches.pt")
    return Setting(folder, options, scores, folder / "batches.pt", threads)


if __name__ == "__main__":
    main()
