import json
import subprocess
import sys
from pathlib import Path

import pytest

from pixel_mm import environment
from pixel_mm.environment import HIDDEN, describe_commit, describe_environment, hide_secrets, is_secret_name


def test_the_environment_says_what_a_number_was_made_with() -> None:
    described = json.loads(json.dumps(describe_environment(), allow_nan=False))
    assert described["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert {"torch", "numpy", "pytorch-lightning"} <= described["versions"].keys()
    assert described["machine"]["cores"] >= 1
    assert described["threads"]["torch"] >= 1
    assert described["command"].startswith("python ")


def test_the_commit_is_that_of_the_checkout_and_none_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    source = tmp_path / "environment.py"
    source.write_text("1")
    monkeypatch.setattr(environment, "__file__", str(source))
    assert describe_commit() == {"hash": None, "dirty": None}  # below a repository, but not of it
    subprocess.run([*git, "add", "environment.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "y"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert describe_commit() == {"hash": head, "dirty": False}
    source.write_text("2")
    assert describe_commit() == {"hash": head, "dirty": True}


def test_values_of_secret_variables_are_hidden() -> None:
    environ = {"WANDB_API_KEY": "abcdef1234567890", "HF_TOKEN": "hf_0987654321", "THREADS": "abcdefgh"}
    text = "train key=abcdef1234567890 x=hf_0987654321 y=abcdefgh"
    assert hide_secrets(text, environ) == f"train key={HIDDEN} x={HIDDEN} y=abcdefgh"


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "logger.wandb.api_key", "token", "HF_TOKEN", "db_password"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["monitor", "keys", "tokenizer", "num_tokens", "keyboard", "monkey"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)
