"""Gated cross-attention: text tokens look at what was heard. After Flamingo (Alayrac et al., NeurIPS 2022)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeysValues(NamedTuple):
    """What one block makes of the voices of a batch, once for all tokens.

    Attributes:
        keys: float [A, heads, N, head size].
        values: float [A, heads, N, head size].
    """

    keys: Tensor
    values: Tensor


class GatedCrossAttention(nn.Module):
    """Attention from text to voice and a feed-forward layer, each behind tanh of a gate that starts at 0.

    With closed gates, hidden states pass unchanged to the last bit.
    """

    def __init__(
        self, hidden_size: int, audio_size: int, num_heads: int, head_size: int, feed_forward_size: int
    ) -> None:
        """Build the block.

        Args:
            hidden_size: H, width of the language model.
            audio_size: width of the latents.
            num_heads: of the attention.
            head_size: width of each.
            feed_forward_size: width of the hidden layer after it; 0 leaves the feed-forward layer out.
        """
        super().__init__()
        self.num_heads, self.head_size = num_heads, head_size
        width = num_heads * head_size
        self.norm = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, width, bias=False)
        self.key_value = nn.Linear(audio_size, 2 * width, bias=False)
        self.output = nn.Linear(width, hidden_size, bias=False)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward: nn.Module | None = None
        if feed_forward_size:
            self.feed_forward = nn.Sequential(
                nn.LayerNorm(hidden_size),
                nn.Linear(hidden_size, feed_forward_size),
                nn.GELU(),
                nn.Linear(feed_forward_size, hidden_size),
            )
            self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def gates(self) -> Tensor:
        """The gates before tanh, float32 [1 or 2]: attention, feed-forward."""
        if self.feed_forward is None:
            return self.attention_gate
        return torch.cat((self.attention_gate, self.feed_forward_gate))

    def keys_values(self, latents: Tensor) -> KeysValues:
        """Keys and values of latents, float [A, N, audio size]."""
        pair = self.key_value(latents).unflatten(2, (2, self.num_heads, self.head_size))
        keys, values = pair.permute(2, 0, 3, 1, 4)
        return KeysValues(keys, values)

    def forward(self, hidden: Tensor, heard: KeysValues, mask: Tensor) -> Tensor:
        """Add what is heard to the hidden states of rows that are all heard.

        Args:
            hidden: float [A, S, H].
            heard: of the same rows.
            mask: bool [A, N], true where a latent belongs to the voice.

        Returns:
            float [A, S, H], of `hidden`'s type.
        """
        kind = self.query.weight.dtype
        query = self.query(self.norm(hidden.to(kind))).unflatten(2, (self.num_heads, self.head_size)).transpose(1, 2)
        keys, values = heard.keys.to(query.dtype), heard.values.to(query.dtype)
        seen = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask[:, None, None])
        hidden = hidden + (self.attention_gate.tanh() * self.output(seen.transpose(1, 2).flatten(2))).to(hidden.dtype)
        if self.feed_forward is not None:
            change = self.feed_forward_gate.tanh() * self.feed_forward(hidden.to(kind))
            hidden = hidden + change.to(hidden.dtype)
        return hidden

    def attention(self, hidden: Tensor, heard: KeysValues, mask: Tensor) -> Tensor:
        """Which latent each token listens to, for pictures: float32 [A, heads, S, N], rows of sum 1; as `forward`."""
        query = self.query(self.norm(hidden.to(self.query.weight.dtype)))
        query = query.unflatten(2, (self.num_heads, self.head_size)).transpose(1, 2)
        scores = (query @ heard.keys.to(query.dtype).transpose(2, 3)).float() * self.head_size**-0.5
        return scores.masked_fill(~mask[:, None, None], float("-inf")).softmax(-1)
