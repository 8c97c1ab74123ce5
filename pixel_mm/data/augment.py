"""Changed copies of a clip to train on: audiomentations pipelines that a seed decides, whatever the order of work.

The copy that a clip gets depends on the seed, the clip and the epoch alone, not on the process, the batch or what was
changed before. With `variants`, epochs share so many copies in turn, and what is computed from them can be kept.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import audiomentations
import numpy as np
from audiomentations.core.transforms_interface import BaseTransform

from pixel_mm.audio import MAX_SAMPLES, MIN_SAMPLES, SAMPLE_RATE_HZ, Waveform, normalise_level
from pixel_mm.data.batching import CLEAN, Variant


class Augment:
    """A pipeline of transforms, each applied with its own probability; none at all leaves clips as they are.

    Attributes:
        variants: how many copies of a clip there are, or None: a new one in every epoch. Without transforms they are
            alike, but for what the network masks of them.
        fingerprint: changes with anything that changes a copy: transforms, their settings, seed, library version.
    """

    def __init__(
        self,
        transforms: Sequence[BaseTransform] = (),
        seed: int = 0,
        variants: int | None = None,
    ) -> None:
        """Take the pipeline.

        Args:
            transforms: audiomentations transforms for mono audio, applied in order.
            seed: of everything random in them.
            variants: 1 or more, or None.

        Raises:
            ValueError: variants below 1, or a transform whose settings cannot be told apart by value.
        """
        if variants is not None and variants < 1:
            raise ValueError(f"augment.variants is {variants}; give 1 or more, or null for a new copy in every epoch")
        self.variants = variants
        self._transforms = list(transforms)
        self._seed = seed
        self.fingerprint = self._make_fingerprint()

    def variant(self, epoch: int) -> Variant:
        """Name of the copy that is used in an epoch: a number, or "clean" where there is but one."""
        if self.variants is not None:
            return epoch % self.variants
        return epoch if self._transforms else CLEAN

    def kept_variants(self) -> tuple[Variant, ...] | None:
        """Every copy there is, in the order of epochs; None where each epoch makes new ones."""
        if self.variants is not None:
            return tuple(range(self.variants))
        return None if self._transforms else (CLEAN,)

    def mask_seed(self, clip_key: str, epoch: int) -> int:
        """Seed of what the network masks of a clip in an epoch, 0 to 2 ** 63 - 1: new in each, or as many as copies."""
        copy = epoch if self.variants is None else epoch % self.variants
        digest = hashlib.sha256(f"{self._seed}/{clip_key}/{copy}/mask".encode()).digest()
        return int.from_bytes(digest[:8], "little") >> 1

    def __call__(self, waveform: Waveform, clip_key: str, epoch: int) -> Waveform:
        """The copy of a clip in an epoch, at the level of all clips.

        Args:
            waveform: float32 [T], 16 kHz, levelled.
            clip_key: the clip's name.
            epoch: 0 or more.

        Returns:
            float32 [T'], 16 kHz, levelled, 25 ms to 30 s: a clip that a transform would make longer or shorter than
            that keeps its length, unchanged.

        Raises:
            ValueError: the transforms made something that is not speech any more: NaN, or silence.
        """
        variant = self.variant(epoch)
        if variant == CLEAN or not self._transforms:
            return waveform
        changed = waveform.copy()
        with _seeded(f"{self._seed}/{clip_key}/{variant}"):
            for transform in self._transforms:
                changed = transform(samples=changed, sample_rate=SAMPLE_RATE_HZ)
        if not MIN_SAMPLES <= changed.shape[-1] <= MAX_SAMPLES:
            return waveform
        if not np.isfinite(changed).all() or not changed.any():
            names = ", ".join(type(transform).__name__ for transform in self._transforms)
            raise ValueError(f"{clip_key}: augment.transforms ({names}) made it silent or not finite; make them milder")
        return normalise_level(np.ascontiguousarray(changed, dtype=np.float32))

    def _make_fingerprint(self) -> str:
        if not self._transforms and self.variants is None:
            return "none"
        content = [audiomentations.__version__, self._seed, *map(_describe, self._transforms)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def _seeded(name: str) -> Iterator[None]:
    """Seed the generators that audiomentations draws from, which are global ones, and leave them as they were."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _describe(value: Any) -> Any:
    """A transform's class and settings (or a setting) as JSON holds them."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_describe(item) for item in value]
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    if hasattr(value, "__dict__"):
        drawn = ("parameters", "are_parameters_frozen")  # what the last call left
        settings = {name: _describe(item) for name, item in vars(value).items() if name not in drawn}
        return [type(value).__name__, settings]
    raise ValueError(
        f"augment.transforms: a setting of type {type(value).__name__} cannot be written down, so kept copies "
        "could not be told apart; give numbers, texts, arrays or lists of them"
    )
