"""Keeps the frames that frozen encoders gave of each voice, so that later epochs and runs need not hear it again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.state_store import StateStore, name_of

_FORMAT = 1  # changes when the code between a waveform and a frame comes to give other numbers
_VARIANT = "clean"


class FrameStore:
    """Frames on the disk, by encoder and audio hash, made where they are missing."""

    def __init__(self, folder: str | Path, dtype: str = "float16", max_gigabytes: float = 20.0) -> None:
        """Choose a place; nothing is written yet.

        Args:
            folder: of the frames of all encoders.
            dtype: what frames are kept as, "float16" or "float32".
            max_gigabytes: that the folder may grow to, 10 ** 9 bytes.
        """
        self._folder, self._dtype, self._max_bytes = folder, dtype, round(max_gigabytes * 1e9)
        self._stores: dict[str, StateStore] = {}

    def __call__(
        self, network: FusionNetwork, waveform: Tensor, num_samples: Tensor, audio_hashes: Sequence[str]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """What `network.encode` gives, from the disk where it is there.

        Args:
            network: whose encoders hear.
            waveform: float32 [A, T].
            num_samples: int64 [A].
            audio_hashes: of each voice's waveform.

        Raises:
            StateStoreError: no room within `max_gigabytes`.
        """
        self.make(network, waveform, num_samples, audio_hashes)
        stores = self._of(network)
        return {name: self._read(store, audio_hashes, waveform.device) for name, store in stores.items()}

    def make(self, network: FusionNetwork, waveform: Tensor, num_samples: Tensor, audio_hashes: Sequence[str]) -> None:
        """Keep the frames that are missing; arguments and errors as those of a call."""
        stores = self._of(network)
        missing = [
            row
            for row, audio_hash in enumerate(audio_hashes)
            if not all(store.has(audio_hash, _VARIANT) for store in stores.values())
        ]
        if missing:
            lengths = num_samples[missing]
            frames = network.encode(waveform[missing, : int(lengths.max())], lengths)
            for name, (values, counts) in frames.items():
                for row, value, count in zip(missing, values, counts.tolist(), strict=True):
                    if not stores[name].has(audio_hashes[row], _VARIANT):
                        stores[name].put(audio_hashes[row], _VARIANT, value[:count].float().cpu().numpy())

    def _read(self, store: StateStore, audio_hashes: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        kept = [torch.from_numpy(np.array(store.get(audio_hash, _VARIANT))) for audio_hash in audio_hashes]
        frames = pad_sequence([each.float() for each in kept], batch_first=True).to(device)
        return frames, torch.tensor([len(each) for each in kept], device=device)

    def _of(self, network: FusionNetwork) -> dict[str, StateStore]:
        """A store for each encoder, opened once."""
        chosen = {}
        for name, identity in network.encoder_identities().items():
            key = name_of({"format": _FORMAT, "dtype": self._dtype, **identity})
            if key not in self._stores:
                self._stores[key] = StateStore(self._folder, key, self._dtype, self._max_bytes)
                self._stores[key].option = "module.frames"
            chosen[name] = self._stores[key]
        return chosen
