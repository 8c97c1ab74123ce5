"""An answer of a fused model while it is made: pieces of text, and scores by name."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pixel_mm.models.fusion.answering import AnswerPass, Sampling
from pixel_mm.models.fusion.hearing import Hearing
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.scores import FusionScores, name_scores

_CUT_CHARACTER = "\ufffd"  # what half of a character decodes to


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How an answer is made.

    Attributes:
        max_tokens: of the answer, at most; 1 or more.
        temperature: 0 takes the likeliest token each time.
        top_p: see `pixel_mm.models.fusion.answering.Sampling`.
        seed: of what is drawn; None: another answer each time.

    Raises:
        ValueError: a number that cannot be; names it.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; give 1 or more")
        self.sampling()

    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        return Sampling(self.temperature, self.top_p, self.seed)


@dataclass(frozen=True, slots=True)
class ReplyScores:
    """Scores in 0..1 by name, those that there are.

    Attributes:
        scores: from all that was given: words and voice, or one of them; of the answer once it is whole.
        text: from the words alone.
        audio: from the voice alone.
        confidence: probability of being right about the feeling, by source: "text", "audio", "overall".
    """

    scores: Mapping[str, float]
    text: Mapping[str, float]
    audio: Mapping[str, float]
    confidence: Mapping[str, float]

    def as_dict(self) -> dict[str, dict[str, float]]:
        """The same as dictionaries."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Turn:
    """What is answered.

    Attributes:
        input_ids: int64 [1, S], the prompt.
        words_start: where the person's turn begins in it.
        has_text: whether it has words.
        hearing: of the voice; None: there is none.
    """

    input_ids: Tensor
    words_start: int
    has_text: bool
    hearing: Hearing | None


class Reply:
    """Pieces of text as they are made, by iterating over it once. Made by `MultimodalPixel.respond`.

    Args:
        network: that answers.
        turn: that it answers to.
        options: how.
        ends: tokens that end an answer.
    """

    def __init__(self, network: FusionNetwork, turn: Turn, options: GenerationOptions, ends: frozenset[int]) -> None:
        """Read the turn, which gives its scores; nothing is answered before somebody asks for it."""
        self._network, self._turn, self._options, self._ends = network, turn, options, ends
        self._pass = AnswerPass(network, turn.input_ids, turn.hearing)
        self._tokens: list[int] = []
        self._scores = self._score(0)
        self._finish_reason: Literal["end", "length"] | None = None
        self._pieces = self._generate()

    @property
    def scores(self) -> ReplyScores:
        """Of the person from the beginning; of the answer, too, once it is whole."""
        return self._scores

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._decode(self._network.backbone.tokenizer)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The answer's tokens so far, without the one that ended it."""
        return tuple(self._tokens)

    @property
    def finish_reason(self) -> Literal["end", "length"] | None:
        """Why it is whole: "end", the model ended it; "length", it has `max_tokens`. None: it is not."""
        return self._finish_reason

    def __iter__(self) -> Iterator[str]:
        """What is left of the answer, piece by piece."""
        return self._pieces

    def finish(self) -> "Reply":
        """Make all that is left."""
        for _ in self._pieces:
            pass
        return self

    def as_dict(self) -> dict[str, Any]:
        """The answer, why it ended, and scores, for JSON."""
        return {"answer": self.text, "finish_reason": self.finish_reason, **self.scores.as_dict()}

    def _generate(self) -> Iterator[str]:
        choose: Callable[[Tensor], int] = self._options.sampling().chooser()
        tokenizer, given = self._network.backbone.tokenizer, ""
        answered = 0
        while self._finish_reason is None:
            token = choose(self._pass.next_logits)
            if token in self._ends:
                self._finish_reason = "end"
            else:
                self._tokens.append(token)
                self._finish_reason = "length" if len(self._tokens) == self._options.max_tokens else None
            text = self._decode(tokenizer)
            whole = self._finish_reason is not None or not text.endswith(_CUT_CHARACTER)
            if whole and len(text) > len(given):
                yield text[len(given) :]
                given = text
            if self._finish_reason is None or self._network.answer_scores:
                self._pass.read(token)
                answered += 1
        if self._network.answer_scores:
            self._scores = self._score(answered)

    def _decode(self, tokenizer: PreTrainedTokenizerBase) -> str:
        return str(tokenizer.decode(self._tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @torch.inference_mode()
    def _score(self, num_answered: int) -> ReplyScores:
        network, turn, read = self._network, self._turn, self._pass.whole()
        place = torch.arange(read.top.shape[1], device=read.top.device)[None]
        length = turn.input_ids.shape[1]
        asked, answered = (place >= turn.words_start) & (place < length), place >= length
        has_text, has_answer = (
            torch.tensor([there], device=place.device) for there in (turn.has_text, num_answered > 0)
        )
        output = network.score(read, asked, answered, has_text, turn.hearing)
        return _plain(name_scores(output, network.state_scores, network.answer_scores, has_text, has_answer))


def _plain(named: FusionScores) -> ReplyScores:
    """Numbers in place of tensors of one row, without those that are not there."""

    def there(values: Mapping[str, Tensor]) -> dict[str, float]:
        numbers = {name: float(value[0]) for name, value in values.items()}
        return {name: number for name, number in numbers.items() if not math.isnan(number)}

    return ReplyScores(there(named.scores), there(named.text), there(named.audio), there(named.confidence))
