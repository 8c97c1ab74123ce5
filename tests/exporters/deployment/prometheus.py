"""The real Prometheus and promtool: of the machine, or of Debian's package, unpacked below the cache."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from pixel_mm.pretrained import cache_folder


@dataclass(frozen=True)
class Programs:
    prometheus: str
    promtool: str


def find_programs() -> Programs | str:
    """The programs, or why there are none."""
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    if found[0] and found[1]:
        return Programs(found[0], found[1])
    place = cache_folder() / "prometheus"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock"):
        if not (place / "unpacked").is_dir() and (reason := _unpack_package(place)):
            return f"no prometheus and promtool on the PATH, and Debian's package is not to be had: {reason}"
    return Programs(*(str(place / "unpacked" / "usr" / "bin" / name) for name in ("prometheus", "promtool")))


def _unpack_package(place: Path) -> str | None:
    """Download it (apt checks its signature) and unpack it, without installing; the reason if that cannot be done."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return "this is no Debian"
    with tempfile.TemporaryDirectory(dir=place) as folder:
        for command in (["apt-get", "download", "prometheus"], ["sh", "-c", "dpkg-deb -x prometheus_*.deb unpacked"]):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                return done.stderr.strip()[-500:]
        (Path(folder) / "unpacked").rename(place / "unpacked")
    return None


class Prometheus:
    """What a running one answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            content = json.load(answer)
        assert content["status"] == "success"
        return content["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return result

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """Results of an expression, as soon as there are any."""
        wait_until(lambda: bool(self.query(expression)), f"{expression} has no result")
        return self.query(expression)


@contextmanager
def running(programs: Programs, config: Path, port: int) -> Iterator[Prometheus]:
    with tempfile.TemporaryDirectory() as data, (Path(data) / "log.txt").open("wb") as log:
        command = [
            programs.prometheus,
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                server = Prometheus(port)
                wait_until(lambda: answers(f"{server.url}/-/ready"), f"{command} does not answer")
                yield server
            finally:
                process.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)
