"""What is heard, as an argument: it goes from call to call with its caller, and no module keeps it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixel_mm.models.fusion.cross_attention import GatedCrossAttention, KeysValues


class Hearing(NamedTuple):
    """The voices of a batch, ready for every block.

    Attributes:
        rows: int64 [A], ascending; the rows of the batch that are heard.
        num_rows: B, how many rows the batch has.
        latents: float [A, N, size].
        mask: bool [A, N], true where a latent belongs to the voice.
        keys_values: by layer of the language model; none where soft tokens are used instead.
    """

    rows: Tensor
    num_rows: int
    latents: Tensor
    mask: Tensor
    keys_values: Mapping[int, KeysValues]

    def of(self, chosen: Tensor) -> "Hearing | None":
        """What is heard of the rows that bool [B] chooses, numbered as they are among themselves."""
        heard = chosen[self.rows]
        if not bool(heard.any()):
            return None
        numbers = chosen.cumsum(0) - 1
        pairs = {layer: KeysValues(*(each[heard] for each in pair)) for layer, pair in self.keys_values.items()}
        return Hearing(numbers[self.rows[heard]], int(chosen.sum()), self.latents[heard], self.mask[heard], pairs)


class Fusion:
    """Argument `fusion` of a fused language model: what its layers need for one call, or one generation.

    No dataclass: what shards layers makes copies of those on the way, and the caller would wait for `below` and `top`.

    Attributes:
        lowest: number of the layer whose entrance `below` is taken at.
        highest: number of the last layer.
        blocks: by layer, `lowest` or above.
        hearing: None: nobody is heard.
        recompute: the layers from `lowest` on in the backward pass, instead of keeping what they made.
        back_from: number of the layer from which on a backward pass goes through the layers, although nobody is heard;
            None: none does. See `pixel_mm.models.fusion.shared_layers`.
        below: filled by the call: hidden states that enter layer `lowest`, float [B, S, H]; no voice has reached them.
        top: filled by the call: hidden states that leave the last layer, float [B, S, H].
    """

    def __init__(
        self,
        lowest: int,
        highest: int,
        blocks: Mapping[int, GatedCrossAttention] | None = None,
        hearing: Hearing | None = None,
        recompute: bool = False,
        back_from: int | None = None,
    ) -> None:
        """Take what the call needs; see the attributes."""
        self.lowest, self.highest, self.blocks = lowest, highest, blocks or {}
        self.hearing, self.recompute, self.back_from = hearing, recompute, back_from
        self.below: Tensor | None = None
        self.top: Tensor | None = None

    def run(self, layer: int, forward: Callable[..., Any], hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """A layer's own forward, after its block if it has one.

        Raises:
            ValueError: another number of rows than were heard, such as beams make.
        """

        def both(hidden: Tensor) -> Any:
            return forward(self._enter(layer, hidden), *args, **kwargs)

        if layer == self.lowest:
            self.below = hidden
        if layer == self.back_from and torch.is_grad_enabled():
            hidden = hidden.detach().requires_grad_(True)  # the same values, where the way back ends
        if self.recompute and torch.is_grad_enabled() and layer >= self.lowest:
            result = checkpoint(both, hidden, use_reentrant=False)
        else:
            result = both(hidden)
        if layer == self.highest:
            self.top = result[0] if isinstance(result, tuple) else result
        return result

    def _enter(self, layer: int, hidden: Tensor) -> Tensor:
        """Hidden states as a layer gets them: those of rows that are heard are changed, others are the same bits."""
        if self.hearing is None or layer not in self.blocks:
            return hidden
        hearing = self.hearing
        if len(hidden) != hearing.num_rows:
            raise ValueError(
                f"fusion: {hearing.num_rows} rows were heard and {len(hidden)} are read; give each row its own, and "
                "generate with one beam and one sequence per row"
            )
        rows = hearing.rows.to(hidden.device)
        fused = self.blocks[layer](hidden[rows], hearing.keys_values[layer], hearing.mask)
        return hidden.index_copy(0, rows, fused)
