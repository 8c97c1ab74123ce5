"""Whisper as PyTorch, for `decoding`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixel_mm.audio import Waveform
from pixel_mm.models.speech_recognition.decoder import Cache
from pixel_mm.models.speech_recognition.network import WhisperRecognizer


@dataclass(frozen=True, slots=True)
class HeardByTorch:
    """A batch of encoded clips.

    Attributes:
        speech: keys and values of the frames.
        num_frames: int64 [B].
    """

    speech: Cache
    num_frames: Tensor


class TorchDecoder:
    """Runs a network; see `SpeechDecoder` for the methods.

    Args:
        network: in evaluation mode, on any device.
    """

    def __init__(self, network: WhisperRecognizer) -> None:
        """Take the network."""
        self._network = network

    @torch.inference_mode()
    def hear(self, waveforms: Sequence[Waveform]) -> HeardByTorch:
        """Encode.

        Raises:
            ValueError: a clip is shorter than 25 ms or longer than 30 s.
        """
        num_samples = torch.tensor([waveform.size for waveform in waveforms])
        joined = torch.zeros(len(waveforms), int(num_samples.max()))
        for row, waveform in zip(joined, waveforms, strict=True):
            row[: waveform.size] = torch.from_numpy(waveform)
        device = next(self._network.parameters()).device
        frames, num_frames = self._network.hear(joined.to(device), num_samples.to(device))
        return HeardByTorch(self._network.decoder.hear(frames), num_frames)

    @torch.inference_mode()
    def step(
        self, heard: HeardByTorch, tokens: NDArray[np.int64], past: Cache | None
    ) -> tuple[NDArray[np.float32], Cache]:
        """Score what comes next."""
        if past is None:
            past = self._network.decoder.no_past(len(tokens))
        given = torch.from_numpy(tokens).to(heard.num_frames.device)
        logits, present = self._network.step(given, heard.speech, heard.num_frames, past)
        return logits.float().cpu().numpy(), present

    def choose_heard(self, heard: HeardByTorch, rows: NDArray[np.int64]) -> HeardByTorch:
        """Some rows."""
        chosen = torch.from_numpy(rows).to(heard.num_frames.device)
        return HeardByTorch(_choose(heard.speech, chosen), heard.num_frames[chosen])

    def choose_past(self, past: Cache, rows: NDArray[np.int64]) -> Cache:
        """The same rows of the past."""
        return _choose(past, torch.from_numpy(rows).to(past[0][0].device))

    @torch.inference_mode()
    def attention(self, heard: HeardByTorch, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Where every head looks; see `WhisperDecoder.watch`.

        Args:
            heard: of `hear`.
            tokens: int64 [B, N], prompt and transcript, then anything.

        Returns:
            float32 [B, L, H, N, F]: the utterances' own frames alone.
        """
        attended = self._network.attended(heard.num_frames, heard.speech[0][0].shape[2])
        given = torch.from_numpy(tokens).to(heard.num_frames.device)
        decoder = self._network.decoder
        _, _, looks = decoder.watch(given, heard.speech, attended, decoder.no_past(len(tokens)))
        found: NDArray[np.float32] = looks[..., self._network.num_rest_frames :].float().cpu().numpy()
        return found


def _choose(cache: Cache, rows: Tensor) -> Cache:
    return tuple((keys[rows], values[rows]) for keys, values in cache)
