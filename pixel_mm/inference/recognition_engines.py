"""What `SpeechRecognizer` runs: an exported model folder, a checkpoint (PyTorch), or CTranslate2's (faster-whisper).

Each takes clips of 25 ms to 30 s and gives their tokens; what is around them (where somebody speaks, long audio, seams)
is the same for all.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from pixel_mm.audio import Waveform
from pixel_mm.inference.confidence import FILE as CONFIDENCE
from pixel_mm.inference.confidence import ConfidenceMap, word_features
from pixel_mm.inference.seams import split_words
from pixel_mm.inference.timed_words import Part, find_parts, make_words, own_tokens, parts_of, share_times
from pixel_mm.inference.transcript import Word
from pixel_mm.inference.whisper_onnx import TOKENIZER, OnnxDecoder, Precision, load_tokenizer
from pixel_mm.inference.word_times import time_words
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, WatchedDecoder, decode
from pixel_mm.whisper_tokens import WhisperTokenizer

Backend = Literal["onnx", "torch", "faster-whisper"]
# The file that a folder of each kind has.
_MARKS: dict[Backend, str] = {"onnx": "model.yaml", "torch": "model.safetensors", "faster-whisper": "model.bin"}


class RecognitionEngine(Protocol):
    """Runs a model."""

    @property
    def tokenizer(self) -> WhisperTokenizer:
        """Of the model."""

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        """Transcripts of a batch of clips, in order; see `decode`."""

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        """When each word of a clip's transcript was said.

        Args:
            waveform: float32 [samples], the clip.
            hypothesis: what `transcribe` found in it.
            options: that it was found with.

        Returns:
            The words of `split_words`, times in seconds from the clip's first sample.
        """

    def confidences(self, hypothesis: Hypothesis) -> list[float] | None:
        """Calibrated confidence of the same words, 0 to 1; None where nobody has calibrated the model."""


@dataclass(frozen=True, slots=True)
class DecoderEngine:
    """A model that this project decodes.

    Attributes:
        decoder: by onnxruntime or PyTorch.
        tokenizer: of the model.
        alignment_heads: (layer, head) of the decoder that follow the speech; none takes all of its upper half.
        confidence: from the model's probabilities to how often words are right; None for nothing but those.
    """

    decoder: WatchedDecoder
    tokenizer: WhisperTokenizer
    alignment_heads: tuple[tuple[int, int], ...] = ()
    confidence: ConfidenceMap | None = None

    def confidences(self, hypothesis: Hypothesis) -> list[float] | None:
        """Calibrated confidence of each word, if there is a map."""
        if self.confidence is None:
            return None
        _, features = word_features(hypothesis, self.tokenizer)
        found: list[float] = self.confidence(features).tolist()
        return found

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        """Transcripts of a batch of clips, in order."""
        return decode(self.decoder, waveforms, self.tokenizer, options)

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        """When each word was said: the clip is heard again, and where the decoder looks tells."""
        words = split_words(self.tokenizer.decode(hypothesis.tokens).strip())
        parts, spans = parts_of(hypothesis.tokens, hypothesis.log_probabilities, self.tokenizer)
        owned = find_parts(words, parts)
        rows = own_tokens(owned, spans)
        prompt = self.tokenizer.prompt(hypothesis.language, options.task)
        given = np.array([[*prompt, *hypothesis.tokens]])
        looks = self.decoder.attention(self.decoder.hear([waveform]), given)[0]
        times = time_words(looks[:, :, len(prompt) - 1 :], self.alignment_heads, rows, waveform)
        return make_words(words, owned, parts, share_times(times, [bool(row) for row in rows]))


@dataclass(frozen=True, slots=True)
class FasterWhisperEngine:
    """A model that CTranslate2 runs and faster-whisper decodes; its hot words are a prompt, without a bias.

    Attributes:
        model: a `faster_whisper.WhisperModel`.
        tokenizer: of the model.
    """

    model: Any
    tokenizer: WhisperTokenizer

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
        words = split_words(self.tokenizer.decode(hypothesis.tokens).strip())
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


def load_engine(folder: Path, backend: Backend | None, precision: Precision, num_threads: int) -> RecognitionEngine:
    """Load a model.

    Args:
        folder: what `python -m pixel_mm.export` wrote with target=recognizer ("onnx") or target=whisper_checkpoint
            ("torch"), or CTranslate2's converter ("faster-whisper").
        backend: which of them; None sees what is in the folder.
        precision: "float32", "float16" or "int8"; PyTorch runs float32 alone.
        num_threads: that run it; 0 takes all cores.

    Raises:
        ModelFolderError: the folder is not of the kind, incomplete or damaged, or its package is not installed.
        TokenizerError: its tokenizer is none of Whisper's, or not of its weights.
        PretrainedError: its weights don't fit its description.
    """
    chosen = backend or _found(folder)
    if chosen not in _MARKS:
        raise ModelFolderError(f"backend is '{chosen}'; it is one of {', '.join(_MARKS)}")
    if chosen == "onnx":
        decoder, tokenizer = OnnxDecoder.load(folder, precision, num_threads), load_tokenizer(folder)
        return DecoderEngine(decoder, tokenizer, *_exported_with(ModelFolder(folder)))
    if not (folder / _MARKS[chosen]).is_file():
        raise ModelFolderError(f"{folder} has no {_MARKS[chosen]}, which backend '{chosen}' needs")
    tokenizer = WhisperTokenizer.load(folder / TOKENIZER)
    if chosen == "faster-whisper":
        return FasterWhisperEngine(_ctranslate2(folder, precision, num_threads), tokenizer)
    if precision != "float32":
        raise ModelFolderError(f"precision is '{precision}', but backend 'torch' runs float32 alone")
    return _torch(folder, tokenizer, num_threads)


def _found(folder: Path) -> Backend:
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is no folder; give what python -m pixel_mm.export target=recognizer wrote")
    for backend, mark in _MARKS.items():
        if (folder / mark).is_file():
            return backend
    raise ModelFolderError(f"{folder} holds no recogniser: none of {', '.join(_MARKS.values())}")


def _exported_with(place: ModelFolder) -> tuple[tuple[tuple[int, int], ...], ConfidenceMap | None]:
    """Heads that follow the speech, and the map of confidence if somebody fitted one."""
    spec = ModelSpec.read(place.spec)
    if CONFIDENCE not in spec.files:
        return spec.alignment_heads, None
    place.open(CONFIDENCE)
    return spec.alignment_heads, ConfidenceMap.read(place.path / CONFIDENCE)


def _ctranslate2(folder: Path, precision: Precision, num_threads: int) -> Any:
    try:
        from faster_whisper import WhisperModel
    except ModuleNotFoundError:
        raise ModelFolderError(
            f"{folder} is CTranslate2's; run: pip install 'pixel_mm[faster-whisper]', or export with target=recognizer"
        ) from None
    return WhisperModel(str(folder), device="cpu", compute_type=precision, cpu_threads=num_threads)


def _torch(folder: Path, tokenizer: WhisperTokenizer, num_threads: int) -> DecoderEngine:
    import torch

    from pixel_mm.models.encoders.whisper import WhisperEncoder
    from pixel_mm.models.speech_recognition.decoder import WhisperDecoder
    from pixel_mm.models.speech_recognition.network import WhisperRecognizer
    from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
    from pixel_mm.pretrained import Weights

    if num_threads:
        torch.set_num_threads(num_threads)
    try:
        sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokenizer.check_fits(sizes["vocab_size"])
        weights = Weights("folder", folder=folder)
        encoder = WhisperEncoder(
            sizes["encoder_layers"], sizes["d_model"], sizes["encoder_attention_heads"], sizes["encoder_ffn_dim"],
            weights, num_mels=sizes["num_mel_bins"],
        )  # fmt: skip
        decoder = WhisperDecoder(
            sizes["decoder_layers"], sizes["d_model"], sizes["decoder_attention_heads"], sizes["decoder_ffn_dim"],
            sizes["vocab_size"], weights, max_tokens=sizes["max_target_positions"],
        )  # fmt: skip
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise ModelFolderError(f"{folder / 'config.json'} describes no Whisper: {error!r}; export again") from None
    # Published checkpoints don't say; they hear 30 s.
    context = sizes.get("audio_context", "full")
    heads = tuple((layer, head) for layer, head in sizes.get("alignment_heads", ()))
    return DecoderEngine(TorchDecoder(WhisperRecognizer(encoder, decoder, context).eval()), tokenizer, heads)
