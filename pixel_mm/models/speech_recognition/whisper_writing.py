"""Whisper's way of writing: one token after the other, each from the speech and the tokens before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pixel_mm.audio import Waveform
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, decode
from pixel_mm.models.speech_recognition.network import WhisperRecognizer
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.models.speech_recognition.writing import WritingError, as_taught
from pixel_mm.runs import RunFolder, atomic_path
from pixel_mm.whisper_tokens import WhisperTokenizer

_UNSCORED = -100


@dataclass(frozen=True)
class WhisperWriting:
    """See `Writing`.

    Attributes:
        tokenizer: of the network.
        language: ISO 639-1 code of what is spoken.
        label_smoothing: share of a token's probability that is spread over all, 0 to 1; none in validation and test.
        max_tokens: a transcript that is read is cut after so many.
    """

    tokenizer: WhisperTokenizer
    language: str = "en"
    label_smoothing: float = 0.0
    max_tokens: int = 224

    def check_fits(self, network: WhisperRecognizer) -> None:
        """Refuse another network. See `Writing`.

        Raises:
            WritingError: it is no Whisper.
            TokenizerError: the tokenizer is of another network, or the network does not know the language.
        """
        if not isinstance(network, WhisperRecognizer):
            raise WritingError(
                f"a {type(network).__name__} does not write with Whisper's tokens: set recognizer.writing"
            )
        self.tokenizer.check_fits(network.decoder.num_tokens)
        self.tokenizer.prompt(self.language)

    def problem(self, network: WhisperRecognizer, transcript: str, num_samples: int) -> str | None:
        """The decoder has positions for so many tokens. See `Writing`."""
        needed, there = len(self._tokens(transcript)) - 1, network.decoder.max_tokens
        if needed <= there:
            return None
        return f"its transcript has {needed} tokens, the decoder has {there} positions; is it that of a longer clip?"

    def losses(
        self,
        network: WhisperRecognizer,
        waveform: Tensor,
        num_samples: Tensor,
        transcripts: Sequence[str],
        mask_seeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the transcript's tokens and its end, each after the true ones before it. See `Writing`."""
        rows = [self._tokens(transcript) for transcript in transcripts]
        tokens = torch.full((len(rows), max(map(len, rows))), self.tokenizer.end)
        wanted = torch.full_like(tokens, _UNSCORED)
        steered = len(self.tokenizer.prompt(self.language))
        for row, line in enumerate(rows):
            tokens[row, : len(line)] = torch.tensor(line)
            wanted[row, steered : len(line)] = torch.tensor(line[steered:])
        tokens, wanted = tokens[:, :-1].to(waveform.device), wanted[:, 1:].to(waveform.device)
        logits = network(waveform, num_samples, tokens, mask_seeds).float()
        smoothing = self.label_smoothing if network.training else 0.0
        losses = F.cross_entropy(
            logits.transpose(1, 2), wanted, reduction="none", ignore_index=_UNSCORED, label_smoothing=smoothing
        )
        return losses.sum(1), (wanted != _UNSCORED).sum(1)

    def transcribe(self, network: WhisperRecognizer, waveforms: Sequence[Waveform]) -> list[str]:
        """Greedy decoding. See `Writing`."""
        options = DecodingOptions(language=self.language, max_tokens=self.max_tokens)
        found = decode(TorchDecoder(network), waveforms, self.tokenizer, options)
        return [self.tokenizer.decode(hypothesis.tokens).strip() for hypothesis in found]

    def save(self, network: WhisperRecognizer, folder: Path) -> None:
        """Write tokenizer.json. See `Writing`."""
        with atomic_path(RunFolder(folder).tokenizer) as aside:
            aside.write_text(self._content, encoding="utf-8")

    def fingerprint(self, network: WhisperRecognizer) -> str:
        """SHA-256 of tokenizer.json."""
        return sha256(self._content.encode()).hexdigest()

    @property
    def _content(self) -> str:
        content: str = self.tokenizer.tokenizer.to_str(pretty=True)
        return content

    def _tokens(self, transcript: str) -> list[int]:
        """Prompt, transcript and end."""
        text = self.tokenizer.encode(f" {as_taught(transcript)}")
        return [*self.tokenizer.prompt(self.language), *text, self.tokenizer.end]
