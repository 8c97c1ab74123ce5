"""From speech to tokens: the search for the transcript that a decoder finds most probable, whatever runs the decoder.

Radford et al. 2022, section 4.5. Needs numpy alone: training and what is deployed search by the same code. A clip gets
the result that it gets alone, whatever it is batched with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pixel_mm.models.speech_recognition.beams import Path, Tell, search_beams
from pixel_mm.models.speech_recognition.token_rules import TokenRules, log_softmax
from pixel_mm.whisper_tokens import Task, WhisperTokenizer

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


class SpeechDecoder(Protocol):
    """What runs a model: PyTorch or onnxruntime."""

    def hear(self, waveforms: Sequence[Floats]) -> Any:
        """Encode a batch of B clips, float32 [samples] at 16 kHz each; what it gives goes into `step`."""

    def step(self, heard: Any, tokens: Numbers, past: Any) -> tuple[Floats, Any]:
        """Scores of the next token.

        Args:
            heard: of `hear`.
            tokens: int64 [B, N] that are new.
            past: what the step before gave; None at the first.

        Returns:
            float32 [B, N, V], which the caller may change; what the next step takes as `past`.
        """

    def choose_heard(self, heard: Any, rows: Numbers) -> Any:
        """Some rows of a batch, int64 [C], each as often as it is named."""

    def choose_past(self, past: Any, rows: Numbers) -> Any:
        """The same for what `step` gave."""


class WatchedDecoder(SpeechDecoder, Protocol):
    """One that tells where it looks."""

    def attention(self, heard: Any, tokens: Numbers) -> Floats:
        """Where every head looks while it predicts what comes after each token.

        Args:
            heard: of `hear`.
            tokens: int64 [B, N], prompt and transcript.

        Returns:
            float32 [B, L, H, N, F].
        """


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How to search.

    Attributes:
        language: ISO 639-1 code of what is spoken; None finds it for each clip.
        task: "transcribe", or "translate" into English.
        timestamps: whether the transcript has timestamp tokens around its phrases.
        max_tokens: a transcript is cut after so many. 224 is as published: half of what the decoder has positions for.
        beam_size: transcripts that are followed at a time; 1 takes the most probable token each time.
        hot_words: words and phrases that are expected; their tokens get a better score.
        hot_word_bias: added to the score of a token that begins or goes on with a hot word.
    """

    language: str | None = "en"
    task: Task = "transcribe"
    timestamps: bool = False
    max_tokens: int = 224
    beam_size: int = 1
    hot_words: tuple[str, ...] = ()
    hot_word_bias: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        if self.max_tokens < 1 or self.beam_size < 1:
            raise ValueError(f"max_tokens is {self.max_tokens} and beam_size {self.beam_size}; both are 1 or more")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was found for one clip.

    Attributes:
        tokens: of the transcript with its timestamps, without the prompt and the end.
        log_probabilities: of each of them, and of the end if it was reached, among the tokens that were allowed.
        no_speech_probability: that nobody speaks, as the model has it, 0 to 1.
        language: ISO 639-1 code that was given or found.
        times: (start, end) of each token, seconds from the clip's first sample, of a model that hears and writes at a
            time (CTC); empty of one that doesn't tell.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    no_speech_probability: float
    language: str
    times: tuple[tuple[float, float], ...] = ()

    @property
    def mean_log_probability(self) -> float:
        """Of a token; the usual measure of doubt about a transcript."""
        return float(np.mean(self.log_probabilities))


Watch = Callable[[Sequence[Hypothesis]], None]
"""Gets, after each token, what is certain of each clip's transcript: what the final one begins with."""


def decode(
    decoder: SpeechDecoder,
    waveforms: Sequence[Floats],
    tokenizer: WhisperTokenizer,
    options: DecodingOptions = DecodingOptions(),
    watch: Watch | None = None,
) -> list[Hypothesis]:
    """Transcripts of a batch of clips, in order.

    Args:
        decoder: runs the model.
        waveforms: float32 [samples] each, mono, 16 kHz, 25 ms to 30 s.
        tokenizer: of the model.
        options: how to search.
        watch: is told of each token; what it raises ends the search.

    Raises:
        TokenizerError: the model does not know the language or the task.
    """
    if not waveforms:
        return []
    # An unknown language is refused before anything is run.
    prompt = tokenizer.prompt(options.language or "en", options.task, options.timestamps)
    heard = decoder.hear(waveforms)
    languages = [options.language or ""] * len(waveforms)
    if options.language is None:
        scores, past = decoder.step(heard, np.full((len(waveforms), 1), tokenizer.start), None)
        first = scores[:, 0]
        languages = _languages(first, tokenizer)
        prompts = [tokenizer.prompt(each, options.task, options.timestamps)[1:] for each in languages]
        scores, past = decoder.step(heard, np.array(prompts), past) if prompts[0] else (scores, past)
    else:
        scores, past = decoder.step(heard, np.array([prompt] * len(waveforms)), None)
        first = scores[:, 0]
    silent = np.exp(log_softmax(first)[:, tokenizer.no_speech])
    rules = TokenRules(tokenizer, options.timestamps, options.hot_words, options.hot_word_bias)
    search = search_greedily if options.beam_size == 1 else search_beams

    def found(paths: Sequence[Path]) -> list[Hypothesis]:
        return [
            Hypothesis(tuple(path.tokens), tuple(path.log_probabilities), float(each), language)
            for path, each, language in zip(paths, silent, languages, strict=True)
        ]

    tell: Tell | None = None if watch is None else lambda paths: watch(found(paths))
    return found(search(decoder, heard, scores[:, -1], past, rules, options, tell))


def search_greedily(
    decoder: SpeechDecoder,
    heard: Any,
    logits: Floats,
    past: Any,
    rules: TokenRules,
    options: DecodingOptions,
    tell: Tell | None = None,
) -> list[Path]:
    """The most probable token, one after the other; clips that have ended leave the batch when it has halved.

    Args:
        decoder: runs the model.
        heard: of its `hear`.
        logits: float32 [B, V], scores of the first token.
        past: of its last step.
        rules: which tokens are allowed.
        options: `max_tokens`.
        tell: is told of each token, with what is certain of each clip's transcript.
    """
    found = [Path([], []) for _ in logits]
    rows = np.arange(len(found))  # those of the batch that is run, as places in `found`
    running = np.ones(len(rows), dtype=bool)
    for _ in range(options.max_tokens):
        rules.apply(logits, [found[row].tokens for row in rows])
        chosen = logits.argmax(axis=1)
        scores = log_softmax(logits)[np.arange(len(rows)), chosen]
        for place in np.flatnonzero(running):
            found[rows[place]].log_probabilities.append(float(scores[place]))
            if chosen[place] != rules.end:
                found[rows[place]].tokens.append(int(chosen[place]))
        running &= chosen != rules.end
        if tell is not None:
            tell(found)
        if not running.any():
            break
        if 2 * running.sum() <= len(rows):
            kept = np.flatnonzero(running)
            heard, past = decoder.choose_heard(heard, kept), decoder.choose_past(past, kept)
            rows, chosen, running = rows[kept], chosen[kept], running[kept]
        scores_after, past = decoder.step(heard, chosen[:, None], past)
        logits = scores_after[:, 0]
    return found


def _languages(logits: Floats, tokenizer: WhisperTokenizer) -> list[str]:
    """The most probable language of each clip, by the scores float32 [B, V] of what follows the start."""
    codes, numbers = list(tokenizer.languages), list(tokenizer.languages.values())
    return [codes[best] for best in logits[:, numbers].argmax(axis=1)]
