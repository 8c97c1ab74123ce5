"""A fused model's versions in a Triton repository, without a server."""

import shutil
from pathlib import Path

import pytest

from pixel_mm.exporters.fused_model import FusedOptions, build_fused_config, publish_fused
from pixel_mm.exporters.manifest import RepositoryError
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import CONFIG, TritonOptions, read_config
from pixel_mm.exporters.triton_checks import TritonConfigError, check_config
from pixel_mm.fusion_spec import ADAPTER
from pixel_mm.inference.multimodal_fusion import MultimodalPixel
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from tests.exporters.repositories import everything, served


def test_a_version_is_a_model_folder_with_what_answers(tiny_fusion_folder: Path, tmp_path: Path) -> None:
    model = ModelRepository(tmp_path / "repository", "pixel")
    assert publish_fused(model, ModelFolder(tiny_fusion_folder), FusedOptions(max_tokens=9)) == 1
    files = {path.name for path in (model.path / "1").iterdir()}
    assert files == {"model.py", "model.onnx", "model.yaml", "parity.json", "README.md", ADAPTER}
    assert MultimodalPixel.load(model.path / "1").respond("Hello").scores.scores
    config = read_config(model.path / CONFIG)
    assert (config.backend, config.max_batch_size, config.model_transaction_policy.decoupled) == ("python", 0, True)
    assert all(tensor.optional for tensor in config.input)
    assert config.parameters["max_tokens"].string_value == "9"
    model.verify()
    assert publish_fused(model, ModelFolder(tiny_fusion_folder), FusedOptions(), promote=False) == 2
    assert served(model) == [1]
    model.promote([2])
    assert served(model) == [2]
    assert model.roll_back() == (1,)


def test_what_listens_may_be_served_alone(tiny_soft_folder: Path, tmp_path: Path) -> None:
    model = ModelRepository(tmp_path / "repository", "listener")
    model.publish(ModelFolder(tiny_soft_folder), "model.onnx", TritonOptions(length_buckets=1))
    outputs = {tensor.name: list(tensor.dims) for tensor in read_config(model.path / CONFIG).output}
    assert outputs["embeddings"] == [-1, 32]
    assert outputs["audio_valence"] == [1]
    model.verify()


def test_a_damaged_version_is_seen(tiny_fusion_folder: Path, tmp_path: Path) -> None:
    model = ModelRepository(tmp_path / "repository", "pixel")
    publish_fused(model, ModelFolder(tiny_fusion_folder), FusedOptions())
    (model.path / "1" / "model.py").write_text("print('something else')", encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"model\.py is not the file that was exported"):
        model.verify()


def test_what_is_refused_leaves_nothing(tiny_fusion_folder: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    model = ModelRepository(tmp_path / "repository", "pixel")
    with pytest.raises(ModelFolderError, match="does audio_emotion_recognition, not multimodal_fusion"):
        publish_fused(model, ModelFolder(tiny_model_folder), FusedOptions())
    with pytest.raises(RepositoryError, match="its first version is served"):
        publish_fused(model, ModelFolder(tiny_fusion_folder), FusedOptions(), promote=False)
    broken = ModelFolder(shutil.copytree(tiny_fusion_folder, tmp_path / "broken"))
    (broken.path / ADAPTER).unlink()
    with pytest.raises(ModelFolderError, match="is missing; export the model again"):
        publish_fused(model, broken, FusedOptions())
    assert everything(tmp_path / "repository") == {}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"instances": 0}, "triton.instances is 0"),
        ({"max_tokens": 0}, "triton.max_tokens is 0"),
        ({"instance_kind": "tpu"}, "triton.instance_kind is 'tpu'"),
        ({"gpus": (0,)}, "triton.gpus is for instances on a GPU"),
        ({"python": ""}, "triton.python is empty"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict, named: str) -> None:
    with pytest.raises(TritonConfigError, match=named):
        FusedOptions(**options).check()


def test_a_configuration_that_would_not_stream_is_refused(tiny_fusion_folder: Path, tmp_path: Path) -> None:
    spec = ModelSpec.read(tiny_fusion_folder / "model.yaml")
    config = build_fused_config("pixel", spec, FusedOptions())
    config.version_policy.specific.versions.append(1)
    check_config(config, tmp_path / "pixel", [1])
    config.model_transaction_policy.decoupled = False
    with pytest.raises(TritonConfigError, match="decoupled"):
        check_config(config, tmp_path / "pixel", [1])
