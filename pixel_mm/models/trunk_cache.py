"""Keeps what a frozen trunk gave for each clip, so that later epochs, folds and runs cost only what is trained.

One file per clip, float [S, F, D]. Its folder is named after all that the states depend on beside the clip: the trunk's
weights and architecture, which states are kept, the masks, the augmentation and its variant. Its name is the hash of
the clip's audio before augmentation.
"""

from pathlib import Path
from typing import Literal

from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.freezing import fingerprint, trunk_tensors
from pixel_mm.models.state_store import StateStore, StateStoreError, name_of

# Changes when the code between a waveform and a state comes to give other numbers.
_FORMAT = 1


class TrunkCache(StateStore):
    """States float [S, F, D] by audio hash and variant (which augmented copy, or "clean")."""

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
            StateStoreError: the network has no frozen trunk.
        """
        super().__init__(folder, _key(network, dtype, augment_fingerprint), dtype, max_bytes)


def _key(network: EmotionRegressor, dtype: str, augment_fingerprint: str) -> str:
    depth = network.trunk_depth
    if depth is None:
        raise StateStoreError("trunk cache: the encoder's front end is trained, so there is nothing to keep")
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
    return name_of(content)
