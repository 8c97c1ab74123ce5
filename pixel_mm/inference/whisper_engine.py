"""A Whisper that this project decodes: an exported model folder over onnxruntime, or a checkpoint in PyTorch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixel_mm.audio import Waveform
from pixel_mm.inference.confidence import ConfidenceMap, read_map, word_features
from pixel_mm.inference.doubt import is_doubtful
from pixel_mm.inference.seams import split_words
from pixel_mm.inference.timed_words import find_parts, make_words, own_tokens, parts_of, share_times
from pixel_mm.inference.transcript import Word
from pixel_mm.inference.whisper_onnx import TOKENIZER, OnnxDecoder, Precision, load_tokenizer
from pixel_mm.inference.word_times import time_words
from pixel_mm.model_folder import ModelFolder, ModelFolderError, ModelSpec
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, WatchedDecoder, decode
from pixel_mm.whisper_tokens import WhisperTokenizer


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

    def check(self, options: DecodingOptions) -> None:
        """Refuse a language or a task that the model does not know."""
        self.tokenizer.prompt(options.language or "en", options.task)

    def text(self, hypothesis: Hypothesis) -> str:
        """What a transcript says."""
        return self.tokenizer.decode(hypothesis.tokens).strip()

    def is_doubtful(self, hypothesis: Hypothesis) -> bool:
        """Whether the model hears nobody and doubts what it wrote."""
        return is_doubtful(hypothesis)

    def confidences(self, hypothesis: Hypothesis) -> list[float] | None:
        """Calibrated confidence of each word, if there is a map."""
        return None if self.confidence is None else self.confidence(self.features(hypothesis)[1]).tolist()

    def features(self, hypothesis: Hypothesis) -> tuple[list[str], NDArray[np.float64]]:
        """Words of a transcript, and what their confidence is made of; see `word_features`."""
        words = split_words(self.text(hypothesis))
        parts, _ = parts_of(hypothesis.tokens, hypothesis.log_probabilities, self.tokenizer)
        return words, word_features(hypothesis, words, parts)

    def transcribe(self, waveforms: Sequence[Waveform], options: DecodingOptions) -> list[Hypothesis]:
        """Transcripts of a batch of clips, in order."""
        return decode(self.decoder, waveforms, self.tokenizer, options)

    def words(self, waveform: Waveform, hypothesis: Hypothesis, options: DecodingOptions) -> list[Word]:
        """When each word was said: the clip is heard again, and where the decoder looks tells."""
        words = split_words(self.text(hypothesis))
        parts, spans = parts_of(hypothesis.tokens, hypothesis.log_probabilities, self.tokenizer)
        owned = find_parts(words, parts)
        rows = own_tokens(owned, spans)
        prompt = self.tokenizer.prompt(hypothesis.language, options.task)
        given = np.array([[*prompt, *hypothesis.tokens]])
        looks = self.decoder.attention(self.decoder.hear([waveform]), given)[0]
        times = time_words(looks[:, :, len(prompt) - 1 :], self.alignment_heads, rows, waveform)
        return make_words(words, owned, parts, share_times(times, [bool(row) for row in rows]))


def load_exported(folder: Path, precision: Precision, num_threads: int) -> DecoderEngine:
    """Load what `python -m pixel_mm.export target=recognizer` wrote; see `load_engine`."""
    decoder, tokenizer = OnnxDecoder.load(folder, precision, num_threads), load_tokenizer(folder)
    place = ModelFolder(folder)
    return DecoderEngine(decoder, tokenizer, ModelSpec.read(place.spec).alignment_heads, read_map(place))


def load_checkpoint(folder: Path, precision: Precision, num_threads: int) -> DecoderEngine:
    """Load what `python -m pixel_mm.export target=whisper_checkpoint` wrote; see `load_engine`."""
    import torch

    from pixel_mm.models.encoders.whisper import WhisperEncoder
    from pixel_mm.models.speech_recognition.decoder import WhisperDecoder
    from pixel_mm.models.speech_recognition.network import WhisperRecognizer
    from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
    from pixel_mm.pretrained import Weights

    tokenizer = WhisperTokenizer.load(folder / TOKENIZER)
    if precision != "float32":
        raise ModelFolderError(f"precision is '{precision}', but backend 'torch' runs float32 alone")
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
