"""Measures 1 and 6 of `benchmarks.fusion_training`: what the adapter leaves alone, and what a checkpoint holds."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from benchmarks.fusion_training_process import configure
from benchmarks.report import Measure
from pixel_mm.models.freezing import trained_parameters
from pixel_mm.models.fusion.backbone import Backbone, RandomBackbone
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.training.fusion_task import build_network

TEXTS = ("I'm fine, really.", "My father died on Monday.", "x", "What a day, and it isn't over yet!")
SCORES = ("valence", "arousal", "crisis")
HEARD, UNHEARD = (0, 2), [1, 3]
NEW_TOKENS = 8
_SMALL = {
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "initializer_range": 0.1,  # so that every part shows in the logits
}
RANDOM = {
    "qwen3": {**_SMALL, "model_type": "qwen3"},
    "qwen3-moe": {
        **_SMALL, "model_type": "qwen3_moe", "moe_intermediate_size": 96, "num_experts": 8, "num_experts_per_tok": 2
    },
}  # fmt: skip


def untouched_measures(quick: bool) -> list[Measure]:
    """Measure 1; quick leaves the published backbone out."""
    found = []
    for name in (*(() if quick else ("smollm2",)), *RANDOM):
        different = sum(int((ours != theirs).sum()) for ours, theirs in _pairs(name))
        compared = sum(theirs.numel() for _, theirs in _pairs(name))
        what = (
            f"of {compared} logits, those that differ from the bare backbone's: untrained and heard; trained and not "
            f"heard; trained, beside rows that are heard; {NEW_TOKENS} steps of cached generation: {name}, float32"
        )
        found.append(Measure(f"1-{name}", what, float(different), "logits", "<= 0"))
    return found


def _backbone(name: str) -> Backbone:
    if name in RANDOM:
        return RandomBackbone(RANDOM[name]).load()
    loaded: Backbone = instantiate(configure(["backbone=smollm2_135m"]).backbone).load()
    return loaded


def _prompt(backbone: Backbone, side: str = "right") -> Prompt:
    tokenizer: Any = backbone.tokenizer
    tokenizer.padding_side = side
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokens = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    return Prompt(tokens.input_ids, tokens.attention_mask)


@torch.no_grad()
def _pairs(name: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of the fused network and of the bare backbone."""
    bare, source = _backbone(name), _backbone(name)
    cfg = configure(["backbone=tiny_moe", "encoder=whisper_micro_random"])
    torch.manual_seed(0)
    network: FusionNetwork = instantiate(cfg.model, backbone=source, scores=list(SCORES)).eval()
    text = _prompt(bare)
    expected = bare.model(input_ids=text.input_ids, attention_mask=text.attention_mask).logits
    yield _logits(network, text, (0, 1, 2, 3)), expected
    for parameter in trained_parameters(network).values():
        parameter.normal_(0, 0.5)
    yield _logits(network, text, ()), expected
    yield _logits(network, text, HEARD)[UNHEARD], expected[UNHEARD]
    text = _prompt(bare, side="left")
    options: dict[str, Any] = {
        "attention_mask": text.attention_mask,
        "max_new_tokens": NEW_TOKENS,
        "min_new_tokens": NEW_TOKENS,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_logits": True,
    }
    models: tuple[Any, Any] = (network.language_model, bare.model)
    ours = models[0].generate(text.input_ids, fusion=network.fusion(None), **options).logits
    theirs = models[1].generate(text.input_ids, **options).logits
    yield torch.stack(ours), torch.stack(theirs)


def _logits(network: FusionNetwork, text: Prompt, rows: Sequence[int]) -> Tensor:
    hearing = None
    if rows:
        waveform = torch.randn(len(rows), 32_000, generator=torch.Generator().manual_seed(3)) * 0.1
        frames = network.encode(waveform, torch.full((len(rows),), 32_000))
        hearing = network.hear(frames, torch.tensor(rows), len(TEXTS))
    mask = text.attention_mask.bool()
    return network(text, mask, mask, mask.any(1), hearing).logits


def checkpoint_measures(options: Sequence[str], scores: Sequence[str], folder: Path) -> list[Measure]:
    """Measure 6: the checkpoint of the weights that were chosen, as training writes it."""
    cfg = configure(options)
    module: Any = instantiate(cfg.module, network=build_network(cfg, scores))
    content: dict[str, Any] = {}
    module.on_save_checkpoint(content)
    path = folder / "checkpoint.ckpt"
    torch.save(content, path)
    saved = torch.load(path, weights_only=True)["state_dict"]
    trained = {f"network.{name}": each for name, each in trained_parameters(module.network).items()}
    ours = ("network.adapter.", "network.heads.")
    foreign = [name for name in saved.keys() | trained.keys() if name not in trained or not name.startswith(ours)]
    missing = trained.keys() - saved.keys()
    weights = sum(parameter.nbytes for parameter in trained.values())
    return [
        Measure("6-keys", f"tensors in the checkpoint that are not adapter's or heads', or missing; it "
                f"has {len(saved)}", float(len(foreign) + len(missing)), "tensors", "<= 0"),
        Measure("6-size", f"size of the file, {path.stat().st_size / 1e6:.2f} MB, to that of the trained weights",
                path.stat().st_size / weights, "times", "<= 1.05"),
    ]  # fmt: skip
