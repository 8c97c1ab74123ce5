"""The commands that list, promote, roll back, prune and verify, and the export that adds versions."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pixel_mm import export, repository
from pixel_mm.cli import CONFIG_DIR, USER_ERROR
from pixel_mm.export import ExportError, write_triton_version
from pixel_mm.exporters.repository import ModelRepository


def add(tiny_model_folder: Path, place: Path, *overrides: str) -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(
            "export", ["target=triton", f"model_folder={tiny_model_folder}", f"repository={place}", *overrides]
        )
    write_triton_version(cfg)


@pytest.fixture
def place(tmp_path: Path, tiny_model_folder: Path) -> Path:
    for _ in range(3):
        add(tiny_model_folder, tmp_path / "repository")
    return tmp_path / "repository"


def run(*arguments: object) -> int:
    return repository.main([str(argument) for argument in arguments])


def test_a_version_is_added_listed_promoted_and_taken_back(
    place: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(tiny_model_folder, place)
    assert "version 4 added, served: 4" in capsys.readouterr().out
    assert run("promote", place, "emotion", 1, 2) == 0
    assert "emotion serves 1 and 2" in capsys.readouterr().out
    assert run("roll-back", place, "emotion") == 0
    assert run("prune", place, "emotion", "--keep", 1) == 0
    assert "removed: 1, 2" in capsys.readouterr().out
    assert run("verify", place) == 0
    assert run("list", place) == 0
    said = capsys.readouterr().out
    assert "model.onnx" in said
    assert "last change: prune [1, 2]" in said


def test_options_of_the_command_reach_the_configuration(tmp_path: Path, tiny_model_folder: Path) -> None:
    add(
        tiny_model_folder, tmp_path / "r", "name=script", "formats=[torchscript]", "format=torchscript",
        "triton.max_batch_size=4",
        "triton.preferred_batch_sizes=[2,4]", "triton.length_buckets=1",
    )  # fmt: skip
    text = (tmp_path / "r" / "script" / "config.pbtxt").read_text()
    assert 'backend: "pytorch"' in text
    assert "max_batch_size: 4" in text
    assert "preferred_batch_size: 2" in text
    assert '"[160000]"' in text


def test_a_version_can_be_added_without_being_served(place: Path, tiny_model_folder: Path) -> None:
    add(tiny_model_folder, place, "promote=false")
    assert ModelRepository(place, "emotion").manifest().served == (3,)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model_folder=null"], "give run=RUN_DIR, or model_folder=DIR"),
        (["run=somewhere"], "give run=RUN_DIR, or model_folder=DIR"),
        (["format=onnx_int8"], r"format=onnx_int8 is not among the formats; add formats=\[onnx,onnx_int8\]"),
    ],
)
def test_options_that_do_not_fit_together_are_named(
    tmp_path: Path, tiny_model_folder: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        add(tiny_model_folder, tmp_path / "r", *overrides)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "emotion", "9"], "has no version 9; it has 1, 2, 3"),
        (["promote", "feelings", "1"], "has no model 'feelings'; it has emotion"),
        (["prune", "emotion", "--keep", "-1"], "keep is -1"),
    ],
)
def test_a_users_mistake_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    command, *rest = arguments
    assert run(command, place, *rest) == USER_ERROR
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_what_is_no_repository_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", tmp_path) == USER_ERROR
    assert "is no Triton repository" in capsys.readouterr().err


def test_the_export_command_says_it_in_one_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "letter.txt").touch()
    monkeypatch.setattr("sys.argv", ["export", "target=triton", "model_folder=m", f"repository={tmp_path}"])
    with pytest.raises(SystemExit) as ended:
        export.run(export.main, config_name="export")
    assert ended.value.code == USER_ERROR
    assert "letter.txt in it is no model" in capsys.readouterr().err
