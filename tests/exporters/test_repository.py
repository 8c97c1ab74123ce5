"""Versions of a model in a Triton repository: added whole or not at all, promoted, rolled back, pruned."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from pixel_mm.exporters import graph_file, staging
from pixel_mm.exporters import repository as repository_module
from pixel_mm.exporters.graph_file import read_graph
from pixel_mm.exporters.manifest import RepositoryError
from pixel_mm.exporters.onnx import OnnxModel
from pixel_mm.exporters.publish import publish
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import TritonOptions
from pixel_mm.exporters.triton_checks import TritonConfigError
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from tests.exporters.repositories import OPTIONS, everything, served
from tests.tiny_emotion import FORMATS, tiny_graph


def test_a_version_holds_the_file_and_what_proves_it(model: ModelRepository, exported: ModelFolder) -> None:
    assert {path.name for path in (model.path / "1").iterdir()} == {"model.onnx", "model.yaml", "parity.json"}
    about = model.manifest().versions[1]
    assert about["sha256"]["model.onnx"] == exported.open().files["model.onnx"]
    assert about["file"] == about["exported_as"] == "model.onnx"
    assert about["tolerances"] == {"largest_difference": 1e-4}
    assert set(about["versions"]) >= {"torch", "onnx", "onnxruntime"}
    assert (about["run"], about["commit"]) == ("tiny", "0123abc")
    AudioEmotionRecognizer.load(model.path / "1", num_threads=1)  # a version is a model folder
    model.verify()


def test_the_newest_is_served_unless_told_otherwise(model: ModelRepository, exported: ModelFolder) -> None:
    assert served(model) == [2]
    assert model.publish(exported, "model.onnx", OPTIONS, promote=False) == 3
    assert served(model) == [2]
    assert list(model.manifest().served) == [2]


def test_versions_that_are_there_do_not_change(model: ModelRepository, exported: ModelFolder) -> None:
    before = everything(model.path / "1")
    model.publish(exported, "model.onnx", OPTIONS)
    model.promote([1, 3])
    assert everything(model.path / "1") == before


def test_two_versions_are_served_side_by_side(model: ModelRepository) -> None:
    model.promote([2, 1])
    assert served(model) == [1, 2]
    with pytest.raises(RepositoryError, match="has no version 7; it has 1, 2"):
        model.promote([1, 7])
    assert served(model) == [1, 2]


def test_going_back_twice_goes_back_twice(model: ModelRepository, exported: ModelFolder) -> None:
    model.publish(exported, "model.onnx", OPTIONS)
    model.promote([1, 3])
    assert [model.roll_back() for _ in range(3)] == [(3,), (2,), (1,)]
    assert served(model) == [1]
    with pytest.raises(RepositoryError, match="nothing to roll back to"):
        model.roll_back()
    model.promote([3])
    assert model.roll_back() == (1,)


def test_pruning_leaves_what_is_served_and_numbers_are_not_used_again(
    model: ModelRepository, exported: ModelFolder
) -> None:
    for _ in range(3):
        model.publish(exported, "model.onnx", OPTIONS)
    model.promote([2])
    assert model.prune(keep=1) == [1, 3, 4]
    assert sorted(model.manifest().versions) == [2, 5]
    assert not (model.path / "3").exists()
    assert model.publish(exported, "model.onnx", OPTIONS) == 6
    assert model.prune(keep=0) == [2, 5]
    assert model.publish(exported, "model.onnx", OPTIONS) == 7
    with pytest.raises(RepositoryError, match="keep is -1"):
        model.prune(keep=-1)


def test_the_number_of_the_newest_is_not_used_again_either(model: ModelRepository, exported: ModelFolder) -> None:
    model.promote([1])
    assert model.prune(keep=0) == [2]
    assert model.publish(exported, "model.onnx", OPTIONS) == 3


def test_a_graph_that_takes_one_batch_size_is_not_published(tmp_path: Path, exported: ModelFolder) -> None:
    folder = ModelFolder(Path(shutil.copytree(exported.path, tmp_path / "exported")))
    graph = onnx.load(str(folder.onnx))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, str(folder.onnx))
    folder.seal(exported.open())
    model = ModelRepository(tmp_path / "repository", "emotion")
    with pytest.raises(TritonConfigError, match="takes batches of 1 only"):
        model.publish(folder, "model.onnx", OPTIONS)
    assert not model.path.exists()


def test_going_back_passes_over_what_was_pruned(model: ModelRepository, exported: ModelFolder) -> None:
    model.publish(exported, "model.onnx", OPTIONS)
    model.prune(keep=1)
    assert sorted(model.manifest().versions) == [2, 3]
    assert model.roll_back() == (2,)


def test_the_policies_all_and_latest_serve_what_they_say(tmp_path: Path, exported: ModelFolder) -> None:
    every = ModelRepository(tmp_path / "r", "every")
    newest = ModelRepository(tmp_path / "r", "newest")
    for _ in range(3):
        every.publish(exported, "model.onnx", TritonOptions(version_policy="all"))
        newest.publish(exported, "model.onnx", TritonOptions(version_policy="latest", latest_versions=2))
    assert every.manifest().served == (1, 2, 3)
    assert newest.manifest().served == (2, 3)
    assert newest.roll_back() == (1, 2)
    with pytest.raises(RepositoryError, match="promote=false does nothing"):
        every.publish(exported, "model.onnx", TritonOptions(version_policy="all"), promote=False)


def test_an_int8_file_is_served_under_the_name_that_the_server_looks_for(tmp_path: Path, exported: ModelFolder) -> None:
    folder = tmp_path / "exported"
    shutil.copytree(exported.path, folder)
    (folder / "model.onnx").rename(folder / "model.int8.onnx")
    report = json.loads((folder / "parity.json").read_text())
    report["files"]["model.int8.onnx"] = report["files"].pop("model.onnx")
    (folder / "parity.json").write_text(json.dumps(report))
    ModelFolder(folder).seal(exported.open())
    model = ModelRepository(tmp_path / "repository", "small")
    model.publish(ModelFolder(folder), "model.int8.onnx", OPTIONS)
    assert (model.path / "1" / "model.onnx").is_file()
    assert model.manifest().versions[1]["exported_as"] == "model.int8.onnx"


def test_weights_beside_a_graph_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: ModelFolder
) -> None:
    """As they lie where a graph would pass 2 GB."""
    monkeypatch.setattr(graph_file, "MAX_FILE_BYTES", 100)
    folder = Path(shutil.copytree(exported.path, tmp_path / "exported"))
    graph_file.save_graph(read_graph(exported.onnx), folder / "model.fp16.onnx")
    report = json.loads((folder / "parity.json").read_text())
    report["files"]["model.fp16.onnx"] = report["files"]["model.onnx"]
    (folder / "parity.json").write_text(json.dumps(report))
    ModelFolder(folder).seal(exported.open())
    model = ModelRepository(tmp_path / "repository", "emotion")
    model.publish(ModelFolder(folder), "model.fp16.onnx", OPTIONS)
    shutil.rmtree(folder)
    assert (model.path / "1" / "model.onnx.data").is_file()
    inputs = {"waveform": np.ones((1, 4000), np.float32), "num_samples": np.array([4000])}
    expected = OnnxModel(exported.onnx)(inputs)["valence"]
    assert OnnxModel(model.path / "1" / "model.onnx")(inputs)["valence"] == pytest.approx(expected, abs=1e-6)
    model.verify()


def test_versions_of_one_model_share_its_configuration(
    model: ModelRepository, exported: ModelFolder, tmp_path: Path
) -> None:
    before = everything(model.repository)
    with pytest.raises(RepositoryError, match=r"another backend.*under another name"):
        model.publish(exported, "model.pt", OPTIONS)
    graph, spec = tiny_graph()
    graph_of_others = type(graph)(graph.network, graph.dimensions, ("anger", "calm", "fear", "sadness"))
    spec = graph_of_others.spec("emotion", spec.provenance)
    other = publish(graph_of_others, spec, tmp_path / "other", {"torchscript": FORMATS["torchscript"]}, 7, {})
    script = ModelRepository(model.repository, "script")
    script.publish(exported, "model.pt", OPTIONS)
    with pytest.raises(RepositoryError, match="labels"):
        script.publish(other, "model.pt", OPTIONS)
    assert {name: content for name, content in everything(model.repository).items() if "script" not in name} == before


def test_what_is_no_repository_is_left_alone(tmp_path: Path, exported: ModelFolder) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError, match=r"thesis\.txt in it is no model"):
        ModelRepository(tmp_path / "home", "emotion")
    with pytest.raises(RepositoryError, match="is a file"):
        ModelRepository(tmp_path / "file", "emotion")
    for name in ("", "../emotion", "a/b", ".hidden"):
        with pytest.raises(RepositoryError, match="name is"):
            ModelRepository(tmp_path / "new", name)
    with pytest.raises(RepositoryError, match="has no model 'emotion'; it has none"):
        ModelRepository(tmp_path / "new", "emotion").promote([1])
    assert not (tmp_path / "new").exists()


def test_a_model_that_was_made_by_other_means_is_left_alone(tmp_path: Path, exported: ModelFolder) -> None:
    place = tmp_path / "repository" / "emotion"
    (place / "1").mkdir(parents=True)
    (place / "config.pbtxt").write_text('name: "emotion"')
    before = everything(place)
    with pytest.raises(RepositoryError, match=r"has no manifest\.json.*another name"):
        ModelRepository(tmp_path / "repository", "emotion").publish(exported, "model.onnx", OPTIONS)
    assert everything(place) == before


def test_a_damaged_or_unproven_file_is_not_published(tmp_path: Path, exported: ModelFolder) -> None:
    folder = Path(shutil.copytree(exported.path, tmp_path / "exported"))
    (folder / "model.onnx").write_bytes(b"rubbish")
    model = ModelRepository(tmp_path / "repository", "emotion")
    with pytest.raises(ModelFolderError, match="not the file that was exported"):
        model.publish(ModelFolder(folder), "model.onnx", OPTIONS)
    (folder / "parity.json").write_text('{"files": {}}')
    ModelFolder(folder).seal(exported.open())
    with pytest.raises(RepositoryError, match=r"no comparison of model\.onnx"):
        model.publish(ModelFolder(folder), "model.onnx", OPTIONS)
    with pytest.raises(TritonConfigError, match="max_batch_size"):
        model.publish(exported, "model.onnx", TritonOptions(max_batch_size=0))
    assert not model.path.exists()


def test_damage_in_the_repository_is_found(model: ModelRepository) -> None:
    (model.path / "1" / "model.onnx").write_bytes(b"rubbish")
    with pytest.raises(ModelFolderError, match=r"1/model\.onnx is not the file"):
        model.verify()
    text = (model.path / "config.pbtxt").read_text()
    (model.path / "config.pbtxt").write_text(text.replace("max_batch_size: 16", "max_batch_sise: 16"))
    with pytest.raises(ValueError, match="max_batch_sise"):
        model.promote([1])


def test_a_manifest_that_lies_is_brought_in_line(model: ModelRepository) -> None:
    """What config.pbtxt serves and which folders there are is what counts: a killed command may not have told."""
    content = json.loads((model.path / "manifest.json").read_text())
    content["served"] = [1]
    content["versions"]["9"] = content["versions"]["1"]
    (model.path / "manifest.json").write_text(json.dumps(content))
    manifest = model.manifest()
    assert (manifest.served, sorted(manifest.versions)) == ((2,), [1, 2])
    assert manifest.before() == (1,)


def test_nothing_is_left_beside_the_repository(model: ModelRepository) -> None:
    assert [path.name for path in model.repository.parent.iterdir()] == ["repository"]
    assert {path.name for path in model.repository.iterdir()} == {"emotion", staging.LOCK}
    assert repository_module.models(model.repository) == ["emotion"]
