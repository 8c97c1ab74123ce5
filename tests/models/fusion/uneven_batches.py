"""Batches that need more or fewer passes through the language model, as processes that share its layers get them."""

from typing import Any, NamedTuple

import torch

from pixel_mm.models.fusion.backbone import RandomBackbone
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import FusionOutput, Prompt, read
from tests.models.fusion.tiny_fusion import ARCHITECTURES, SOFT_TOKENS, TEXTS, backbone, fusion_network, listen, prompt

EVERY = tuple(range(len(TEXTS)))


class Kind(NamedTuple):
    """A network: its architecture, whether it hears by soft tokens, whether layers start at the lowest block."""

    architecture: str = "llama"
    soft_tokens: bool = False
    kept_states: bool = False

    def network(self) -> FusionNetwork:
        """The same at every call; without dropout."""
        options: dict[str, Any] = {"adapter": SOFT_TOKENS} if self.soft_tokens else {}
        source = backbone(self.architecture)
        if self.kept_states:
            source = RandomBackbone(ARCHITECTURES[self.architecture]).load(first_layer=2)
            options["reads_top"] = False
        return fusion_network(source, trained=True, dropout=0.0, **options)

    def prompt(self) -> Prompt:
        """What the network reads."""
        source = backbone(self.architecture)
        if not self.kept_states:
            return prompt(source)
        whole = fusion_network(source)
        with torch.no_grad():
            below = read(whole.language_model, prompt(source), whole.fusion(None)).below
        return prompt(source)._replace(below=below)


KINDS = (
    Kind(),
    Kind("qwen3_moe"),
    Kind("llama", soft_tokens=True),
    Kind("qwen3_moe", kept_states=True),
)


class Rows(NamedTuple):
    """Which rows of a batch are heard, and which have an answer."""

    heard: tuple[int, ...] = ()
    answered: tuple[int, ...] = EVERY

    def read(self, network: FusionNetwork, text: Prompt) -> FusionOutput:
        """What the network says about them."""
        mask = text.attention_mask.bool()
        answer_mask = mask & torch.isin(torch.arange(len(mask)), torch.tensor(self.answered))[:, None]
        hearing = listen(network, self.heard) if self.heard else None
        with torch.set_grad_enabled(network.training):
            output: FusionOutput = network(text, mask, answer_mask, mask.any(1), hearing)
        return output


BATCHES = (Rows((0, 2)), Rows(), Rows((0, 2), answered=()), Rows(answered=()), Rows((1,), answered=(3,)), Rows(EVERY))
