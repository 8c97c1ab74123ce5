import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec, Provenance, TensorSpec

SPEC = ModelSpec(
    name="emotion",
    task="audio_emotion_recognition",
    sample_rate_hz=16_000,
    min_seconds=0.025,
    max_seconds=30.0,
    inputs=(TensorSpec("waveform", "float32", ("batch", "samples"), "amplitude", (-1.0, 1.0), "speech"),),
    outputs=(TensorSpec("p", "float32", ("batch", 2), "probability", (0.0, 1.0), "which", ("anger", "no")),),
    provenance=Provenance("rated", "tones", False, "abc", "run", "whisper"),
)


def sealed(path: Path) -> ModelFolder:
    folder = ModelFolder(path)
    folder.onnx.write_bytes(b"graph")
    folder.parity.write_text("{}")
    folder.seal(SPEC)
    return folder


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    SPEC.write(tmp_path / "model.yaml")
    # Labels such as "no" must not come back as False.
    assert ModelSpec.read(tmp_path / "model.yaml") == SPEC


def test_seal_lists_every_other_file(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    assert set(folder.open().files) == {"model.onnx", "parity.json"}
    assert folder.seal(SPEC).files == folder.open().files


def test_open_names_a_changed_file_and_leaves_others_usable(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    folder.parity.write_text('{"tolerance": 1}')
    assert folder.open("model.onnx").name == "emotion"
    with pytest.raises(ModelFolderError, match=r"parity\.json is not the file that was exported"):
        folder.open()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate_hz": "16000"}, "sample_rate_hz.*wrong type"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"task": None}, "'task'"),
        ({"format": 2}, "format 2; this version of pixel_mm reads 1"),
        ({"outputs": [{"name": "p"}]}, "'dtype' of TensorSpec is missing"),
        (
            {"provenance": {**yaml.safe_load("{corpus: a, synthetic: false, commit: a, run: a, encoder: a}")}},
            "label_source",
        ),
    ],
)
def test_read_names_the_wrong_field(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "model.yaml"
    SPEC.write(path)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ModelFolderError, match=message) as caught:
        ModelSpec.read(path)
    assert str(path) in str(caught.value)


def test_yaml_never_runs_code(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("!!python/object/apply:os.system ['touch made_by_yaml']")
    with pytest.raises(ModelFolderError, match="no readable YAML"):
        ModelSpec.read(path)


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="is no folder"):
        ModelFolder(tmp_path / "nowhere").open()
    with pytest.raises(ModelFolderError, match=r"model\.yaml is missing"):
        ModelFolder(tmp_path).open()
    folder = sealed(tmp_path)
    with pytest.raises(ModelFolderError, match=r"lists no file 'model\.pt'"):
        folder.open("model.pt")
    folder.onnx.unlink()
    with pytest.raises(ModelFolderError, match=r"model\.onnx is missing"):
        folder.open("model.onnx")


def test_impossible_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="2 labels for the axes"):
        replace(SPEC.outputs[0], axes=("batch", 3))
    with pytest.raises(ValueError, match="dtype 'float' is not one of"):
        replace(SPEC.outputs[0], dtype="float")
    with pytest.raises(ValueError, match="is not \\[smallest, largest\\]"):
        replace(SPEC.outputs[0], range=(1.0, 0.0))


def test_reading_a_model_folder_needs_no_torch(tmp_path: Path) -> None:
    shutil.copytree(sealed(tmp_path).path, tmp_path / "copy")
    code = (
        "import sys; from pathlib import Path; from pixel_mm.model_folder import ModelFolder;"
        f"ModelFolder(Path({str(tmp_path / 'copy')!r})).open(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
