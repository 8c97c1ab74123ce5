"""A recogniser's three models in a Triton repository: versions come, are served and go together."""

import ast
import errno
import os
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

import pixel_mm
from pixel_mm import export
from pixel_mm import repository as command
from pixel_mm.cli import CONFIG_DIR, USER_ERROR
from pixel_mm.exporters.deployment.served import read_served
from pixel_mm.exporters.joined_model import JoinedModel
from pixel_mm.exporters.joined_version import CODE, CODE_FILES, Pair
from pixel_mm.exporters.joiner_config import JoinerOptions
from pixel_mm.exporters.manifest import RepositoryError
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.triton import read_config, served_versions
from pixel_mm.exporters.triton_checks import TritonConfigError
from pixel_mm.inference.triton_joiner.parts import Parts
from pixel_mm.model_folder import ModelFolder, ModelFolderError
from tests.exporters.repositories import everything, in_child, kill_at_step
from tests.tiny_recognition import publish_tiny_recognizer

pytestmark = pytest.mark.slow

OPTIONS = JoinerOptions()
NAMES = ("speech", "speech_decoder", "speech_encoder")


@pytest.fixture
def pair(recognizer_folder: Path) -> Pair:
    return Pair.find(recognizer_folder, "float32")


@pytest.fixture
def model(tmp_path: Path, pair: Pair) -> JoinedModel:
    """With the versions 1 and 2, of which 2 is served."""
    found = JoinedModel(tmp_path / "repository", "speech")
    assert [found.publish(pair, OPTIONS) for _ in range(2)] == [1, 2]
    return found


def served(model: JoinedModel) -> set[tuple[int, ...]]:
    """What the server reads of each of the three."""
    return {tuple(served_versions(read_config(model.repository / name / "config.pbtxt"), ())) for name in NAMES}


def versions(model: JoinedModel) -> set[tuple[int, ...]]:
    folders = (model.repository / name for name in NAMES)
    return {tuple(sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())) for folder in folders}


def test_a_version_is_three_folders_that_name_each_other(model: JoinedModel, recognizer_folder: Path) -> None:
    exported = ModelFolder(recognizer_folder).open().files
    for role in ("encoder", "decoder"):
        version = ModelFolder(model.repository / f"speech_{role}" / "2")
        assert {path.name for path in version.path.iterdir()} == {"model.onnx", "model.yaml", "parity.json"}
        assert version.open().files["model.onnx"] == exported[f"{role}.onnx"]  # the graph, unchanged
    parts = Parts.read(model.path / "2")
    assert (parts.decoder.model, parts.decoder.version) == ("speech_decoder", 2)
    assert parts.decoder.sha256 == {"model.onnx": exported["decoder.onnx"]}
    assert (parts.num_layers, parts.num_heads, parts.head_width) == (2, 2, 8)
    about = model.manifest().versions[2]
    assert about["parts"] == {"speech_encoder": 2, "speech_decoder": 2}
    assert ModelRepository(model.repository, "speech_encoder").manifest().versions[2]["part_of"] == "speech"
    model.verify()
    for name in NAMES:
        ModelRepository(model.repository, name).verify()
    assert {found.name for found in read_served(model.repository)} == set(NAMES)


def test_they_are_promoted_taken_back_and_pruned_together(model: JoinedModel, pair: Pair) -> None:
    assert served(model) == {(2,)}
    assert model.publish(pair, OPTIONS, promote=False) == 3
    assert served(model) == {(2,)}
    model.promote([3, 1])
    assert served(model) == {(1, 3)}
    assert model.roll_back() == (2,)
    assert served(model) == {(2,)}
    assert model.prune(keep=1) == [1]
    assert versions(model) == {(2, 3)}
    model.verify()
    assert model.publish(pair, OPTIONS) == 4


def test_the_commands_go_by_the_name_of_what_joins(model: JoinedModel, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(model.repository)
    assert command.main(["promote", place, "speech", "1"]) == 0
    said = capsys.readouterr().out
    order = [said.index(f"models/{name}/load") for name in ("speech_encoder", "speech_decoder", "speech")]
    assert order == sorted(order)  # parts are there before what calls them
    assert served(model) == {(1,)}
    for change in (["promote", place, "speech_decoder", "2"], ["roll-back", place, "speech_encoder"]):
        assert command.main(change) == USER_ERROR
        assert "is a part of 'speech', and their versions go together" in capsys.readouterr().err
    assert served(model) == {(1,)}
    assert command.main(["roll-back", place, "speech"]) == 0
    assert command.main(["prune", place, "speech", "--keep", "0"]) == 0
    assert command.main(["verify", place]) == 0
    assert command.main(["list", place]) == 0
    assert versions(model) == {(2,)}


def test_what_does_not_belong_together_is_found(
    model: JoinedModel, second_recognizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.publish(Pair.find(second_recognizer_folder, "float32"), OPTIONS)
    decoder = model.repository / "speech_decoder"
    for name in ("model.onnx", "model.yaml"):  # whole, valid, of another export
        shutil.copyfile(decoder / "3" / name, decoder / "2" / name)
    with pytest.raises(RepositoryError, match=r"version 2 of 'speech': .*speech_decoder/2/model\.onnx is of another"):
        model.verify()
    assert command.main(["verify", str(model.repository)]) == USER_ERROR
    assert "is of another export" in capsys.readouterr().err


def test_a_part_that_is_not_served_is_found_and_promoting_mends_it(model: JoinedModel) -> None:
    ModelRepository(model.repository, "speech_decoder").promote([1])
    with pytest.raises(RepositoryError, match="'speech' serves 2 and 'speech_decoder' does not"):
        model.verify()
    model.promote([2])
    model.verify()


def test_what_cannot_be_a_version_leaves_all_as_it_was(
    model: JoinedModel, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(model.repository)
    for options, message in (
        (JoinerOptions(max_beam_size=9), "triton.max_beam_size is 9.*max_batch_size is 8"),
        (JoinerOptions(tokens_per_partial=0), "triton.tokens_per_partial is 0"),
        (JoinerOptions(threads=-1), "triton.threads is -1"),
    ):
        with pytest.raises(TritonConfigError, match=message):
            model.publish(pair, options)
    with pytest.raises(RepositoryError, match="model 'words' is new"):
        JoinedModel(model.repository, "words").publish(pair, OPTIONS, promote=False)
    with pytest.raises(ModelFolderError, match="precision is 'int4'"):
        Pair.find(pair.folder.path, "int4")
    with pytest.raises(ModelFolderError, match=r"lists no file 'encoder\.plan'"):
        Pair.find(Path(shutil.copytree(pair.folder.path, tmp_path / "copy")), "tensorrt")
    assert everything(model.repository) == before


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_full_disk_leaves_all_three_as_they_were(
    model: JoinedModel, pair: Pair, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    before = everything(model.repository)
    original, left = ModelRepository.place, [fails_at]

    def place(self: ModelRepository, *arguments: Any) -> None:
        left[0] -= 1
        original(self, *arguments)
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ModelRepository, "place", place)
        with pytest.raises(OSError, match="No space"):
            model.publish(pair, OPTIONS)
        left[0] = fails_at
        with pytest.raises(OSError, match="No space"):
            JoinedModel(model.repository, "new").publish(pair, OPTIONS)
    assert everything(model.repository) == before
    assert model.publish(pair, OPTIONS) == 3


def test_killed_at_any_step_what_is_served_has_its_parts(model: JoinedModel, pair: Pair) -> None:
    """Death before each change of a name, which are all the steps that another process can see."""
    states = set()
    for step in range(0, 70, 2):
        (newest,) = model.manifest().served
        os.waitpid(in_child(lambda step=step: kill_at_step(step, lambda: model.publish(pair, OPTIONS))), 0)
        (now,) = model.manifest().served
        assert now in (newest, max(model.manifest().versions))
        states.add(now > newest)
        model.verify()
    assert states == {True, False}
    assert model.publish(pair, OPTIONS) > newest
    assert len(versions(model)) == 1  # what dead commands left of parts is gone
    assert served(model) == {model.manifest().served}


def test_another_kind_of_model_is_refused_under_the_same_name(
    model: JoinedModel, pair: Pair, tiny_model_folder: Path
) -> None:
    before = everything(model.repository)
    with pytest.raises(ModelFolderError, match="does audio_emotion_recognition; give one that target=recognizer wrote"):
        Pair.find(tiny_model_folder, "float32")
    config = read_config(model.repository / "speech_decoder" / "config.pbtxt")
    config.input[2].dims[0] += 1  # as of another number of heads
    with pytest.raises(RepositoryError, match="other inputs, outputs"):
        model.parts[1].require_same_tensors(config, {})
    assert everything(model.repository) == before


def test_what_travels_to_the_server_needs_numpy_and_tokenizers_alone(model: JoinedModel) -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "tokenizers", "triton_python_backend_utils"}
    package = Path(pixel_mm.__file__).parent
    for name in (*CODE_FILES, "inference/triton_joiner/model.py"):
        tree = ast.parse((package / name).read_text(encoding="utf-8"), feature_version=(3, 10))  # of Triton's images
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        modules = {
            module
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for module in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        }
        for module in modules:
            own = f"{str(module).removeprefix('pixel_mm').strip('.').replace('.', '/')}.py"
            assert own in CODE_FILES or str(module).partition(".")[0] in allowed, f"{name} imports {module}"
    with zipfile.ZipFile(model.path / "2" / CODE) as archive:
        assert archive.namelist() == [f"pixel_mm/{name}" for name in CODE_FILES]
    assert (model.path / "1" / CODE).read_bytes() == (model.path / "2" / CODE).read_bytes()


def test_engines_are_served_by_the_tensorrt_backend(tmp_path: Path) -> None:
    """The files only: no machine of the tests can build an engine."""
    folder = ModelFolder(publish_tiny_recognizer(tmp_path, ("float16",)))
    for name in ("encoder.plan", "decoder.plan"):
        (folder.path / name).write_bytes(b"an engine")
    folder.seal(replace(folder.open("parity.json"), files={}))
    model = JoinedModel(tmp_path / "repository", "speech")
    model.publish(Pair.find(folder.path, "tensorrt"), OPTIONS)
    config = read_config(model.repository / "speech_decoder" / "config.pbtxt")
    assert (config.backend, config.default_model_filename) == ("tensorrt", "model.plan")
    assert [list(tensor.dims) for tensor in config.input][:3] == [[-1], [1], [2, -1, 8]]
    model.verify()


def test_the_export_command_adds_a_version(
    tmp_path: Path, recognizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "repository"
    options = ["target=triton_recognizer", f"model_folder={recognizer_folder}", f"repository={place}", "name=words"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("export", [*options, "precision=int8", "triton.max_beam_size=2", "triton.threads=3"])
    export.main(cfg)
    said = capsys.readouterr().out
    assert "words, words_encoder, words_decoder: version 1 added, served: 1" in said
    assert "python3 -m pip install 'numpy<2' tokenizers" in said
    config = read_config(place / "words" / "config.pbtxt")
    assert config.parameters["max_beam_size"].string_value == "2"
    assert config.model_transaction_policy.decoupled
    part = read_config(place / "words_decoder" / "config.pbtxt")
    assert part.parameters["intra_op_thread_count"].string_value == "3"
    assert JoinedModel(place, "words").manifest().versions[1]["exported_as"] == "encoder.int8.onnx + decoder.int8.onnx"
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        assert compose("export", options[:3]).name == "speech"
        assert compose("export", ["target=triton", "repository=DIR"]).name == "emotion"
