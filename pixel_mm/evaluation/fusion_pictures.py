"""Pictures of a fused model at work: which words listened to which second, and how far the gates are open."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pixel_mm.audio import SAMPLE_RATE_HZ
from pixel_mm.data.fusion.batch import FusionBatch
from pixel_mm.evaluation.fusion_models import JudgedModel
from pixel_mm.models.fusion.cross_attention import GatedCrossAttention
from pixel_mm.reports.fusion_figures import attention_figure, gate_figure

_GATES = ("attention", "feed-forward")


def draw_pictures(model: JudgedModel, max_rows: int) -> dict[str, Figure]:
    """Gates of all blocks, and the attention of test rows with voice and words, by title.

    Args:
        model: with cross-attention; another one has no such pictures.
        max_rows: whose attention is drawn: of different clips, spread evenly over the test part.
    """
    network = model.module.network
    blocks = {} if network.adapter is None else network.adapter.by_layer()
    if not blocks:
        return {}
    gates = {
        layer: dict(zip(_GATES, block.gates().detach().tanh().cpu().tolist(), strict=False))
        for layer, block in blocks.items()
    }
    figures = {"Gates": gate_figure(gates, "How far the gates are open")}
    for number, place in enumerate(_spread_places(model, max_rows), start=1):
        figures[f"Attention {number}"] = _attention_picture(model, place)
    return figures


def _spread_places(model: JudgedModel, count: int) -> list[int]:
    rows, by_clip = model.data.rows, dict[str, int]()
    for place in model.data.parts.test:
        clip = rows[place].clip
        if clip is not None and rows[place].text is not None:
            by_clip.setdefault(clip.key, place)
    places = list(by_clip.values())
    if count >= len(places):
        return places
    return [places[number] for number in np.linspace(0, len(places) - 1, count).round().astype(int)]


@torch.inference_mode()
def _attention_picture(model: JudgedModel, place: int) -> Figure:
    """Mean over blocks and heads of a row's attention, from the person's words on."""
    network = model.module.network.to(model.device).eval()
    (batch,) = (each.to(model.device) for each in model.data.loader([place]))
    words = batch.prompt_mask[0]
    weights = _attention(model, batch)[words]
    tokens = [str(network.backbone.tokenizer.decode([token])) for token in batch.input_ids[0][words].tolist()]
    assert network.adapter is not None
    # Latents stand for whole seconds: the last one may reach beyond the voice's end.
    seconds = weights.shape[1] / network.adapter.resampler.latents_per_second
    waveform = batch.waveform[0].cpu().numpy()
    waveform = np.pad(waveform, (0, max(0, round(seconds * SAMPLE_RATE_HZ) - len(waveform))))
    row = model.data.rows[place]
    return attention_figure(weights.cpu().numpy(), tokens, seconds, f"{row.speaker}: {row.group or row.key}", waveform)


def _attention(model: JudgedModel, batch: FusionBatch) -> Tensor:
    """Of a batch of one row, float32 [S, N]."""
    found: list[Tensor] = []

    def note(block: GatedCrossAttention, arguments: tuple[Any, ...], output: Tensor) -> None:
        found.append(block.attention(*arguments)[0].mean(0))

    adapter = model.module.network.adapter
    assert adapter is not None
    handles = [block.register_forward_hook(note) for block in adapter.by_layer().values()]
    try:
        model.module(batch)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found).mean(0)
