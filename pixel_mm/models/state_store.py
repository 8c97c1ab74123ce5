"""Arrays on the disk by name, bounded, each in place whole or not at all, mapped into memory when read."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pixel_mm.runs import atomic_path


class StateStoreError(ValueError):
    """States that cannot be kept, or that are not there."""


def name_of(content: Mapping[str, Any]) -> str:
    """Name of all that states depend on, 32 hexadecimal digits."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


class StateStore:
    """States by name and variant, in a folder that is named after what they depend on.

    Attributes:
        key: that name.
        option: of the configuration, that messages point to.
    """

    option = "trunk_cache"

    def __init__(self, folder: str | Path, key: str, dtype: str, max_bytes: int) -> None:
        """Open it; nothing is written yet.

        Args:
            folder: of the stores of this kind.
            key: of what the states depend on beside name and variant.
            dtype: what states are kept as: "float16", "float32", "int16".
            max_bytes: that all stores in the folder may grow to.
        """
        self.key = key
        self._root = Path(folder)
        self._dtype = np.dtype(dtype)
        self._max_bytes = max_bytes
        self._used_bytes = sum(file.stat().st_size for file in self._root.rglob("*.npy"))

    def _path(self, name: str, variant: int | str) -> Path:
        return self._root / self.key / str(variant) / f"{name}.npy"

    def has(self, name: str, variant: int | str) -> bool:
        """Whether the states of this variant are there."""
        return self._path(name, variant).is_file()

    def get(self, name: str, variant: int | str) -> np.ndarray:
        """States, mapped from the disk; writing to them changes no file.

        Raises:
            StateStoreError: they are not there.
        """
        path = self._path(name, variant)
        try:
            states: np.ndarray = np.load(path, mmap_mode="c")
        except FileNotFoundError as error:
            raise StateStoreError(f"{self.option}: no states at {path}; has the folder been emptied?") from error
        return states

    def put(self, name: str, variant: int | str, states: np.ndarray) -> None:
        """Keep states.

        Args:
            name: such as the hash of a waveform.
            variant: of it.
            states: without padding.

        Raises:
            StateStoreError: too large a value for float16, or no room within `max_bytes`.
            OSError: the disk is full.
        """
        with np.errstate(over="ignore"):
            kept = np.ascontiguousarray(states, self._dtype)
        if not np.isfinite(kept).all():
            raise StateStoreError(f"{self.option}: a state does not fit into float16; set {self.option}.dtype=float32")
        if self._used_bytes + kept.nbytes > self._max_bytes:
            raise StateStoreError(
                f"{self.option}: {self._root} would grow past {self._max_bytes / 1e9:g} GB; empty it, raise "
                f"{self.option}.max_gigabytes, or set {self.option}.enabled=false"
            )
        with atomic_path(self._path(name, variant)) as aside:
            np.save(aside, kept)
        self._used_bytes += kept.nbytes
