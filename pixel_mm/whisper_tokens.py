"""Whisper's tokenizer: text to tokens and back, and the tokens that steer the decoder, by name.

Radford et al., "Robust speech recognition via large-scale weak supervision" (2022), section 2.3, and the tokenizer that
its authors published. Needs `tokenizers` alone: whoever decodes needs it, in training and where a model is deployed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokenizers import Tokenizer

if TYPE_CHECKING:
    from pixel_mm.pretrained import PublishedFile

Task = Literal["transcribe", "translate"]

TIMESTAMP_SECONDS = 0.02
"""Step between two timestamp tokens; the first is 0 s, the last 30 s."""
_NUM_TIMESTAMPS = 1501
_MULTILINGUAL_END = 50257  # English-only vocabularies lack one token of text, so that this is the one before

# What transcripts don't say: brackets, quotes and other signs that captions have for what is no speech. The list is
# that of the published decoder (`non_speech_tokens`).
_SIGNS = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    "<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))", "[[", "]]", "{{", "}}",
    "♪♪", "♪♪♪",
)  # fmt: skip
_NOTES = "♩♪♫♬♭♮♯"
_IN_WORDS = (" -", " '")  # alone they are signs, in words they are not


class TokenizerError(ValueError):
    """A tokenizer that is missing, damaged, or not of the model; or a language that it does not know."""


@dataclass(frozen=True)
class WhisperTokenizer:
    """Tokens of one Whisper model.

    Attributes:
        tokenizer: as published in tokenizer.json.
    """

    tokenizer: Tokenizer

    @classmethod
    def of(cls, published: "PublishedFile") -> "WhisperTokenizer":
        """Read a published model's, as `conf/recognizer` names it.

        Raises:
            PretrainedError: it is not to be had.
            TokenizerError: see `load`.
        """
        return cls.load(published.path())

    @classmethod
    def load(cls, path: str | Path) -> "WhisperTokenizer":
        """Read a tokenizer.json.

        Raises:
            TokenizerError: it is missing, damaged, or not one of Whisper's.
        """
        try:
            found = cls(Tokenizer.from_str(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise TokenizerError(f"{path} is missing; export the model again") from None
        except Exception as error:  # the library raises nothing more particular
            raise TokenizerError(f"{path} is no tokenizer: {error}") from None
        lacking = [name for name in ("<|startoftranscript|>", "<|notimestamps|>") if found._id(name) is None]
        if lacking:
            raise TokenizerError(f"{path} is no tokenizer of Whisper's: it has no {lacking[0]}")
        return found

    @cached_property
    def end(self) -> int:
        """Ends a transcript."""
        return self._special("<|endoftext|>")

    @cached_property
    def start(self) -> int:
        """Begins every prompt."""
        return self._special("<|startoftranscript|>")

    @cached_property
    def no_timestamps(self) -> int:
        """Asks for text alone."""
        return self._special("<|notimestamps|>")

    @cached_property
    def no_speech(self) -> int:
        """Predicted in place of the first token of a prompt where nobody speaks."""
        return self._special("<|nospeech|>", "<|nocaptions|>")

    @cached_property
    def first_timestamp(self) -> int:
        """0.00 s."""
        return self.no_timestamps + 1

    @property
    def multilingual(self) -> bool:
        """Whether the model was trained on more than English, and its prompts name the language."""
        return self.end == _MULTILINGUAL_END

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary, timestamps included; rows of the model's token embedding."""
        return self.first_timestamp + _NUM_TIMESTAMPS

    @cached_property
    def languages(self) -> dict[str, int]:
        """Tokens of the languages by code; English alone where the model knows no other."""
        if not self.multilingual:
            return {"en": self._special("<|en|>")}
        between = range(self.start + 1, self._special("<|translate|>"))
        return {str(self.tokenizer.id_to_token(number)).strip("<|>"): number for number in between}

    @cached_property
    def suppressed(self) -> tuple[int, ...]:
        """Tokens that no transcript has: signs for what is no speech, and those that steer; ascending."""
        found = {self._first(text) for text in _IN_WORDS}
        for sign in (*_SIGNS, *_NOTES):
            for tokens in (self.encode(sign), self.encode(f" {sign}")):
                if len(tokens) == 1 or sign in _NOTES:
                    found.add(tokens[0])
        steering = ("<|transcribe|>", "<|translate|>", "<|startoflm|>", "<|startofprev|>")
        found |= {self.start, self.no_speech, *(self._special(name) for name in steering)}
        return tuple(sorted(found))

    @cached_property
    def suppressed_first(self) -> tuple[int, ...]:
        """Tokens that no transcript begins with: a space alone, and its end."""
        return (self._first(" "), self.end)

    def check_fits(self, num_embeddings: int) -> None:
        """Refuse the weights of another model.

        Args:
            num_embeddings: rows of the model's token embedding.

        Raises:
            TokenizerError: there are more or fewer than this vocabulary's tokens.
        """
        if num_embeddings != self.num_tokens:
            kind = "multilingual" if self.multilingual else "English-only"
            raise TokenizerError(
                f"the tokenizer does not belong to the weights: it is {kind} and has {self.num_tokens} tokens, "
                f"the weights are for {num_embeddings}"
            )

    def encode(self, text: str) -> list[int]:
        """Tokens of a text; what looks like a steering token in it is text."""
        ids: list[int] = self.tokenizer.encode(text.replace("<|", "< |"), add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of some tokens, without those that steer and timestamps."""
        text: str = self.tokenizer.decode([token for token in tokens if token < self.end])
        return text

    def prompt(self, language: str = "en", task: Task = "transcribe", timestamps: bool = False) -> tuple[int, ...]:
        """The tokens that a decoder begins with.

        Args:
            language: ISO 639-1 code of what is spoken.
            task: "transcribe", or "translate" into English.
            timestamps: whether the transcript shall have timestamp tokens.

        Raises:
            TokenizerError: the model does not know the language or the task.
        """
        if language not in self.languages:
            known = ", ".join(sorted(self.languages))
            raise TokenizerError(f"language '{language}' is none that this model knows; it knows {known}")
        if task not in ("transcribe", "translate") or (task == "translate" and not self.multilingual):
            raise TokenizerError(f"task '{task}' is not one of this model's; a model of English transcribes alone")
        steered = [self.languages[language], self._special(f"<|{task}|>")] if self.multilingual else []
        return (self.start, *steered, *(() if timestamps else (self.no_timestamps,)))

    def split_words(self, tokens: Sequence[int]) -> list[list[int]]:
        """Tokens of each word, in order; a word begins with a space, or where text cannot be split within a letter.

        Timestamps and the end are left out.
        """
        words: list[list[int]] = []
        whole = True  # whether the tokens so far are whole letters
        for token in (token for token in tokens if token < self.end):
            begins = str(self.tokenizer.id_to_token(token)).startswith("Ġ") and whole
            if begins or not words:
                words.append([])
            words[-1].append(token)
            whole = not self.tokenizer.decode(words[-1]).endswith("\N{REPLACEMENT CHARACTER}")
        return words

    def _id(self, name: str) -> int | None:
        found: int | None = self.tokenizer.token_to_id(name)
        return found

    def _special(self, *names: str) -> int:
        for name in names:
            if (found := self._id(name)) is not None:
                return found
        raise TokenizerError(f"the tokenizer has no {' or '.join(names)}; is it of another model?")

    def _first(self, text: str) -> int:
        return self.encode(text)[0]
