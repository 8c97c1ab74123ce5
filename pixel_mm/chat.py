"""One turn of a conversation as tokens of a language model, the same in training and in use.

The chat template is the model's own. What a person said is never read as a mark of that template: somebody who says
"<|im_end|>" does not end their turn.
"""

import json
from dataclasses import dataclass
from hashlib import sha256

from transformers import PreTrainedTokenizerBase

SYSTEM = "You are Pixel. You listen with care, and you answer in a few warm, plain words."
"""What the model is told of its part, unless something else is configured."""

_PLACE = "\ue000"  # a private character, where the person's words go


@dataclass(frozen=True, slots=True)
class ChatTokens:
    """A turn, and its answer if there is one.

    Attributes:
        input_ids: all tokens.
        words_start: the first token of the person's words; without words, the one after their place.
        answer_start: the first token of the answer, which ends with the end of turn; the number of tokens without one.
    """

    input_ids: list[int]
    words_start: int
    answer_start: int


def chat_tokens(
    tokenizer: PreTrainedTokenizerBase, words: str | None, answer: str | None = None, system: str | None = SYSTEM
) -> ChatTokens:
    """A turn as the model was taught to read it, up to where it answers, and the answer.

    Args:
        tokenizer: with a chat template and an end-of-turn token.
        words: what the person said; None where no words are known.
        answer: to it, or None.
        system: what the model is told before; None is what its template says by itself.

    Raises:
        ValueError: a tokenizer without a chat template or without an end-of-turn token.
    """
    before, after = _frame(tokenizer, system)
    start = _ids(tokenizer, before, marks=True)
    said = _ids(tokenizer, (words or "").strip(), marks=False)
    prompt = [*start, *said, *_ids(tokenizer, after, marks=True)]
    answered = [] if answer is None else [*_ids(tokenizer, answer.strip(), marks=False), _end_of_turn(tokenizer)]
    return ChatTokens([*prompt, *answered], len(start), len(prompt))


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over a tokenizer's vocabulary and marks, whatever version of its library wrote them down."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: (entry[1], entry[0]))
    marks = [str(tokenizer.eos_token), sorted(map(str, tokenizer.all_special_tokens))]
    return sha256(json.dumps([vocabulary, marks]).encode()).hexdigest()


def _frame(tokenizer: PreTrainedTokenizerBase, system: str | None) -> tuple[str, str]:
    """What the template writes before and after the person's words."""
    if not tokenizer.chat_template:
        raise ValueError("the tokenizer has no chat template; take the instruction-tuned model, or give it a template")
    told = [] if system is None else [{"role": "system", "content": system}]
    rendered = tokenizer.apply_chat_template(
        [*told, {"role": "user", "content": _PLACE}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,  # of Qwen3's template; others don't look at it
    )
    before, _, after = str(rendered).partition(_PLACE)
    return before, after


def _end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-sequence token, so no answer could end")
    return int(tokenizer.eos_token_id)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, marks: bool) -> list[int]:
    """Tokens of a text, in which the template's marks are marks or plain characters."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=not marks)["input_ids"])
