"""What a run folder holds, how it is written and found again; and how any output of the project is put in place.

Nothing is ever half there: a file or folder is written aside by `atomic_path` and moved into place when it is whole.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from omegaconf import DictConfig

_ASIDE = ".partial-"
_STALE_SECONDS = 24 * 3600.0


class RunError(ValueError):
    """A run folder that is not one, or lacks what is asked of it."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write a file or a folder so that it is in place whole or not at all.

    The body writes to the path that it is given (a new name in the same folder with the same suffix; the body may make
    a folder of it). Leaving the body normally, it is flushed to the disk and moved to `path`, in place of what was
    there. On an exception it is removed and `path` stays as it was. A process that is killed leaves a hidden
    `.partial-*` file, which `remove_leftovers` removes once it is a day old.

    Args:
        path: where the result shall be. Missing parent folders are made.

    Yields:
        Path to write to. Nothing is there yet.

    Raises:
        FileNotFoundError: the body wrote nothing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_ASIDE}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        yield aside
        if not aside.exists():
            raise FileNotFoundError(f"nothing was written for {path}")
        flush(aside)
        _move_into_place(aside, path)
        flush_entry(path.parent)
    except BaseException:
        _remove(aside)
        raise


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as JSON, atomically; NaN and infinity are refused, since JSON has neither.

    Raises:
        ValueError: a value that JSON cannot hold.
    """
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")


def _move_into_place(aside: Path, path: Path) -> None:
    """Rename `aside` to `path`; a folder that is in the way steps aside first, since rename does not replace one."""
    if not (path.is_dir() and aside.is_dir()):
        aside.replace(path)
        return
    old = path.with_name(f"{_ASIDE}{uuid.uuid4().hex[:12]}-{path.name}")
    path.replace(old)
    try:
        aside.replace(path)
    except OSError:
        old.replace(path)
        raise
    _remove(old)


def flush(path: Path) -> None:
    """Force a file, or a folder with all in it, to the disk, or a crash could keep the rename and lose the data."""
    for entry in [*path.rglob("*"), path] if path.is_dir() else [path]:
        flush_entry(entry)


def flush_entry(path: Path) -> None:
    """Force one file, or the names that are in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: str | Path) -> None:
    """Remove what killed processes left in a folder. What is younger than a day may belong to one that still writes."""
    for left in Path(folder).glob(f"{_ASIDE}*"):
        try:
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                _remove(left)
        except FileNotFoundError:
            continue  # another process was faster


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names of what lies in a run folder.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Resolved configuration, YAML, without secrets."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, commit, machine, threads and command, JSON."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """Last value of every metric by name, JSON."""
        return self.path / "metrics.json"

    @property
    def bad_clips(self) -> Path:
        """Clips that could not be used, with the reason, JSON."""
        return self.path / "bad_clips.json"

    @property
    def tokenizer(self) -> Path:
        """Tokenizer of a recogniser that was taught with transcripts."""
        return self.path / "tokenizer.json"

    @property
    def vocabulary(self) -> Path:
        """Characters of a CTC recogniser."""
        return self.path / "vocabulary.json"

    @property
    def figures(self) -> Path:
        """Folder of learning curves and other pictures."""
        return self.path / "figures"

    @property
    def last_checkpoint(self) -> Path:
        """State after the last whole epoch: what a resumed run goes on from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """State that did best on the validation part; absent where the run had none."""
        return self.path / "checkpoints" / "best.ckpt"

    def find_checkpoint(self, which: Literal["best", "last"] = "best") -> Path:
        """Checkpoint of a finished or interrupted run.

        Args:
            which: "best" falls back to the last one, which is the model of a run without a validation part.

        Raises:
            RunError: there is no such folder, or no checkpoint in it; the message names the folder.
        """
        if not self.path.is_dir():
            raise RunError(f"run folder {self.path} does not exist; give the folder that pixel_mm.train wrote")
        wanted = [self.best_checkpoint, self.last_checkpoint] if which == "best" else [self.last_checkpoint]
        for checkpoint in wanted:
            if checkpoint.is_file():
                return checkpoint
        raise RunError(
            f"run folder {self.path} has no checkpoint (looked for {', '.join(str(c) for c in wanted)}); "
            "the run ended before its first epoch did, train again"
        )

    def load_config(self) -> "DictConfig":
        """Configuration the run was trained with.

        Raises:
            RunError: the folder has no config.yaml.
        """
        from omegaconf import OmegaConf  # here, so that inference can import this file without it

        if not self.config.is_file():
            raise RunError(f"{self.path} is no run folder: it has no config.yaml; give the folder pixel_mm.train wrote")
        config = OmegaConf.load(self.config)
        if not OmegaConf.is_dict(config):
            raise RunError(f"{self.config} is not a mapping; it was not written by pixel_mm.train")
        return config  # type: ignore[return-value]

    def read_metrics(self) -> Mapping[str, float]:
        """Metrics of a finished run by name.

        Raises:
            RunError: the run has not finished.
        """
        if not self.metrics.is_file():
            raise RunError(f"run folder {self.path} has no metrics.json: the run did not finish")
        metrics: Mapping[str, float] = json.loads(self.metrics.read_text(encoding="utf-8"))
        return metrics


def find_resume(resume: str | None, folder: RunFolder) -> Path | None:
    """Checkpoint to go on from, or None to start anew.

    Args:
        resume: "auto" (this run folder's last checkpoint, if any), a run folder, a checkpoint file, or None.
        folder: of the run that starts.

    Raises:
        RunError: the folder or file that is named has no checkpoint.
    """
    if resume is None:
        return None
    if resume == "auto":
        return folder.last_checkpoint if folder.last_checkpoint.is_file() else None
    path = Path(resume)
    if path.is_file():
        return path
    if path.suffix == ".ckpt":
        raise RunError(f"resume={path}: there is no such checkpoint")
    return RunFolder(path).find_checkpoint("last")
