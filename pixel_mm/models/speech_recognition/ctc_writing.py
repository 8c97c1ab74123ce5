"""CTC's way of writing: a character or none for each frame, whatever the frames beside it have."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pixel_mm.audio import MIN_SAMPLES, SAMPLE_RATE_HZ, Waveform
from pixel_mm.ctc_vocabulary import BLANK
from pixel_mm.models.speech_recognition.ctc_network import CtcRecognizer
from pixel_mm.models.speech_recognition.writing import WritingError
from pixel_mm.runs import RunFolder


class CtcWriting:
    """See `Writing`. The characters are the network's."""

    def check_fits(self, network: CtcRecognizer) -> None:
        """Refuse another network. See `Writing`.

        Raises:
            WritingError: it names no characters.
        """
        if not isinstance(network, CtcRecognizer):
            raise WritingError(f"recognizer.writing: a {type(network).__name__} does not write by CTC")

    def problem(self, network: CtcRecognizer, transcript: str, num_samples: int) -> str | None:
        """Each character needs a frame, and the same one twice another one between. See `Writing`."""
        classes = network.vocabulary.encode(transcript)
        needed = len(classes) + sum(one == other for one, other in pairwise(classes))
        there = 1 + int((num_samples - MIN_SAMPLES) * network.encoder.frame_rate_hz / SAMPLE_RATE_HZ)
        if needed <= there:
            return None
        return f"its transcript needs {needed} frames, the clip has {there}; is it that of a longer clip?"

    def losses(
        self,
        network: CtcRecognizer,
        waveform: Tensor,
        num_samples: Tensor,
        transcripts: Sequence[str],
        mask_seeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Minus log-probability of all ways to write the characters; augmentation may leave no way. See `Writing`."""
        rows = [network.vocabulary.encode(transcript) for transcript in transcripts]
        counts = torch.tensor([len(row) for row in rows], device=waveform.device)
        wanted = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(waveform.device)
        scores, num_frames = network(waveform, num_samples, mask_seeds)
        sums = F.ctc_loss(
            scores.transpose(0, 1), wanted, num_frames, counts, BLANK, reduction="none", zero_infinity=True
        )
        return sums, counts

    @torch.inference_mode()
    def transcribe(self, network: CtcRecognizer, waveforms: Sequence[Waveform]) -> list[str]:
        """The best class of each frame. See `Writing`."""
        num_samples = torch.tensor([waveform.size for waveform in waveforms])
        joined = pad_sequence([torch.from_numpy(np.array(waveform)) for waveform in waveforms], batch_first=True)
        device = network.head.weight.device
        scores, num_frames = network(joined.to(device), num_samples.to(device))
        best = scores.argmax(-1).tolist()
        return [network.vocabulary.decode(row[:count]) for row, count in zip(best, num_frames.tolist(), strict=True)]

    def save(self, network: CtcRecognizer, folder: Path) -> None:
        """Write vocabulary.json. See `Writing`."""
        network.vocabulary.save(RunFolder(folder).vocabulary)

    def fingerprint(self, network: CtcRecognizer) -> str:
        """SHA-256 of vocabulary.json."""
        return sha256(network.vocabulary.to_json().encode()).hexdigest()
