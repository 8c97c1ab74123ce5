"""What one training step holds and computes, found by running it on tensors that have a shape and no content.

The step is the one that trains: layers of `transformers`, blocks, heads and losses themselves, forward and backward,
under torch's `FakeTensorMode`. So the formula for activations is the code, for every architecture, number format and
option; what is added up is when each tensor begins and ends.
"""

import weakref
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from pixel_mm.models.fusion.adapter import Adapter, SoftTokenAdapter
from pixel_mm.models.fusion.heads import FusionHeads, Readings
from pixel_mm.models.fusion.hearing import Fusion, Hearing
from pixel_mm.models.fusion.reading import Pass, Prompt, read, read_behind
from pixel_mm.models.fusion.resampler import Resampler
from pixel_mm.models.fusion.token_losses import plain_head, state_losses


@dataclass(frozen=True)
class PlannedParts:
    """What a training process holds, as fake tensors.

    Attributes:
        model: whole, or its upper half; fused.
        first_layer: the lowest that it has.
        num_layers: of the whole model.
        layers: that get a block.
        encoders: width of frames and frames per second, by name.
        adapter: None: nobody is heard.
        heads: readers of scores.
        recompute: see `FusionNetwork`.
    """

    model: PreTrainedModel
    first_layer: int
    num_layers: int
    layers: tuple[int, ...]
    encoders: Mapping[str, tuple[int, float]]
    adapter: Adapter | None
    heads: FusionHeads
    recompute: bool

    def trained(self) -> list[nn.Parameter]:
        """Parameters of adapter and heads."""
        parts: list[nn.Module] = [self.heads, *([] if self.adapter is None else [self.adapter])]
        return [parameter for part in parts for parameter in part.parameters()]


@dataclass(frozen=True)
class StepShape:
    """Sizes of a batch.

    Attributes:
        rows: all with a voice.
        tokens: of the longest row.
        answer_tokens: of each row's answer, that are learnt.
        seconds: of the longest voice.
        autocast: what products are cast to (mixed precision); None: nothing is cast.
    """

    rows: int
    tokens: int
    answer_tokens: int
    seconds: float
    autocast: torch.dtype | None = None


class StepNeeds(NamedTuple):
    """What a step needs beside weights and the optimiser's state.

    Attributes:
        bytes: largest sum of inputs, activations, gradients and passing results that live at a time.
        flops: of matrix products, forward and backward; a multiplication and an addition count as two.
    """

    bytes: int
    flops: int


class LiveBytes(TorchDispatchMode):
    """Adds up the memory of tensors from when they are made until nothing holds them.

    Attributes:
        live: bytes now.
        peak: the most so far.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        """Begin; tensors that are known are there already and don't count."""
        super().__init__()
        self.live = self.peak = 0
        self._counted: dict[int, int] = {tensor.untyped_storage()._cdata: 0 for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it made; called by torch."""
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype == torch.float32:
            # Its kernel takes float32, its rule for shapes refuses that.
            result: Any = args[0].new_empty(len(args[0]), args[1].shape[-1])
        else:
            result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._counted:
            self._counted[storage._cdata] = storage.nbytes()
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._end, storage._cdata)

    def _end(self, key: int) -> None:
        self.live -= self._counted.pop(key, 0)


def step_needs(parts: PlannedParts, shape: StepShape) -> StepNeeds:
    """Memory and work of one step; under `FakeTensorMode` nothing is computed.

    Args:
        parts: made under the same mode, in training mode where they are trained.
        shape: of the batch.
    """
    known = [*parts.model.parameters(), *parts.model.buffers(), *parts.trained()]
    with LiveBytes(known) as live:
        _step(parts, shape)
    # A pass of its own: the counter's hooks hold what is computed again in the backward pass until the end.
    counter = FlopCounterMode(display=False, custom_mapping=_GROUPED)
    with LiveBytes([]), counter:  # which knows the shapes of routed experts in float32
        _step(parts, shape)
    return StepNeeds(live.peak, counter.get_total_flops())


def _step(parts: PlannedParts, shape: StepShape) -> None:
    """Forward and backward pass; no gradient is left."""
    with nullcontext() if shape.autocast is None else torch.autocast("cpu", shape.autocast):
        loss = _loss(parts, shape)
    loss.backward()
    for parameter in parts.trained():
        parameter.grad = None


def _grouped_flops(tokens: Any, weights: Any, *args: Any, **kwargs: Any) -> int:
    """Products of routed experts, which torch doesn't count: T pairs of token and expert [T, K], weights [E, K, M]."""
    return 2 * tokens[0] * weights[-2] * weights[-1]


_GROUPED = dict.fromkeys((torch.ops.aten._grouped_mm, torch.ops.transformers.grouped_mm_fallback), _grouped_flops)


def _loss(parts: PlannedParts, shape: StepShape) -> Tensor:
    """Forward pass of a batch all of whose rows are heard and answered; as `FusionModule.training_step`."""
    width, (rows, tokens) = parts.model.config.hidden_size, (shape.rows, shape.tokens)
    below = None
    if parts.first_layer:
        below = torch.empty(rows, tokens, width, dtype=parts.model.dtype)
    ids, present = torch.zeros(rows, tokens, dtype=torch.int64), torch.ones(rows, tokens, dtype=torch.bool)
    # Masks as the model makes them of rows of unequal length: of equal ones it would make none.
    prompt = Prompt(ids, present[:, None, None].expand(-1, 1, tokens, -1).contiguous(), below)
    hearing = _hear(parts, shape)
    blocks = {} if parts.adapter is None else parts.adapter.by_layer()
    fusion = Fusion(parts.layers[0], parts.num_layers - 1, blocks, hearing, parts.recompute)
    head = plain_head(parts.model)
    columns = torch.zeros(shape.answer_tokens if head is None else 0, dtype=torch.int64)
    if isinstance(parts.adapter, SoftTokenAdapter) and hearing is not None:
        prompt = prompt._replace(attention_mask=present.long())
        result = read_behind(parts.model, parts.adapter, prompt, hearing, fusion, columns)
    else:
        result = read(parts.model, prompt, fusion, columns)
    # Of parts that a batch lacks, such as answers of the rows that only have scores, the loss has a gradient of 0.
    if head is None:
        following = torch.zeros(rows * shape.answer_tokens, dtype=torch.int64)
        loss = F.cross_entropy(result.logits.flatten(0, 1).float(), following)
    else:
        states = result.top[:, : shape.answer_tokens].flatten(0, 1)
        loss = state_losses(head, states, torch.zeros(len(states), dtype=torch.int64)).mean()
    found = _scores(parts, result, present, tokens - shape.answer_tokens, hearing)
    return loss + sum(each.logits.sum() + each.confidence.sum() for each in found)


def _scores(parts: PlannedParts, result: Pass, present: Tensor, turn: int, hearing: Hearing | None) -> list[Readings]:
    """What the heads read, of a turn and of the answer behind it; as `FusionNetwork.score`."""
    found = []
    asked, said = present[:, :turn], present[:, turn:]
    if parts.heads.state_scores:
        words, text = parts.heads.read_words(result.below[:, :turn], asked)
        found.append(text)
        if hearing is not None:
            top, everyone = result.top[hearing.rows, :turn], present[:, 0]
            found += parts.heads.read_voice(hearing.latents, hearing.mask, words, text, top, everyone, asked)
    if parts.heads.answer_scores:
        found.append(parts.heads.read_answer(result.top[:, turn:], said))
    return found


def _hear(parts: PlannedParts, shape: StepShape) -> Hearing | None:
    """Frames from the disk to keys and values of every block; as `Resampler.forward`, without looking at lengths."""
    if parts.adapter is None:
        return None
    resampler: Resampler = parts.adapter.resampler
    keys = []
    for name, (width, rate) in parts.encoders.items():
        frames = torch.empty(shape.rows, round(shape.seconds * rate), width)
        keys.append(resampler.dropout(resampler.projections[name](resampler.norms[name](frames))))
    together = torch.cat(keys, 1).float()
    count = max(1, round(shape.seconds + 0.5)) * resampler.latents_per_second
    latents = resampler.queries.repeat(-(-count // resampler.latents_per_second), 1).expand(shape.rows, -1, -1)
    allowed = torch.ones(shape.rows, 1, latents.shape[1], together.shape[1], dtype=torch.bool)
    for layer in resampler.layers:
        latents = layer(latents, together, allowed)
    latents = resampler.final_norm(latents)
    pairs = {number: block.keys_values(latents) for number, block in parts.adapter.by_layer().items()}
    return Hearing(torch.arange(shape.rows), shape.rows, latents, allowed[:, 0, :, 0].contiguous(), pairs)
