"""A tritonserver on loopback: started on free ports, stopped by its process id, nothing left behind.

with TritonServer(repository, models=("emotion",)) as server:
    server.grpc_url, server.http_url, server.metrics_url
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pixel_mm.serving.environment import ServingError, TritonEnvironment
from pixel_mm.serving.process_group import end_group

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1
_LEFT_BY_US = "pixel_mm_triton_"
_LEFT_BY_BACKEND = (
    Path("/tmp"),
    "python_env_*",
)  # for packed environments; the wheel's Python backend knows no other place


class TritonServer:
    """One server process and its helpers.

    Models are loaded one by one, on request: one that does not load does not stop the server. What a `config.pbtxt`
    leaves out is not guessed, so that what works here says enough about itself.

    Args:
        repository: Triton model repository.
        models: to load at the start.
        arguments: more of tritonserver's own.
        variables: more environment variables, e.g. OMP_NUM_THREADS.
        ports: of HTTP, gRPC and metrics; free ones by default.
    """

    def __init__(
        self,
        repository: str | Path,
        models: Sequence[str] = (),
        arguments: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        ports: tuple[int, int, int] | None = None,
    ) -> None:
        """Choose ports; nothing runs yet."""
        self.repository = Path(repository).resolve()
        self._models = tuple(models)
        self._arguments = tuple(arguments)
        self._variables = dict(variables or {})
        self._http, self._grpc, self._metrics = ports or _free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._log = b""
        self._started = 0.0

    @property
    def http_url(self) -> str:
        """HOST:PORT of the HTTP service."""
        return f"127.0.0.1:{self._http}"

    @property
    def grpc_url(self) -> str:
        """HOST:PORT of the gRPC service."""
        return f"127.0.0.1:{self._grpc}"

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://127.0.0.1:{self._metrics}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has said since it was started last."""
        content = (self._folder / "log.txt").read_bytes() if self._folder else self._log
        return content.decode(errors="replace")

    def start(self) -> "TritonServer":
        """Start it and wait until it answers, on the same ports each time.

        It ends with the thread that called this, should that be killed.

        Raises:
            ServingError: it ended, or did not answer in a minute; the message has the end of its log.
        """
        environment = TritonEnvironment.ensure()
        _remove_orphans()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_LEFT_BY_US}{os.getpid()}_"))
        self._started = self._folder.stat().st_mtime
        try:
            self._launch(environment, self._folder)
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self, environment: TritonEnvironment, folder: Path) -> None:
        backends = folder / "backends"
        environment.lay_out_backends(backends)
        command = [
            str(environment.tritonserver),
            f"--model-repository={self.repository}",
            f"--backend-directory={backends}",
            f"--cache-directory={environment.caches}",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
            "--http-address=127.0.0.1",
            f"--http-port={self._http}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self._grpc}",
            "--metrics-address=127.0.0.1",
            f"--metrics-port={self._metrics}",
            "--model-control-mode=explicit",
            "--disable-auto-complete-config",
            "--exit-on-error=false",
            "--exit-timeout-secs=10",
            *(f"--load-model={model}" for model in self._models),
            *self._arguments,
        ]
        with (folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**environment.variables(), **self._variables},
                start_new_session=True,  # its helpers are in its process group, by which they are ended
                preexec_fn=_end_with_parent,
            )

    @property
    def _shared_memory(self) -> str:
        """Beginning of the names of its shared memory; the gRPC port makes it this server's alone."""
        return f"{_LEFT_BY_US}{os.getpid()}_{self._grpc}_"

    def _wait(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not self.is_live():
            assert self._process is not None
            if self._process.poll() is not None:
                raise ServingError(f"tritonserver ended with code {self._process.returncode}:\n{_ends(self.log)}")
            if time.monotonic() > end:
                raise ServingError(f"tritonserver did not answer in {_START_SECONDS:g} s:\n{_ends(self.log)}")
            time.sleep(_POLL_SECONDS)

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        assert self._process is not None, "not running"
        return self._process.wait()

    def is_live(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"http://{self.http_url}/v2/health/live", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def load(self, model: str) -> None:
        """Load a model, or load it again.

        Raises:
            ServingError: it does not load; the message has the reason, which is often in the log only.
        """
        self._post(f"v2/repository/models/{model}/load")

    def unload(self, model: str) -> None:
        """Take a model out of service.

        Raises:
            ServingError: the server refuses.
        """
        self._post(f"v2/repository/models/{model}/unload")

    def models(self) -> list[dict[str, Any]]:
        """The repository's index: name, version, state and reason of each."""
        found: list[dict[str, Any]] = json.loads(self._post("v2/repository/index"))
        return found

    def metrics(self) -> str:
        """Its metrics in Prometheus's text format."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def _post(self, path: str) -> bytes:
        known = len(self.log)
        request = urllib.request.Request(f"http://{self.http_url}/{path}", data=b"{}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as error:
            said = "\n".join(
                line for line in self.log[known:].splitlines() if line.startswith(("E", "W", "F", "[libproto"))
            )
            raise ServingError(f"{path}: {error.read().decode(errors='replace')}\n{_ends(said)}") from None
        return content

    def kill(self) -> None:
        """End it as a crash would, in the middle of whatever it does; `start` may follow."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in an orderly way and remove what it left; `start` may follow."""
        self._end(signal.SIGTERM)

    def _end(self, signal_number: signal.Signals) -> None:
        if self._folder is None:
            return
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            end_group(self._process.pid)  # itself if it hangs, and helpers that outlived it
            self._process.wait()
            self._process = None
        self._clean_up(self._folder)
        self._folder = None

    def _clean_up(self, folder: Path) -> None:
        log = folder / "log.txt"
        self._log = log.read_bytes() if log.is_file() else b""
        shutil.rmtree(folder)
        for left in Path("/dev/shm").glob(f"{self._shared_memory}*"):
            left.unlink(missing_ok=True)
        place, pattern = _LEFT_BY_BACKEND
        for left in place.glob(pattern):
            # A killed server leaves an empty one that says not whose it is: what is older, or in use, stays.
            with contextlib.suppress(OSError):
                if left.stat().st_mtime >= self._started:
                    left.rmdir()

    def __enter__(self) -> "TritonServer":
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def _ends(text: str, characters: int = 1500) -> str:
    """Beginning and end of a long text: a wrong option is named first, a crash last."""
    return text if len(text) <= 2 * characters else f"{text[:characters]}\n...\n{text[-characters:]}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _remove_orphans() -> None:
    """Remove what servers left whose starting process was killed before it could; its id is in their names."""
    for place in (Path(tempfile.gettempdir()), Path("/dev/shm")):
        for left in place.glob(f"{_LEFT_BY_US}*_*"):
            owner = left.name.removeprefix(_LEFT_BY_US).partition("_")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


def _end_with_parent() -> None:
    """Runs in the new process: Linux ends it when its parent dies, however that goes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
