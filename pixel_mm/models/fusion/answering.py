"""Answers of the fusion network token by token: for streaming, and for scores that are there before the first word.

One conversation at a time. Without a voice each token is the one that the bare language model's own generation gives.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from pixel_mm.models.fusion.adapter import SoftTokenAdapter
from pixel_mm.models.fusion.hearing import Fusion, Hearing
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import Pass, Prompt, read, soft_prompt, taken


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the likeliest token; above, logits are divided by it and a token is drawn.
        top_p: tokens are drawn from the fewest whose probabilities come to so much, 0..1 (Holtzman et al., ICLR 2020).
        seed: of the draws; None: a different one each time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}; give 0 for the likeliest answer, or a number above 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it is above 0 and at most 1")

    def chooser(self) -> Callable[[Tensor], int]:
        """A function that takes the logits of the next token, float [V], and gives a token."""
        if self.temperature == 0:
            return lambda logits: int(logits.argmax())
        generator = torch.Generator()  # of its own: answers that are made side by side don't take each other's draws
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return lambda logits: self._draw(logits.float().cpu(), generator)

    def _draw(self, logits: Tensor, generator: torch.Generator) -> int:
        chances, order = (logits / self.temperature).softmax(0).sort(descending=True)
        before = chances.cumsum(0) - chances
        chances = chances.masked_fill(before >= self.top_p, 0.0)
        return int(order[torch.multinomial(chances, 1, generator=generator)])


class AnswerPass:
    """One pass over a prompt and the tokens that follow it, kept by its caller.

    Args:
        network: with the whole language model, in evaluation mode.
        input_ids: int64 [1, S], the prompt.
        hearing: what `network.hear` gave, of one row; None: nobody is heard.
    """

    def __init__(self, network: FusionNetwork, input_ids: Tensor, hearing: Hearing | None) -> None:
        """Read the prompt."""
        self._network, self._hearing = network, hearing
        self._cache = DynamicCache(config=network.language_model.config)
        self._mask = torch.ones_like(input_ids)
        self._passes = [self._read_prompt(input_ids)]

    @property
    def next_logits(self) -> Tensor:
        """Of the token that follows, float [V]."""
        return self._passes[-1].logits[0, -1]

    @torch.inference_mode()
    def read(self, token: int) -> None:
        """Go on by a token."""
        input_ids = self._mask.new_tensor([[token]])
        self._mask = torch.cat((self._mask, torch.ones_like(input_ids)), 1)
        self._passes.append(self._run(self._network.fusion(self._hearing), input_ids=input_ids))

    def whole(self) -> Pass:
        """What was read so far, as one pass; logits of the next token alone."""
        below, top = (torch.cat([getattr(each, name) for each in self._passes], 1) for name in ("below", "top"))
        return Pass(self._passes[-1].logits, below, top)

    @torch.inference_mode()
    def _read_prompt(self, input_ids: Tensor) -> Pass:
        network, hearing = self._network, self._hearing
        fusion = network.fusion(hearing)
        if hearing is None or not isinstance(network.adapter, SoftTokenAdapter):
            return self._run(fusion, input_ids=input_ids)
        prompt, last = Prompt(input_ids, self._mask), self._mask.new_zeros(1)
        bare = read(network.language_model, prompt, network.fusion(None), last)
        embeddings, self._mask = soft_prompt(network.language_model, network.adapter, prompt, hearing)
        heard = self._run(fusion, inputs_embeds=embeddings)
        return Pass(heard.logits, bare.below, heard.top[:, -input_ids.shape[1] :])

    def _run(self, fusion: Fusion, **source: Tensor) -> Pass:
        places = torch.arange(self._mask.shape[1], device=self._mask.device)[None]
        size = next(iter(source.values())).shape[1]
        result = self._network.language_model(
            **source,
            attention_mask=self._mask,
            position_ids=places[:, -size:],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            fusion=fusion,
        )
        return Pass(result.logits, *taken(self._network.language_model, fusion))
