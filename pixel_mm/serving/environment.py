"""Where the server comes from: wheels of the package index, in a virtual environment of their own below the cache.

`nvidia-pytriton` carries the real `tritonserver` with its Python backend, `tritonclient` the `perf_analyzer`. Neither
wheel carries Triton's C++ backends, so pip's onnxruntime runs the models, through `pixel_mm/serving/backends`. The
environment is apart from the project's, since the server's side needs numpy 1: with numpy 2 it silently gives
empty outputs. Made once, in about 20 s; 350 MB.
"""

import ctypes.util
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pixel_mm.pretrained import cache_folder

# Wheels whose own dependencies serve their Python parts, which nobody uses here.
_SERVER = {
    "nvidia-pytriton==0.7.0": "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    "tritonclient==2.51.0": "c485bb0123bdf310f90bc8b03d3489b28df2ffed55b30c7eee0b795b48113d52",
}
_LIBRARIES = (
    "numpy==1.26.4", "onnxruntime==1.31.1", "flatbuffers==25.12.19", "packaging==26.2", "protobuf==6.33.6",
    "tokenizers==0.23.3",  # recognisers' joining models write with it
)  # fmt: skip
# What perf_analyzer asks for by names that the wheel's copies do not have.
_LIBRARY_NAMES = {"libb64.so.0d": "libb64-*.so*", "libcudart.so.12": "libcudart-*.so*"}


class ServingError(RuntimeError):
    """The server, or what it needs, is not to be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TritonEnvironment:
    """A virtual environment that holds the server.

    Attributes:
        path: the environment.
    """

    path: Path

    @classmethod
    def ensure(cls) -> "TritonEnvironment":
        """The environment for this Python, made now if it was not before; safe to call from several processes.

        Raises:
            ServingError: another system than x86-64 Linux, Python was built without its shared library, or the
                package index does not give the wheels.
        """
        if sys.platform != "linux" or sysconfig.get_platform() != "linux-x86_64":
            raise ServingError(f"the server's wheel is for Linux on x86-64, this is {sysconfig.get_platform()}")
        python_library_folder()
        place = cache_folder() / "triton" / _key()
        place.parent.mkdir(parents=True, exist_ok=True)
        ready = place / ".ready"
        with FileLock(f"{place}.lock"):
            if not ready.is_file():
                shutil.rmtree(place, ignore_errors=True)  # half of one, from an installation that was stopped
                _install(place)
                ready.touch()
        return cls(place)

    @property
    def site_packages(self) -> Path:
        """Where its packages lie."""
        return self.path / "lib" / f"python{_python_version()}" / "site-packages"

    @property
    def _server_folder(self) -> Path:
        return self.site_packages / "pytriton" / "tritonserver"

    @property
    def tritonserver(self) -> Path:
        """The server's program."""
        return self._server_folder / "bin" / "tritonserver"

    @property
    def caches(self) -> Path:
        """The server's response caches."""
        return self._server_folder / "caches"

    @property
    def perf_analyzer(self) -> Path:
        """Triton's own load generator."""
        return self.path / "bin" / "perf_analyzer"

    def variables(self) -> dict[str, str]:
        """Environment variables for the programs, on top of this process's."""
        libraries = (self.site_packages / "nvidia_pytriton.libs", self.path / "lib", python_library_folder())
        given = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {
            **given,
            "PATH": f"{self.path / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            "LD_LIBRARY_PATH": os.pathsep.join(str(folder) for folder in libraries),
            # torch is too large for an environment of its own: the stand-in takes the project's.
            "PIXEL_MM_TORCH": sysconfig.get_path("purelib"),
            # What runs beside the server, and needs more than it has, runs with the project's own Python.
            "PIXEL_MM_PYTHON": sys.executable,
            "PIXEL_MM_PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def lay_out_backends(self, folder: Path) -> None:
        """Make a backend directory: the Python backend of the wheel, and the stand-ins.

        Args:
            folder: to make. It gets copies, 3 MB: the server refuses links that lead out of it.
        """
        python = folder / "python"
        shutil.copytree(self._server_folder / "backends" / "python", python)
        stub = self._server_folder / "python_backend_stubs" / _python_version() / "triton_python_backend_stub"
        shutil.copy(stub, python)
        for backend in (Path(__file__).parent / "backends").glob("*/model.py"):
            (folder / backend.parent.name).mkdir()
            shutil.copy(backend, folder / backend.parent.name)


def python_library_folder() -> Path:
    """Folder of this Python's shared library, which runs the server's Python backend.

    Raises:
        ServingError: there is none.
    """
    name = f"libpython{_python_version()}.so.1.0"
    folders = [sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LIBPL"), f"{sys.base_prefix}/lib"]
    for folder in (*filter(None, folders), *Path("/usr/lib").glob("*-linux-gnu"), "/usr/lib64"):
        if (Path(folder) / name).is_file():
            return Path(folder)
    found = ctypes.util.find_library(f"python{_python_version()}")
    hint = f"; {found} is somewhere else" if found else ""
    raise ServingError(f"{name} is missing{hint}; install it (Debian: apt-get install libpython{_python_version()})")


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _key() -> str:
    """Name of the environment: another one for other pins or another Python."""
    pins = "\n".join((*_SERVER, *_SERVER.values(), *_LIBRARIES, *_LIBRARY_NAMES, sys.base_prefix, sys.version))
    return hashlib.sha256(pins.encode()).hexdigest()[:16]


def _install(place: Path) -> None:
    _run("make the environment", sys.executable, "-m", "venv", "--without-pip", str(place))
    pins = place / "server.txt"
    pins.write_text("".join(f"{pin} --hash=sha256:{digest}\n" for pin, digest in _SERVER.items()), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--quiet", "--no-deps")
    _run("install the server", *pip, "--requirement", str(pins))
    _run("install onnxruntime and tokenizers for the server", *pip, *_LIBRARIES)
    libraries = TritonEnvironment(place).site_packages / "nvidia_pytriton.libs"
    for name, pattern in _LIBRARY_NAMES.items():
        (place / "lib" / name).symlink_to(next(libraries.glob(pattern)))


def _run(what: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServingError(f"cannot {what}: {' '.join(command)}\n{done.stderr.strip()[-2000:]}")
