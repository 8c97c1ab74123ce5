"""The folder of one version in a Triton repository, made of a model folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx

from pixel_mm.exporters.graph_file import DATA_SUFFIX
from pixel_mm.exporters.manifest import RepositoryError, now
from pixel_mm.model_folder import ModelFolder


def copy_version(folder: ModelFolder, file: str, target: Path, served_as: str) -> ModelFolder:
    """Copy one file of a model folder, and what describes it, into a folder that is a model folder too.

    Args:
        folder: that the export wrote.
        file: of it, proven by its parity.json.
        target: to make.
        served_as: what the file is called there.

    Raises:
        RepositoryError: the file was not compared with the network.
    """
    if file not in _report(folder)["files"]:
        raise RepositoryError(f"{folder.parity} has no comparison of {file}; export the model again")
    target.mkdir()
    version = ModelFolder(target)
    copy_served_file(folder, file, target / served_as)
    shutil.copyfile(folder.parity, version.parity)
    version.seal(folder.open(file))
    return version


def copy_served_file(folder: ModelFolder, file: str, target: Path) -> None:
    """Copy a file under the name that the server looks for, with the weights beside it if there are any."""
    data = folder.path / f"{file}{DATA_SUFFIX}"
    if data.is_file():
        _copy_with_data(folder.path / file, data, target)
    else:
        shutil.copyfile(folder.path / file, target)


def describe_version(folder: ModelFolder, file: str, version: ModelFolder, served_as: str) -> dict[str, Any]:
    """What the manifest tells of a version.

    Args:
        folder: that the export wrote.
        file: of it.
        version: what `copy_version` made.
        served_as: what the file is called there.
    """
    report, spec = _report(folder), version.open()
    measured = report["files"][file]
    return {
        "created": now(),
        "commit": spec.provenance.commit,
        "run": spec.provenance.run,
        "file": served_as,
        "exported_as": file,
        "sha256": dict(spec.files),
        "versions": report["versions"],
        "metrics": measured.get("metrics") or {},
        "tolerances": {"largest_difference": measured["tolerance"]},
        "largest_difference": measured["largest_difference"],
    }


def training_lengths(folder: ModelFolder) -> list[int]:
    """Percentiles of the lengths of the training clips, samples at 16 kHz; none where the export had no corpus."""
    return list(_report(folder).get("training_lengths_samples", []))


def _report(folder: ModelFolder) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(folder.parity.read_text(encoding="utf-8"))
    return report


def _copy_with_data(graph: Path, data: Path, target: Path) -> None:
    """An ONNX file names the file with its weights, which goes by the new name too."""
    model = onnx.load(str(graph), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = target.name + DATA_SUFFIX
    onnx.save(model, str(target))
    shutil.copyfile(data, target.with_name(target.name + DATA_SUFFIX))
