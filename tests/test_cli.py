import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm import cli
from pixel_mm.cli import INTERRUPTED, USER_ERROR, explain
from pixel_mm.runs import RunFolder

Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with a small configuration: group `data` with choices a and b, and an option without default."""
    conf = tmp_path / "conf"
    (conf / "data").mkdir(parents=True)
    (conf / "data" / "emodb.yaml").write_text("root: ???\n")
    (conf / "data" / "ravdess.yaml").write_text("root: /somewhere\n")
    output = "hydra: {output_subdir: null, run: {dir: " + str(tmp_path / "run") + "}}\n"
    (conf / "small.yaml").write_text("defaults: [{data: ravdess}, _self_]\nseed: 1\n" + output)
    monkeypatch.setattr(cli, "CONFIG_DIR", conf)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def start(*arguments: str, main: Callable[[DictConfig], Any]) -> None:
        monkeypatch.setattr(sys, "argv", ["small", *arguments])
        cli.run(main, "small")

    return start


def fails(run: Run, capsys: pytest.CaptureFixture[str], *arguments: str, main: Callable[..., Any], code: int) -> str:
    with pytest.raises(SystemExit) as left:
        run(*arguments, main=main)
    assert left.value.code == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_the_configuration_reaches_the_command(run: Run) -> None:
    seen = []
    run("seed=7", main=lambda cfg: seen.append((cfg.seed, cfg.data.root)))
    assert seen == [(7, "/somewhere")]


def test_an_unknown_choice_lists_what_there_is(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(run, capsys, "data=emodbb", main=lambda cfg: None, code=USER_ERROR)
    assert "emodbb" in error
    assert "\temodb\n\travdess" in error
    assert "search path" not in error


def test_an_unknown_option_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert "seeed" in fails(run, capsys, "seeed=2", main=lambda cfg: None, code=USER_ERROR)


def test_a_broken_option_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert "seed=[" in fails(run, capsys, "seed=[", main=lambda cfg: None, code=USER_ERROR)


def test_a_missing_root_names_the_option(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(run, capsys, "data=emodb", main=lambda cfg: cfg.data.root, code=USER_ERROR)
    assert "data.root=VALUE" in error
    assert "docs/corpora.md" in error


def test_what_the_package_refuses_is_one_message(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = RunFolder(tmp_path / "nowhere")
    error = fails(run, capsys, main=lambda cfg: missing.find_checkpoint(), code=USER_ERROR)
    assert error.splitlines()[-1].startswith(f"error: run folder {missing.path} does not exist")


def test_what_a_constructor_refuses_is_one_message(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    node = {"_target_": "pixel_mm.data.utterance.Utterance", "path": Path("a.wav"), "speaker": ""}
    error = fails(run, capsys, main=lambda cfg: instantiate(node), code=USER_ERROR)
    assert error.splitlines()[-1].startswith("error: a.wav: field 'speaker' is empty")


def test_a_defect_keeps_its_traceback(run: Run) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        run(main=lambda cfg: int("x"))
    with pytest.raises(KeyError):
        run(main=lambda cfg: {}["x"])


def test_a_traceback_can_be_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="does not exist"):
        run(main=lambda cfg: RunFolder(tmp_path / "nowhere").find_checkpoint())


def test_a_command_leaves_the_environment_as_it_was(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next one in the same process would show tracebacks."""
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    run(main=lambda cfg: None)
    assert "HYDRA_FULL_ERROR" not in os.environ
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit):
        run("seeed=2", main=lambda cfg: None)
    assert os.environ["HYDRA_FULL_ERROR"] == "0"


def test_a_full_disk_is_told_from_other_errors() -> None:
    message = explain(OSError(errno.ENOSPC, "No space left on device", "last.ckpt"))
    assert message is not None
    assert message.startswith("the disk is full")
    assert "last.ckpt" in message


def test_a_file_that_cannot_be_read_is_named(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = fails(run, capsys, main=lambda cfg: (tmp_path / "no.wav").read_bytes(), code=USER_ERROR)
    assert "no.wav" in error


def test_interrupting_says_how_to_go_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(cfg: DictConfig) -> None:
        raise KeyboardInterrupt

    assert "resume=" in fails(run, capsys, main=stop, code=INTERRUPTED)


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(run, capsys, "+logger.wandb.api_key=abc123secret", main=lambda cfg: None, code=USER_ERROR)
    assert "WANDB_API_KEY" in error
    assert "abc123secret" not in error
