"""The model card of a fused model's folder."""

from collections.abc import Mapping

from pixel_mm.exporters.model_card import parity_lines, tensor_rows
from pixel_mm.exporters.parity import Parity
from pixel_mm.fusion_spec import FusionSpec
from pixel_mm.model_folder import ModelSpec

_CROSS_ATTENTION = "blocks of cross-attention before layers {layers} look at the keys and values that model.onnx gives"
_SOFT_TOKENS = (
    "model.onnx gives embeddings that stand before those of the text, for any engine that takes embeddings of prompts: "
    "`MultimodalPixel.prompt_embeddings` makes the whole prompt"
)


def fusion_card(
    spec: ModelSpec, parities: Mapping[str, Parity], metrics: Mapping[str, float], network: Mapping[str, float]
) -> str:
    """Markdown that says what the model takes and gives, what it needs beside it, and how exactly each file follows it.

    Args:
        spec: of the model.
        parities: measured differences by file name.
        metrics: of the training run by name; may be empty.
        network: not used; no corpus is measured on again.
    """
    fusion, origin = FusionSpec.parse(spec.fusion), spec.provenance
    how = _SOFT_TOKENS if fusion.adapter == "soft_tokens" else _CROSS_ATTENTION
    lines = [
        f"# {spec.name}",
        "",
        f"Task: {spec.task.replace('_', ' ')}. A frozen language model that hears; in this folder is what was trained "
        "and what listens.",
        f"Trained on: {origin.corpus}; labels are {origin.label_source}. Run: {origin.run}, commit {origin.commit}.",
        "",
        "The scores say how words and voice come across, as its labels describe it. They are no finding about what a "
        "person feels, and no judgement of danger should rest on `crisis` alone.",
        "",
        "## What it needs beside it",
        "",
        f"The language model {fusion.backbone.id} ({fusion.backbone.source}), SHA-256 `{fusion.backbone.sha256}`. "
        "Another one is refused.",
        "",
        f"How it hears: {how.format(layers=', '.join(map(str, fusion.layers)))}.",
        "",
        *(f"Encoder `{name}`, in the graph: SHA-256 `{each.sha256}`." for name, each in fusion.encoders.items()),
        "",
        "## Use",
        "",
        "```python",
        "from pixel_mm.inference.multimodal_fusion import MultimodalPixel",
        "",
        'reply = MultimodalPixel.load("MODEL_DIR").respond("I\'m fine.", waveform, sample_rate_hz=48_000)',
        "reply.scores.scores  # by name, before the first word",
        "for piece in reply:",
        '    print(piece, end="")',
        "```",
        "",
        f"Scores: {', '.join(fusion.scores) or 'none'}. A voice is {spec.min_seconds * 1000:g} ms to "
        f"{spec.max_seconds:g} s long. Without one, the answer is the bare language model's, to the bit.",
        "",
        "## Inputs and outputs of the graph",
        "",
        *tensor_rows(spec),
        "",
        *_measured(metrics),
        *parity_lines(parities),
    ]
    return "\n".join(lines) + "\n"


def _measured(metrics: Mapping[str, float]) -> list[str]:
    if not metrics:
        return []
    rows = [f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items())]
    return ["## Measured by the training run", "", "| metric | value |", "|---|---|", *rows, ""]
