"""The guide of a deployment folder: what is served, how to call it, what the alerts mean."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from pixel_mm.exporters.deployment.options import DeploymentOptions
from pixel_mm.exporters.deployment.served import ServedModel
from pixel_mm.model_folder import TensorSpec

_TEMPLATES = files("pixel_mm.exporters.deployment") / "files"


def guide(models: Sequence[ServedModel], repository: str, options: DeploymentOptions) -> str:
    """Markdown for who runs the folder and for who calls the server.

    Args:
        models: of the repository.
        repository: its path as seen from the folder.
        options: of the deployment.
    """
    return _template("guide.md").substitute(
        repository=repository,
        versions="\n".join(_version_row(model, number) for model in models for number in sorted(model.versions)),
        models="\n".join(_model_section(model) for model in models),
        triton_image=options.triton_image,
        failures=f"{options.failure_ratio:.3g}",
        queue_seconds=f"{options.queue_seconds:g}",
        request_seconds=f"{options.request_seconds:g}",
    )


def _template(name: str) -> Template:
    return Template((_TEMPLATES / name).read_text(encoding="utf-8"))


def _version_row(model: ServedModel, number: int) -> str:
    about = model.versions[number]
    file = str(about.get("file", ""))
    digest = _mapping(about, "sha256").get(file, "")
    cells = (
        model.name,
        number,
        "yes" if number in model.served else "no",
        about.get("created", ""),
        about.get("run", ""),
        str(about.get("commit", ""))[:12],
        f"{file} {str(digest)[:12]}".strip(),
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _model_section(model: ServedModel) -> str:
    spec, origin = model.spec, model.spec.provenance
    metrics = _mapping(model.versions[model.served[-1]], "metrics")
    return _template("model.md").substitute(
        name=model.name,
        version=model.served[-1],
        origin=f"Learnt from {origin.corpus}{', which is synthetic speech' if origin.synthetic else ''}"
        f" ({origin.label_source} labels), heard with {origin.encoder}.",
        metrics=_metric_line(metrics),
        rate_hz=spec.sample_rate_hz,
        min_ms=f"{spec.min_seconds * 1000:g}",
        max_seconds=f"{spec.max_seconds:g}",
        tensors="\n".join(_tensor_row(tensor) for tensor in (*spec.inputs, *spec.outputs)),
        weights="{" + ", ".join(f'"{number}": {1 / len(model.served):.3g}' for number in model.served) + "}",
    )


def _metric_line(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return "The manifest has no metrics of it."
    listed = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sorted(metrics.items())
    )
    return f"Measured: {listed}."


def _tensor_row(tensor: TensorSpec) -> str:
    meaning = f"{tensor.meaning}: {', '.join(tensor.labels)}" if tensor.labels else tensor.meaning
    return f"| {tensor.name} | {tensor.dtype} | {tensor.range[0]:g} to {tensor.range[1]:g} {tensor.unit} | {meaning} |"


def _mapping(about: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a manifest's entry; empty where it has none."""
    found = about.get(key)
    return found if isinstance(found, Mapping) else {}
