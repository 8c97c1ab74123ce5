"""A Whisper that CTranslate2 runs and faster-whisper decodes, for who has such models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixel_mm.audio import Waveform
from pixel_mm.inference.doubt import is_doubtful
from pixel_mm.inference.seams import split_words
from pixel_mm.inference.timed_words import Part, find_parts, make_words
from pixel_mm.inference.transcript import Word
from pixel_mm.inference.whisper_onnx import TOKENIZER, Precision
from pixel_mm.model_folder import ModelFolderError
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis
from pixel_mm.whisper_tokens import WhisperTokenizer


@dataclass(frozen=True, slots=True)
class FasterWhisperEngine:
    """A model that CTranslate2 runs and faster-whisper decodes; its hot words are a prompt, without a bias.

    Attributes:
        model: a `faster_whisper.WhisperModel`.
        tokenizer: of the model.
    """

    model: Any
    tokenizer: WhisperTokenizer

    def check(self, options: DecodingOptions) -> None:
        """Refuse a language or a task that the model does not know."""
        self.tokenizer.prompt(options.language or "en", options.task)

    def text(self, hypothesis: Hypothesis) -> str:
        """What a transcript says."""
        return self.tokenizer.decode(hypothesis.tokens).strip()

    def is_doubtful(self, hypothesis: Hypothesis) -> bool:
        """Whether the model hears nobody and doubts what it wrote."""
        return is_doubtful(hypothesis)

    def confidences(self, hypothesis: Hypothesis) -> None:
        """None: it tells too little of its tokens."""

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        """Transcripts of clips, one after the other."""
        return [self._one(waveform, options) for waveform in waveforms]

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        """When each word was said, as faster-whisper has it: the clip is transcribed again."""
        segments, _ = self._run(waveform, replace(options, language=hypothesis.language), word_timestamps=True)
        found = [word for segment in segments for word in segment.words]
        parts = [Part(word.word, math.log(max(word.probability, 1e-10))) for word in found]
        words = split_words(self.text(hypothesis))
        owned = find_parts(words, parts)
        times: list[tuple[float, float]] = []
        for owner in owned:  # what it heard only once has no time, and is where the word before ends
            before = times[-1][1] if times else 0.0
            times.append((found[owner[0]].start, found[owner[-1]].end) if owner else (before, before))
        return make_words(words, owned, parts, times)

    def _one(self, waveform: Waveform, options: DecodingOptions) -> Hypothesis:
        segments, info = self._run(waveform, options)
        tokens: list[int] = []
        scores: list[float] = []
        silent = 0.0
        for segment in segments:
            kept = [token for token in segment.tokens if token != self.tokenizer.end]
            tokens += kept
            scores += [segment.avg_logprob] * len(kept)
            silent = max(silent, segment.no_speech_prob)
        return Hypothesis(tuple(tokens), tuple(scores), silent, info.language)

    def _run(self, waveform: Waveform, options: DecodingOptions, word_timestamps: bool = False) -> tuple[Any, Any]:
        """Segments, and what is known of the whole."""
        found: tuple[Any, Any] = self.model.transcribe(
            waveform,
            word_timestamps=word_timestamps,
            language=options.language if self.tokenizer.multilingual else "en",
            task=options.task,
            beam_size=options.beam_size,
            without_timestamps=not options.timestamps,
            max_new_tokens=options.max_tokens,
            hotwords=" ".join(options.hot_words) or None,
            temperature=0.0,
            condition_on_previous_text=False,
            # Doubtful transcripts are judged by the caller, the same for every backend.
            no_speech_threshold=None,
            log_prob_threshold=None,
            compression_ratio_threshold=None,
        )
        return found


def load_converted(folder: Path, precision: Precision, num_threads: int) -> FasterWhisperEngine:
    """Load what CTranslate2's converter wrote; see `load_engine`."""
    tokenizer = WhisperTokenizer.load(folder / TOKENIZER)
    try:
        from faster_whisper import WhisperModel
    except ModuleNotFoundError:
        raise ModelFolderError(
            f"{folder} is CTranslate2's; run: pip install 'pixel_mm[faster-whisper]', or export with target=recognizer"
        ) from None
    model = WhisperModel(str(folder), device="cpu", compute_type=precision, cpu_threads=num_threads)
    return FasterWhisperEngine(model, tokenizer)
