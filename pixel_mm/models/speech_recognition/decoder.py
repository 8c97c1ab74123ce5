"""Whisper's decoder (Radford et al. 2022), with its cache as arguments and results: a graph can be made of any step.

The parameters have the names they have in `transformers`, so that published weights load as they are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixel_mm.models.encoders.loading import load_published
from pixel_mm.models.encoders.whisper import WhisperAttention
from pixel_mm.pretrained import Weights

Pair = tuple[Tensor, Tensor]
"""Keys and values of one layer, float [B, H, N, D / H] each."""
Cache = tuple[Pair, ...]
"""Those of all layers. Layers are apart, so that a step copies no more than it must."""


class WhisperDecoder(nn.Module):
    """Token and position embeddings, transformer layers that look at the tokens so far and at the speech.

    B utterances, N new tokens, P tokens before them, F frames of speech, L layers, H heads, D hidden size, V tokens.
    """

    def __init__(
        self,
        num_layers: int,
        hidden_size: int,
        num_heads: int,
        feed_forward_size: int,
        num_tokens: int,
        weights: Weights | None = None,
        pretrained_weights: bool = True,
        max_tokens: int = 448,
        dropout: float = 0.0,
    ) -> None:
        """Build the decoder and load its weights.

        Args:
            num_layers: L.
            hidden_size: D.
            num_heads: H.
            feed_forward_size: width inside the feed-forward blocks.
            num_tokens: V, the vocabulary with timestamps.
            weights: where the published weights are.
            pretrained_weights: false leaves random weights: the same architecture, nothing fetched.
            max_tokens: longest P + N.
            dropout: on the output of each block, in training.

        Raises:
            ValueError: sizes that don't fit together.
            PretrainedError: weights that are not to be had or don't fit.
        """
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"decoder: hidden_size {hidden_size} must be a multiple of num_heads {num_heads}")
        self.num_layers, self.hidden_size, self.num_heads = num_layers, hidden_size, num_heads
        self.num_tokens, self.max_tokens = num_tokens, max_tokens
        self.architecture = {
            "family": "whisper", "layers": num_layers, "hidden_size": hidden_size, "heads": num_heads,
            "feed_forward_size": feed_forward_size, "tokens": num_tokens, "max_tokens": max_tokens,
        }  # fmt: skip
        self.embed_tokens = nn.Embedding(num_tokens, hidden_size)
        self.embed_positions = nn.Embedding(max_tokens, hidden_size)
        self.layers = nn.ModuleList(
            WhisperDecoderLayer(hidden_size, num_heads, feed_forward_size, dropout) for _ in range(num_layers)
        )
        self.layer_norm = nn.LayerNorm(hidden_size)
        self.apply(_initialise)
        if pretrained_weights:
            load_published(self, weights, prefixes=("model.decoder.", "decoder."))

    def hear(self, memory: Tensor) -> Cache:
        """Keys and values of the speech, which don't change while it is decoded, of memory float [B, F, D]."""
        return tuple(layer.hear(memory) for layer in self._stack)

    def no_past(self, batch_size: int) -> Cache:
        """Keys and values of no token."""
        weight = self.embed_tokens.weight
        empty = weight.new_zeros(batch_size, self.num_heads, 0, self.hidden_size // self.num_heads)
        return ((empty, empty),) * self.num_layers

    def forward(self, tokens: Tensor, speech: Cache, attended: Tensor | None, past: Cache) -> tuple[Tensor, Cache]:
        """Hidden states after some more tokens.

        Args:
            tokens: int64 [B, N].
            speech: of `hear`.
            attended: bool [B, 1, 1, F], frames that belong to each utterance, or float, what is added to their scores;
                None where all do alike.
            past: of `no_past`, or of the call before; P tokens.

        Returns:
            float [B, N, D]; keys and values of P + N tokens.
        """
        hidden, seen = self._begin(tokens, past)
        present = []
        for layer, layer_past, layer_speech in zip(self._stack, past, speech, strict=True):
            hidden, pair = layer(hidden, seen, layer_past, layer_speech, attended)
            present.append(pair)
        return self.layer_norm(hidden), tuple(present)

    def watch(
        self, tokens: Tensor, speech: Cache, attended: Tensor | None, past: Cache
    ) -> tuple[Tensor, Cache, Tensor]:
        """As `forward`, and where each head looks in the speech while it predicts what comes after each token.

        Returns:
            float [B, N, D]; keys and values; float [B, L, H, N, F], summing to 1 over the frames.
        """
        hidden, seen = self._begin(tokens, past)
        present, looks = [], []
        for layer, layer_past, layer_speech in zip(self._stack, past, speech, strict=True):
            hidden, pair, look = layer.watch(hidden, seen, layer_past, layer_speech, attended)
            present.append(pair)
            looks.append(look)
        return self.layer_norm(hidden), tuple(present), torch.stack(looks, dim=1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, float [..., V], of hidden states [..., D]; the weights are the embedding's."""
        return hidden @ self.embed_tokens.weight.T

    @property
    def _stack(self) -> "list[WhisperDecoderLayer]":
        return list(self.layers)  # type: ignore[arg-type]

    def _begin(self, tokens: Tensor, past: Cache) -> tuple[Tensor, Tensor]:
        """Embedded tokens, float [B, N, D], and which tokens each may look at, bool [N, P + N]."""
        num_past = past[0][0].shape[2]
        places = torch.arange(num_past + tokens.shape[1], device=tokens.device)
        hidden = self.embed_tokens(tokens) + self.embed_positions(places[num_past:])
        return hidden, places <= places[num_past:].unsqueeze(1)


class WhisperDecoderLayer(nn.Module):
    """Self-attention, attention to the speech, feed-forward block, each behind its normalisation, beside a residual."""

    def __init__(self, hidden_size: int, num_heads: int, feed_forward_size: int, dropout: float) -> None:
        """Build it; sizes as in `WhisperDecoder`."""
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.self_attn = WhisperAttention(hidden_size, num_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.encoder_attn = WhisperAttention(hidden_size, num_heads)
        self.final_layer_norm = nn.LayerNorm(hidden_size)
        self.fc1 = nn.Linear(hidden_size, feed_forward_size)
        self.fc2 = nn.Linear(feed_forward_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def hear(self, memory: Tensor) -> Pair:
        """Keys and values of the speech, of memory float [B, F, D]."""
        return self.encoder_attn.keys_and_values(memory)

    def forward(
        self, hidden: Tensor, seen: Tensor, past: Pair, speech: Pair, attended: Tensor | None
    ) -> tuple[Tensor, Pair]:
        """One layer.

        Args:
            hidden: float [B, N, D].
            seen: bool [N, P + N], tokens that each new one may look at.
            past: keys and values of P tokens.
            speech: of `hear`.
            attended: see `WhisperDecoder.forward`.

        Returns:
            float [B, N, D]; keys and values of P + N tokens.
        """
        hidden, present = self._remember(hidden, seen, past)
        heard = self.encoder_attn.attend(self.encoder_attn_layer_norm(hidden), *speech, attended)
        return self._think(hidden + self.dropout(heard)), present

    def watch(
        self, hidden: Tensor, seen: Tensor, past: Pair, speech: Pair, attended: Tensor | None
    ) -> tuple[Tensor, Pair, Tensor]:
        """As `forward`, and where the heads look in the speech, float [B, H, N, F]."""
        hidden, present = self._remember(hidden, seen, past)
        look = self.encoder_attn.look(self.encoder_attn_layer_norm(hidden), speech[0], attended)
        heard = self.encoder_attn.out_proj((look @ speech[1]).transpose(1, 2).flatten(2))
        return self._think(hidden + self.dropout(heard)), present, look

    def _remember(self, hidden: Tensor, seen: Tensor, past: Pair) -> tuple[Tensor, Pair]:
        normalised = self.self_attn_layer_norm(hidden)
        new_keys, new_values = self.self_attn.keys_and_values(normalised)
        keys, values = torch.cat((past[0], new_keys), dim=2), torch.cat((past[1], new_values), dim=2)
        return hidden + self.dropout(self.self_attn.attend(normalised, keys, values, seen)), (keys, values)

    def _think(self, hidden: Tensor) -> Tensor:
        return hidden + self.dropout(self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden)))))


def _initialise(module: nn.Module) -> None:
    """Random weights as Whisper's training began: normal with a deviation of 0.02, biases zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
