"""Keeps what a frozen trunk gave for each clip, so that later epochs, folds and runs cost only what is trained.

One file per clip, float [S, F, D]. Its folder is named after all that the states depend on beside the clip: the trunk's
weights and architecture, which states are kept, the masks, the augmentation and its variant. Its name is the hash of
the clip's audio before augmentation.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.freezing import fingerprint, trunk_tensors
from pixel_mm.runs import atomic_path

# Changes when the code between a waveform and a state comes to give other numbers.
_FORMAT = 1


class TrunkCacheError(ValueError):
    """States that cannot be kept, or that are not there."""


class TrunkCache:
    """States by audio hash and variant, on the disk.

    Attributes:
        key: name of what the states depend on beside clip and variant.
    """

    def __init__(
        self,
        folder: str | Path,
        network: EmotionRegressor,
        dtype: Literal["float16", "float32"] = "float16",
        augment_fingerprint: str = "none",
        max_bytes: int = 20_000_000_000,
    ) -> None:
        """Open the cache of a network's trunk; nothing is written yet.

        Args:
            folder: of the caches of all trunks.
            network: adapted.
            dtype: what states are kept as. float16 halves the disk and costs three decimal digits.
            augment_fingerprint: changes whenever a variant of a clip does.
            max_bytes: that all caches in the folder may grow to.

        Raises:
            TrunkCacheError: the network has no frozen trunk.
        """
        self.key = _key(network, dtype, augment_fingerprint)
        self._root = Path(folder)
        self._dtype = np.dtype(dtype)
        self._max_bytes = max_bytes
        self._used_bytes = sum(file.stat().st_size for file in self._root.rglob("*.npy"))

    def _path(self, audio_hash: str, variant: int | str) -> Path:
        return self._root / self.key / str(variant) / f"{audio_hash}.npy"

    def has(self, audio_hash: str, variant: int | str) -> bool:
        """Whether the states of this variant of a clip are there."""
        return self._path(audio_hash, variant).is_file()

    def get(self, audio_hash: str, variant: int | str) -> np.ndarray:
        """States of a clip, float [S, F, D], mapped from the disk; writing to them changes no file.

        Raises:
            TrunkCacheError: they are not there.
        """
        path = self._path(audio_hash, variant)
        try:
            states: np.ndarray = np.load(path, mmap_mode="c")
        except FileNotFoundError as error:
            raise TrunkCacheError(f"trunk cache: no states at {path}; has the folder been emptied?") from error
        return states

    def put(self, audio_hash: str, variant: int | str, states: np.ndarray) -> None:
        """Keep the states of a clip, without padding.

        Args:
            audio_hash: of the waveform before augmentation.
            variant: which augmented copy, or "clean".
            states: float [S, F, D].

        Raises:
            TrunkCacheError: too large a value for float16, or no room within `max_bytes`.
            OSError: the disk is full.
        """
        with np.errstate(over="ignore"):
            kept = np.ascontiguousarray(states, self._dtype)
        if not np.isfinite(kept).all():
            raise TrunkCacheError("trunk cache: a state does not fit into float16; set trunk_cache.dtype=float32")
        if self._used_bytes + kept.nbytes > self._max_bytes:
            raise TrunkCacheError(
                f"trunk cache: {self._root} would grow past {self._max_bytes / 1e9:g} GB; empty it, raise "
                "trunk_cache.max_gigabytes, or set trunk_cache.enabled=false"
            )
        with atomic_path(self._path(audio_hash, variant)) as aside:
            np.save(aside, kept)
        self._used_bytes += kept.nbytes


def _key(network: EmotionRegressor, dtype: str, augment_fingerprint: str) -> str:
    depth = network.trunk_depth
    if depth is None:
        raise TrunkCacheError("trunk cache: the encoder's front end is trained, so there is nothing to keep")
    content = {
        "format": _FORMAT,
        "architecture": network.encoder.architecture,
        "weights": fingerprint(trunk_tensors(network.encoder, depth)),
        "states": list(network.trunk_states),
        # Whether the trunk averages frames; what happens above it is not kept.
        "frame_stride": network.frame_stride if network.stride_depth <= depth else 1,
        "stride_depth": network.stride_depth if network.stride_depth <= depth else 0,
        "mask": repr(network.encoder.mask) if network.encoder.masks else None,
        "augment": augment_fingerprint,
        "dtype": dtype,
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
