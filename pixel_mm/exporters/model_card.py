"""The model card of a model folder: what a person reads before they trust its scores."""

from collections.abc import Mapping

from pixel_mm.exporters.parity import Parity
from pixel_mm.model_folder import ModelSpec, TensorSpec

_LABELS = {
    "rated": "people's ratings of valence, arousal and dominance",
    "mapped": "emotion categories, mapped to dimensions by a published table; nobody rated these clips",
}


def model_card(
    spec: ModelSpec, parities: Mapping[str, Parity], metrics: Mapping[str, float], network: Mapping[str, float]
) -> str:
    """Markdown that says what the model takes, gives, learnt from, scored, and how exactly each file follows it.

    Args:
        spec: of the model.
        parities: measured differences by file name.
        metrics: of the training run by name; may be empty.
        network: of the network on the clips that each file was measured on; may be empty.
    """
    origin = spec.provenance
    made = "made by a speech synthesiser: every figure below is about **synthetic** speech" if origin.synthetic else ""
    lines = [
        f"# {spec.name}",
        "",
        f"Task: {spec.task.replace('_', ' ')}. Encoder: {origin.encoder}.",
        f"Trained on: {origin.corpus}" + (f", {made}." if made else "."),
        f"Labels ({origin.label_source}): {_LABELS[origin.label_source]}.",
        f"Run: {origin.run}, commit {origin.commit}.",
        "",
        "The scores say how speech sounds, as its labels describe it. They are no finding about what a person feels.",
        "",
        "## Use",
        "",
        "```python",
        "from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer",
        "",
        'estimate = AudioEmotionRecognizer.load("MODEL_DIR")(waveform, sample_rate_hz=48_000)',
        "estimate.scores  # by name",
        "```",
        "",
        f"The graphs themselves take {spec.min_seconds * 1000:g} ms to {spec.max_seconds:g} s at "
        f"{spec.sample_rate_hz} Hz, any batch size, clips of different lengths padded with anything.",
        "",
        "## Inputs and outputs",
        "",
        *tensor_rows(spec),
        "",
        *_metric_lines(metrics, origin.synthetic, origin.label_source),
        *parity_lines(parities),
        *_task_lines(parities, network),
    ]
    return "\n".join(lines) + "\n"


def tensor_rows(spec: ModelSpec) -> list[str]:
    """A table of a graph's inputs and outputs."""
    rows = [_tensor_row(tensor) for tensor in (*spec.inputs, *spec.outputs)]
    return ["| name | type | axes | range | meaning |", "|---|---|---|---|---|", *rows]


def parity_lines(parities: Mapping[str, Parity]) -> list[str]:
    """A section about how exactly each file follows the network."""
    return [
        "## Parity",
        "",
        "Largest difference of an output from the network's, and between a clip alone and the same clip in a batch.",
        "",
        "| file | from the network | alone or in a batch | allowed |",
        "|---|---|---|---|",
        *(
            f"| {file} | {max(parity.largest_difference.values()):.1e} "
            f"| {max(parity.largest_padding_difference.values()):.1e} | {parity.tolerance:g} |"
            for file, parity in parities.items()
        ),
    ]


def _task_lines(parities: Mapping[str, Parity], network: Mapping[str, float]) -> list[str]:
    """The task's own metrics, of the network and of each file on the same clips."""
    names = [name for name in network if name == "ua" or name.startswith("ccc_")]
    if not names:
        return []
    rows = {"the network": network, **{file: parity.metrics for file, parity in parities.items()}}
    return [
        "",
        f"The task's metrics, measured again on {network['num_clips']:.0f} clips that were not trained on:",
        "",
        f"| | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
        *(f"| {row} | {' | '.join(f'{values[name]:.4f}' for name in names)} |" for row, values in rows.items()),
    ]


def _tensor_row(tensor: TensorSpec) -> str:
    axes = ", ".join(str(axis) for axis in tensor.axes)
    meaning = f"{tensor.meaning}: {', '.join(tensor.labels)}" if tensor.labels else tensor.meaning
    values = f"{tensor.range[0]:g} to {tensor.range[1]:g} {tensor.unit}"
    return f"| {tensor.name} | {tensor.dtype} | [{axes}] | {values} | {meaning} |"


def _metric_lines(metrics: Mapping[str, float], synthetic: bool, label_source: str) -> list[str]:
    if not metrics:
        return []
    return [
        "## Measured by the training run",
        "",
        f"One split of the training corpus ({'synthetic speech, ' if synthetic else ''}{label_source} labels); "
        "python -m pixel_mm.evaluate measures over speakers.",
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items())),
        "",
    ]
