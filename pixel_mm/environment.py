"""What a number was made with: versions, commit, machine, threads and command. Secrets never get into it."""

import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HIDDEN = "***"
_SECRET_NAME = re.compile(r"(^|[_.-])(api[_-]?key|key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
_SHORTEST_SECRET = 8  # shorter values of such variables are switches like "1" or "true"


def describe_environment() -> dict[str, Any]:
    """Describe the process that calls it, ready for JSON.

    Returns:
        date (ISO 8601, UTC), command, commit (`describe_commit`), python, versions by package, machine
        (`describe_machine`) and threads.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": hide_secrets(shlex.join(["python", *sys.orig_argv[1:]])),
        "commit": describe_commit(),
        "python": platform.python_version(),
        "versions": describe_versions(),
        "machine": describe_machine(),
        "threads": _threads(),
    }


def describe_commit() -> dict[str, Any]:
    """Commit of the checkout this package is run from and whether files in it differ; both None when installed."""
    source = Path(__file__).resolve()
    # Asks for this very file, since an installed package may lie below some other project's checkout.
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return {"hash": None, "dirty": None}
    changes = _git(source.parent, "status", "--porcelain", "--untracked-files=no")
    return {"hash": _git(source.parent, "rev-parse", "HEAD"), "dirty": bool(changes)}


def describe_versions() -> dict[str, str]:
    """Installed versions of this package and of all that it declares to need, by name."""
    names = {"pixel_mm"}
    try:
        for requirement in importlib.metadata.requires("pixel_mm") or []:
            names.update(re.findall(r"^[A-Za-z0-9._-]+", requirement))
    except importlib.metadata.PackageNotFoundError:
        names.update(("torch", "transformers", "pytorch-lightning", "numpy"))  # run from the source, not installed
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed
    return versions


def describe_machine() -> dict[str, Any]:
    """System, processor, cores, memory in GiB and names of the GPUs. No host or user name."""
    import torch

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def hide_secrets(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Text without the value of any environment variable whose name says that it is secret (`..._API_KEY` and such)."""
    for name, value in environ.items():
        if is_secret_name(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, HIDDEN)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a variable or option of this name holds a secret: it ends in key, token, secret or password."""
    return _SECRET_NAME.search(name) is not None


def _threads() -> dict[str, int]:
    import torch

    return {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads()}


def _processor() -> str:
    """Name of the processor: `platform.processor` gives none on most Linux systems."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)):
        return found.group(1)
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, or None where there is no git or it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
