"""Keeps the hidden states below the adapter's lowest block: they never change, and the layers that make them can go.

A file per row, named after its tokens, in a folder named after the backbone's weights, the layer and the number format.
Another backbone has another folder, so its states are never taken for this one's. A build that was interrupted goes on.
"""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pixel_mm.models.fusion.backbone import Backbone
from pixel_mm.models.fusion.halves import lower_half
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.models.state_store import StateStore, StateStoreError, name_of

_FORMAT = 1  # changes when the code between tokens and states comes to give other numbers
_VARIANT = "states"
_KINDS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "int16"}  # numpy has no bfloat16


class HiddenStateCache(StateStore):
    """Hidden states float [S, H] by tokens, to the bit as the model made them."""

    option = "hidden_states"

    def __init__(
        self,
        folder: str | Path,
        backbone: Backbone,
        layer: int,
        autocast: torch.dtype | None = None,
        max_bytes: int = 50_000_000_000,
    ) -> None:
        """Open the cache of a backbone's layer; nothing is written yet.

        Args:
            folder: of the caches of all backbones.
            backbone: whole, or from `layer` on.
            layer: number of the layer that the states enter.
            autocast: to what training casts products (mixed precision), and the lower layers, too; None: to nothing.
            max_bytes: that all caches in the folder may grow to.

        Raises:
            StateStoreError: a backbone that begins at another layer, or of a number format that can't be kept.
        """
        dtype = backbone.model.dtype
        if dtype not in _KINDS:
            raise StateStoreError(f"hidden_states: {dtype} is none of {', '.join(map(str, _KINDS))}")
        if backbone.first_layer not in (0, layer):
            raise StateStoreError(
                f"hidden_states: states enter layer {layer}, but the backbone has its layers from "
                f"{backbone.first_layer} on; load both for the same model.layers"
            )
        content = {
            "format": _FORMAT,
            "backbone": backbone.sha256,
            "architecture": backbone.architecture,
            "layer": layer,
            "dtype": str(dtype),
            "autocast": str(autocast),
        }
        super().__init__(folder, name_of(content), _KINDS[dtype], max_bytes)
        self.layer, self.dtype, self._autocast, self._backbone = layer, dtype, autocast, backbone

    def missing(self, prompts: Iterable[Prompt]) -> list[int]:
        """Places of the prompts of which a row's states are not kept yet."""
        return [
            number
            for number, prompt in enumerate(prompts)
            if not all(self.has(name, _VARIANT) for name in _names(prompt))
        ]

    @torch.no_grad()
    def build(self, prompts: Iterable[Prompt], device: torch.device | str = "cpu") -> int:
        """Run the lower layers on all that is not kept yet; what an interrupted build kept is not run again.

        Args:
            prompts: rows with their answers, padded on the right.
            device: to run on.

        Returns:
            How many rows were run.

        Raises:
            StateStoreError: the lower layers are not loaded, compute in another dtype, or there is no room.
        """
        lower: nn.Module | None = None
        count = 0
        for prompt in prompts:
            names = _names(prompt)
            rows = [row for row, name in enumerate(names) if not self.has(name, _VARIANT)]
            if not rows:
                continue
            if lower is None:
                lower = self._lower().to(device)
            tokens, mask = prompt.input_ids[rows].to(device), prompt.attention_mask[rows].to(device)
            with torch.autocast(tokens.device.type, self._autocast, enabled=self._autocast is not None):
                states = lower(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
            for row, state, present in zip(rows, states, mask.bool(), strict=True):
                self._keep(names[row], state[present])
            count += len(rows)
        return count

    def put_into(self, prompt: Prompt) -> Prompt:
        """A prompt with the states that were kept for it.

        Raises:
            StateStoreError: there are none for a row: they were made from other weights or tokens, or not at all.
        """
        names = _names(prompt)
        absent = [row for row, name in enumerate(names) if not self.has(name, _VARIANT)]
        if absent:
            raise StateStoreError(
                f"hidden_states: {len(absent)} of {len(names)} rows have no states of this backbone "
                f"({self._backbone.sha256[:12]}) before layer {self.layer} in {self._root / self.key}; build them with "
                "the whole backbone of these weights first"
            )
        states = pad_sequence([self._tensor(name) for name in names], batch_first=True)
        return prompt._replace(below=states.to(prompt.input_ids.device))

    def _lower(self) -> nn.Module:
        if self._backbone.first_layer:
            raise StateStoreError("hidden_states: rows are missing, and the layers that would make them are not loaded")
        return lower_half(self._backbone.model, self.layer)

    def _keep(self, name: str, state: Tensor) -> None:
        if state.dtype != self.dtype:
            raise StateStoreError(f"hidden_states: the backbone computes {state.dtype}, the cache is of {self.dtype}")
        if not state.isfinite().all():
            raise StateStoreError("hidden_states: the lower layers gave states that are not finite")
        state = state.cpu().contiguous()
        values = state.view(torch.int16) if self.dtype == torch.bfloat16 else state
        self.put(name, _VARIANT, values.numpy())

    def _tensor(self, name: str) -> Tensor:
        kept = torch.from_numpy(np.array(self.get(name, _VARIANT)))
        return kept.view(torch.bfloat16) if self.dtype == torch.bfloat16 else kept


def _names(prompt: Prompt) -> list[str]:
    """SHA-256 of each row's own tokens.

    Raises:
        StateStoreError: rows padded on the left, whose positions would be others.
    """
    names = []
    for tokens, present in zip(prompt.input_ids.cpu(), prompt.attention_mask.cpu().bool(), strict=True):
        length = int(present.sum())
        if not present[:length].all():
            raise StateStoreError("hidden_states: rows must be padded on the right")
        names.append(sha256(tokens[:length].numpy().astype("<i8").tobytes()).hexdigest())
    return names
