import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pixel_mm.exporters.emotion_graph import EmotionGraph
from pixel_mm.exporters.onnx import OnnxModel, example_inputs
from pixel_mm.exporters.parity import ParityError
from pixel_mm.exporters.publish import Format, publish
from pixel_mm.exporters.source import Source
from pixel_mm.exporters.torchscript import TorchScriptModel, export_torchscript
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from tests.tiny_emotion import DIMENSIONS, LABELS, TinyRegressor, tiny_graph

SCRIPT = Format("model.pt", 1e-4, export_torchscript, TorchScriptModel)  # tenths of a second, unlike ONNX


def publish_script(output: Path, form: Format = SCRIPT, overwrite: bool = False) -> ModelFolder:
    graph, spec = tiny_graph()
    return publish(graph, spec, output, {"torchscript": form}, seed=7, metrics={}, overwrite=overwrite)


def export_another(source: Source, path: Path) -> None:
    export_torchscript(Source(tiny_graph(seed=1)[0], source.spec, source.scratch), path)


def export_nothing(source: Source, path: Path) -> None:
    path.write_bytes(b"half")
    raise KeyboardInterrupt


def export_to_a_full_disk(source: Source, path: Path) -> None:
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_published_folder_is_whole_and_sealed(tiny_model_folder: Path) -> None:
    spec = ModelFolder(tiny_model_folder).open()
    assert set(spec.files) == {"model.onnx", "model.pt", "parity.json", "README.md"}
    assert [tensor.name for tensor in spec.outputs] == [*DIMENSIONS, "emotion_probabilities"]
    assert spec.output("emotion_probabilities").labels == LABELS
    parity = json.loads((tiny_model_folder / "parity.json").read_text())
    for file in ("model.onnx", "model.pt"):
        measured = parity["files"][file]
        assert len(measured["cases"]) == 5
        assert set(measured["largest_difference"]) == {tensor.name for tensor in spec.outputs}
        assert max(measured["largest_difference"].values()) <= measured["tolerance"]
        assert max(measured["largest_padding_difference"].values()) <= 1e-4
    assert set(parity["versions"]) >= {"torch", "onnxruntime"}


def test_the_card_says_what_the_model_learnt_from(tiny_model_folder: Path) -> None:
    card = (tiny_model_folder / "README.md").read_text()
    for words in ("**synthetic**", "Labels (mapped)", "| test/ccc_arousal | 0.5 |", "0 is calm, 1 is excited", "anger"):
        assert words in card


def test_onnx_axes_are_free_and_named(tiny_model_folder: Path) -> None:
    declared = OnnxModel(tiny_model_folder / "model.onnx").declared()
    assert declared["waveform"] == ("float32", 2)
    assert declared["num_samples"] == ("int64", 1)
    assert declared["emotion_probabilities"] == ("float32", 2)


def test_torchscript_gives_scores_by_name_and_as_a_tuple(tiny_model_folder: Path) -> None:
    _, spec = tiny_graph()
    outputs = torch.jit.load(str(tiny_model_folder / "model.pt"))(*example_inputs(spec))
    assert isinstance(outputs, tuple)
    assert outputs._fields == (*DIMENSIONS, "emotion_probabilities")
    torch.testing.assert_close(outputs.valence, outputs[0])


def test_a_network_without_categories_has_no_probabilities(tmp_path: Path) -> None:
    graph = EmotionGraph(TinyRegressor(), DIMENSIONS, ())
    spec = replace(graph.spec("emotion", tiny_graph()[1].provenance))
    folder = publish(graph, spec, tmp_path / "model", {"torchscript": SCRIPT}, seed=7, metrics={})
    assert [tensor.name for tensor in folder.open().outputs] == list(DIMENSIONS)


def test_an_existing_folder_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("keep")
    with pytest.raises(ModelFolderError, match="overwrite=true"):
        publish_script(tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine.txt"]


def test_overwrite_replaces_the_whole_folder(tmp_path: Path) -> None:
    publish_script(tmp_path / "model")
    (tmp_path / "model" / "stale.txt").write_text("old")
    publish_script(tmp_path / "model", overwrite=True).open()
    assert not (tmp_path / "model" / "stale.txt").exists()


@pytest.mark.parametrize(
    ("export", "error"),
    [(export_another, ParityError), (export_nothing, KeyboardInterrupt), (export_to_a_full_disk, OSError)],
    ids=["another network", "interrupted", "full disk"],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_export_publishes_nothing(
    tmp_path: Path, export: object, error: type[BaseException], overwrite: bool
) -> None:
    output = tmp_path / "model"
    before = {}
    if overwrite:
        publish_script(output)
        before = dict(ModelFolder(output).open().files)
    with pytest.raises(error):
        publish_script(output, replace(SCRIPT, export=export), overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["model"] if overwrite else [])
    if overwrite:
        assert ModelFolder(output).open().files == before


@pytest.mark.slow
def test_a_killed_export_leaves_nothing_in_place(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from tests.exporters.test_publish import SCRIPT, publish_script\n"
        "def export(source, path):\n"
        "    path.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"publish_script(Path({str(tmp_path / 'model')!r}), replace(SCRIPT, export=export))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    publish_script(tmp_path / "model").open()
