"""One pass of a fused language model over a batch: bare, through cross-attention, or behind soft tokens."""

from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pixel_mm.models.fusion.adapter import SoftTokenAdapter
from pixel_mm.models.fusion.heads import Readings
from pixel_mm.models.fusion.hearing import Fusion, Hearing
from pixel_mm.models.fusion.layers import FusionFitError


class Prompt(NamedTuple):
    """What is read, B rows of S tokens.

    Attributes:
        input_ids: int64 [B, S].
        attention_mask: int64 [B, S], 0 where there is padding.
        below: float [B, S, H], hidden states to go on from in place of tokens, where lower layers are not loaded.
    """

    input_ids: Tensor
    attention_mask: Tensor
    below: Tensor | None = None

    def of(self, rows: Tensor) -> "Prompt":
        """The rows that bool [B] chooses."""
        below = None if self.below is None else self.below[rows]
        return Prompt(self.input_ids[rows], self.attention_mask[rows], below)


class Pass(NamedTuple):
    """What a pass gave.

    Attributes:
        logits: float [B, C, V], at the columns that were asked for.
        below: float [B, S, H], hidden states that enter the lowest block.
        top: float [B, S, H], those that leave the last layer.
        runs: how many times the layers were run for it.
    """

    logits: Tensor
    below: Tensor
    top: Tensor
    runs: int = 1


class FusionOutput(NamedTuple):
    """What the network says about a batch of B rows, A of which are heard.

    Attributes:
        logits: float [B, C, V], of the next token, at the columns that were asked for.
        rows: int64 [A], those that are heard.
        text: what the words say alone, B rows; meaningless where a row has none. None without scores.
        audio: what the voice says alone, A rows; None where nobody is heard.
        both: what voice and words say together, A rows.
        answer: scores of the answers, B rows; meaningless where there is none.
        way_back: part of the loss where processes share layers; see `pixel_mm.models.fusion.shared_layers`.
        token_losses: float32 [B, S], where they were asked for; see `pixel_mm.models.fusion.token_losses`.
    """

    logits: Tensor
    rows: Tensor
    text: Readings | None
    audio: Readings | None
    both: Readings | None
    answer: Readings | None
    way_back: Tensor | None = None
    token_losses: Tensor | None = None


def soft_prompt(
    model: PreTrainedModel, adapter: SoftTokenAdapter, prompt: Prompt, hearing: Hearing
) -> tuple[Tensor, Tensor]:
    """Embeddings float [B, N + S, H] of soft tokens and text, and their attention mask int64 [B, N + S].

    Rows that are not heard have padding in place of soft tokens.
    """
    words = model.get_input_embeddings()(prompt.input_ids)
    tokens = adapter.embeddings(hearing).to(words.dtype)
    size, (num_heard, length, _) = len(words), tokens.shape
    assert num_heard == len(hearing.rows)
    soft = words.new_zeros(size, length, words.shape[2]).index_copy(0, hearing.rows, tokens)
    mask = prompt.attention_mask.new_zeros(size, length)
    mask = mask.index_copy(0, hearing.rows, hearing.mask.to(mask.dtype))
    return torch.cat((soft, words), 1), torch.cat((mask, prompt.attention_mask), 1)


def read(model: PreTrainedModel, prompt: Prompt, fusion: Fusion, columns: Tensor | None = None) -> Pass:
    """Run a fused model over text, with the blocks of `fusion`.

    Args:
        model: whole; or its upper half, where the prompt has hidden states.
        prompt: to read.
        fusion: of this call alone.
        columns: int64 [C], whose next tokens are asked for; None: all.
    """
    source = {"input_ids": prompt.input_ids} if prompt.below is None else {"inputs_embeds": prompt.below}
    keep = 0 if columns is None else columns
    result = model(**source, attention_mask=prompt.attention_mask, use_cache=False, logits_to_keep=keep, fusion=fusion)
    return Pass(result.logits, *taken(model, fusion))


def read_behind(
    model: PreTrainedModel,
    adapter: SoftTokenAdapter,
    prompt: Prompt,
    hearing: Hearing,
    fusion: Fusion,
    columns: Tensor | None = None,
) -> Pass:
    """As `read`, behind soft tokens; `below` is of states that the voice has reached."""
    embeddings, mask = soft_prompt(model, adapter, prompt, hearing)
    length = embeddings.shape[1] - prompt.input_ids.shape[1]
    if columns is None:
        columns = torch.arange(prompt.input_ids.shape[1], device=mask.device)
    result = model(
        inputs_embeds=embeddings,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=columns + length,
        fusion=fusion,
    )
    below, top = taken(model, fusion)
    return Pass(result.logits, below[:, length:], top[:, length:])


def taken(model: PreTrainedModel, fusion: Fusion) -> tuple[Tensor, Tensor]:
    """`below` and `top` that a pass of the model left in its argument.

    Raises:
        FusionFitError: it did not hand the argument to its layers.
    """
    if fusion.below is None or fusion.top is None:
        raise FusionFitError(f"backbone: {type(model).__name__} does not hand the argument 'fusion' to its layers")
    return fusion.below, fusion.top


def choose_rows(heard: Tensor, hearing: Hearing, bare: Tensor) -> Tensor:
    """Of two results [B, ...]: that of the pass that heard for rows that are heard, of the bare pass for the others."""
    return bare.index_copy(0, hearing.rows, heard[hearing.rows].to(bare.dtype))


def choose_pass(heard: Pass, hearing: Hearing, bare: Pass) -> Pass:
    """Two passes over a batch as one: rows that are heard are those of the first, all others of the second."""
    logits, top = (choose_rows(a, hearing, b) for a, b in ((heard.logits, bare.logits), (heard.top, bare.top)))
    return Pass(logits, bare.below, top, heard.runs + bare.runs)


def spread_pass(result: Pass, rows: Tensor, logits: Tensor, below: Tensor) -> Pass:
    """A pass over some rows as one of the whole batch.

    Args:
        result: of the rows.
        rows: int64, which they are.
        logits: float [B, C, V], what the others have.
        below: float [B, S, H], hidden states that entered; the others leave at the top as they came.
    """
    top = below.index_copy(0, rows, result.top.to(below.dtype))
    return Pass(logits.index_copy(0, rows, result.logits.to(logits.dtype)), below, top, result.runs)
