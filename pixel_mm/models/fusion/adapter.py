"""The adapter: all that listens. Resampler, and one gated cross-attention block per chosen layer; or soft tokens."""

from collections.abc import Sequence

from torch import Tensor, nn

from pixel_mm.models.fusion.cross_attention import GatedCrossAttention
from pixel_mm.models.fusion.hearing import Hearing
from pixel_mm.models.fusion.layers import FusionFitError
from pixel_mm.models.fusion.resampler import AudioFrames, Latents, Resampler


class Adapter(nn.Module):
    """What listens, in front of a language model. Made of nothing but what is trained, beside the heads.

    Attributes:
        soft_tokens: whether latents are put before the text as embeddings, in place of cross-attention.
    """

    soft_tokens = False

    def __init__(self, resampler: Resampler) -> None:
        """Take the resampler."""
        super().__init__()
        self.resampler = resampler

    def by_layer(self) -> dict[int, GatedCrossAttention]:
        """Blocks by number of their layer."""
        return {}

    @property
    def arguments(self) -> dict[str, int]:
        """What to build another one with, beside `resampler`, `hidden_size` and `layers`."""
        return {}

    def hear(self, frames: AudioFrames, rows: Tensor, num_rows: int) -> Hearing:
        """What the language model is given of the voices.

        Args:
            frames: of A voices.
            rows: int64 [A], which rows of the batch they belong to.
            num_rows: of the batch.
        """
        latents: Latents = self.resampler(frames)
        pairs = {number: block.keys_values(latents.values) for number, block in self.by_layer().items()}
        return Hearing(rows, num_rows, latents.values, latents.mask, pairs)


class CrossAttentionAdapter(Adapter):
    """Latents, and blocks through which text looks at them. The state dict names blocks by layer."""

    def __init__(
        self,
        resampler: Resampler,
        hidden_size: int,
        layers: Sequence[int],
        num_heads: int,
        head_size: int,
        feed_forward_size: int,
    ) -> None:
        """Build the blocks.

        Args:
            resampler: of frames.
            hidden_size: of the language model.
            layers: numbers of the layers that get a block, ascending; the block stands before the layer.
            num_heads: of each block's attention.
            head_size: width of each head.
            feed_forward_size: of each block; 0 leaves that part out.
        """
        super().__init__(resampler)
        sizes = (hidden_size, resampler.size, num_heads, head_size, feed_forward_size)
        self._arguments = {"num_heads": num_heads, "head_size": head_size, "feed_forward_size": feed_forward_size}
        self.blocks = nn.ModuleDict({str(number): GatedCrossAttention(*sizes) for number in layers})

    def by_layer(self) -> dict[int, GatedCrossAttention]:
        """Blocks by number of their layer."""
        return {int(name): block for name, block in self.blocks.items() if isinstance(block, GatedCrossAttention)}

    @property
    def arguments(self) -> dict[str, int]:
        """See `Adapter`."""
        return dict(self._arguments)


class SoftTokenAdapter(Adapter):
    """Latents as embeddings before the text: what a serving engine that takes prompt embeddings can run."""

    soft_tokens = True

    def __init__(self, resampler: Resampler, hidden_size: int, layers: Sequence[int]) -> None:
        """Build the projection.

        Args:
            resampler: of frames.
            hidden_size: of the language model.
            layers: not used, as there are no blocks; words are still read below the first of them.
        """
        super().__init__(resampler)
        self.projection = nn.Linear(resampler.size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def start_like(self, embeddings: nn.Module) -> None:
        """Give soft tokens the root mean square of the embeddings of words.

        Raises:
            FusionFitError: embeddings that are not loaded, in the upper half of a model.
        """
        if not isinstance(embeddings, nn.Embedding):
            raise FusionFitError("backbone: soft tokens need the whole model, with its embeddings and lower layers")
        nn.init.constant_(self.norm.weight, float(embeddings.weight.float().square().mean().sqrt()))

    def embeddings(self, hearing: Hearing) -> Tensor:
        """Soft tokens, float [A, N, H]."""
        return self.embed(hearing.latents)

    def embed(self, latents: Tensor) -> Tensor:
        """Soft tokens float [A, N, H] of latents float [A, N, size]."""
        tokens: Tensor = self.norm(self.projection(latents))
        return tokens


def choose_layers(
    num_layers: int, layers: Sequence[int] | None, top_share: float, every: int, first_layer: int = 0
) -> tuple[int, ...]:
    """Numbers of the layers that get a block, ascending.

    Args:
        num_layers: of the whole language model.
        layers: given by number; negative ones count from the end. None: by the two that follow.
        top_share: of the layers, from the top, among which they are taken, 0..1.
        every: take each so-manieth of them.
        first_layer: lowest layer that is loaded.

    Raises:
        FusionFitError: a layer that the model has not, or that is not loaded.
    """
    if layers is None:
        if not 0 < top_share <= 1 or every < 1:
            raise FusionFitError(f"model.top_share is {top_share} and every {every}; need above 0 to 1, and 1 or more")
        top = max(1, int(num_layers * top_share))
        return choose_layers(num_layers, range(num_layers - top, num_layers, every), 1.0, 1, first_layer)
    numbers = sorted({number + num_layers if number < 0 else number for number in layers})
    outside = [number for number in numbers if not 0 <= number < num_layers]
    if outside or not numbers:
        raise FusionFitError(
            f"model.layers is {list(layers)}; the backbone has layers 0 to {num_layers - 1}, choose among them"
        )
    if numbers[0] < first_layer:
        raise FusionFitError(
            f"model.layers: layer {numbers[0]} is below {first_layer}, the lowest that is loaded; hidden states are "
            "kept for another set of layers than the model has"
        )
    return tuple(numbers)
