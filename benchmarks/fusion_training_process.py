"""One side of `benchmarks.fusion_training`, in a process of its own, so that its memory is nobody else's.

    python -m benchmarks.fusion_training_process JOB.json RESULT.json

The job has `options` of pixel_mm.train, `scores`, `batches` (a file), `warm_up` and `steps`; the result has losses and
seconds of each step, and bytes of resident memory. Memory counts from when all libraries are loaded and have been used
once; its highest is the kernel's own mark (VmHWM), set back before the first step.
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.data.fusion.batch import FusionBatch
from pixel_mm.models.checkpoint import put_weights
from pixel_mm.models.freezing import trained_parameters
from pixel_mm.models.fusion.hidden_cache import HiddenStateCache
from pixel_mm.models.fusion.module import FusionModule
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.models.optimisation import parameter_groups
from pixel_mm.training.fusion_task import build_network
from pixel_mm.training.hidden_states import first_layer


def configure(options: Sequence[str]) -> DictConfig:
    """The fusion recipe with options, in float32."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("train", ["experiment=fusion", "trainer.precision=32-true", "trainer.accelerator=cpu", *options])


def save_batches(batches: Sequence[FusionBatch], path: Path) -> None:
    """Write batches, for `read_batches`."""
    torch.save([vars(batch) for batch in batches], path)


def read_batches(path: Path) -> list[FusionBatch]:
    """Batches, mapped from the disk."""
    return [FusionBatch(**fields) for fields in torch.load(path, weights_only=True, mmap=True)]


def build(cfg: DictConfig, scores: Sequence[str], batches: Sequence[FusionBatch]) -> FusionModule:
    """The module to train, with the states of its batches where it lacks the lower layers."""
    torch.manual_seed(cfg.seed)
    module: FusionModule = instantiate(cfg.module, network=build_network(cfg, scores, first_layer(cfg)))
    backbone = module.network.backbone
    if backbone.first_layer:
        module.network.states = _states(cfg, backbone, backbone.first_layer)
        missing = module.network.states.missing(_prompts(batches))
        assert not missing, "prepare keeps the states"
        module.network.let_encoders_go()  # it keeps their frames, too
    module.log_part = lambda *a: None  # type: ignore[method-assign]  # there is no trainer to log to
    return module.train()


def prepare(cfg: DictConfig, scores: Sequence[str], batches: Sequence[FusionBatch]) -> None:
    """Keep frames, hidden states below the lowest block, and weights of an adapter for all sides to begin with."""
    module = build(cfg, scores, batches)
    torch.save(dict(trained_parameters(module.network)), _start(cfg))
    network = module.network
    for batch in batches:
        if module.frames is not None and len(batch.audio_rows):
            module.frames(network, batch.waveform, batch.num_samples, batch.audio_hashes)
    _states(cfg, network.backbone, network.layers[0]).build(_prompts(batches))


def _start(cfg: DictConfig) -> Path:
    return Path(cfg.paths.cache) / "adapter.pt"


def _states(cfg: DictConfig, backbone: Any, layer: int) -> HiddenStateCache:
    return HiddenStateCache(Path(cfg.paths.cache) / "hidden_states", backbone, layer)


def _prompts(batches: Sequence[FusionBatch]) -> list[Prompt]:
    return [Prompt(batch.input_ids, batch.attention_mask) for batch in batches]


def train(module: FusionModule, batches: Sequence[FusionBatch], steps: int) -> tuple[list[float], list[float]]:
    """Losses and seconds of steps: forward, backward and optimiser, over the batches again and again."""
    optimizer = module.optimizer(parameter_groups(module.network, module.head_learning_rate, 0.0))
    losses, seconds = [], []
    for step in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = module.training_step(batches[step % len(batches)], step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    return losses, seconds


def _use_libraries() -> None:
    """Whatever torch loads and keeps at its first product, backward pass and step."""
    layer = torch.nn.Linear(256, 256)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    for _ in range(2):
        torch.nn.functional.scaled_dot_product_attention(*[layer(torch.randn(1, 4, 64, 256))] * 3).sum().backward()
        optimizer.step()


def _memory(name: str) -> int:
    """Bytes of `VmRSS` or `VmHWM`."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def run(job: dict[str, Any]) -> dict[str, Any]:
    """What the job asks for."""
    torch.set_num_threads(job["threads"])
    cfg, batches = configure(job["options"]), read_batches(Path(job["batches"]))
    Path(cfg.paths.cache).mkdir(parents=True, exist_ok=True)
    if job["prepare"]:
        prepare(cfg, job["scores"], batches)
        return {}
    _use_libraries()
    _forget_peak()
    before = _memory("VmRSS")
    module = build(cfg, job["scores"], batches)
    put_weights(module.network, torch.load(_start(cfg), weights_only=True))
    loading = _memory("VmHWM") - before
    _forget_peak()
    torch.manual_seed(cfg.seed)  # dropout
    losses, seconds = train(module, batches, job["steps"])
    return {
        "losses": losses,
        "seconds": seconds[job["warm_up"] :],
        "loading_bytes": loading,
        "training_bytes": _memory("VmHWM") - before,
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
