"""Training of a recogniser on transcripts: what is refused, what is left out, what is saved beside the weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from pixel_mm.audio import MAX_SECONDS, SAMPLE_RATE_HZ
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.models.checkpoint import DescribedNetwork
from pixel_mm.models.speech_recognition.writing import Writing
from pixel_mm.training.worst_transcripts import WrongTranscript, worst_transcripts


class TranscriptError(ValueError):
    """Clips that nobody has written down."""


class TranscriptTask:
    """See `pixel_mm.training.task.Task`."""

    def build(self, cfg: DictConfig, datamodule: SpeechDataModule) -> DescribedNetwork:
        """The recogniser that `conf/recognizer` describes, which can write every transcript that is left in the data.

        Raises:
            TranscriptError: a clip without a transcript.
            ValueError: a transcript that the recogniser cannot write, or too many that it cannot be taught.
        """
        writing: Writing = instantiate(cfg.recognizer.writing)
        transcripts = _transcripts(datamodule)
        network: DescribedNetwork = instantiate(cfg.model)
        writing.check_fits(network)
        problems = {}
        for row, transcript in transcripts.items():
            seconds = float(datamodule.durations_seconds[row])
            if seconds > MAX_SECONDS:
                problems[row] = (
                    f"{seconds:.1f} s long; a recogniser hears {MAX_SECONDS:g} s at once, and its text was not divided"
                )
            elif problem := writing.problem(network, transcript, round(seconds * SAMPLE_RATE_HZ)):
                problems[row] = problem
        datamodule.leave_out(problems)
        return network

    def prepare(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device, anew: bool
    ) -> None:
        """Save the tokenizer or vocabulary beside the weights to come."""
        rank_zero_only(instantiate(cfg.recognizer.writing).save)(Path(cfg.paths.run))

    def worst_clips(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device
    ) -> Sequence[WrongTranscript]:
        """Those with most word errors."""
        part = datamodule.parts.test or datamodule.parts.validation
        if not part:
            return []
        writing: Writing = instantiate(cfg.recognizer.writing)
        return worst_transcripts(network.to(device).eval(), writing, datamodule.loader(part), cfg.worst_clips)


def _transcripts(datamodule: SpeechDataModule) -> dict[int, str]:
    """Transcripts of the rows of all parts.

    Raises:
        TranscriptError: a row has none.
    """
    rows = [row for part in datamodule.parts for row in part]
    found = {row: text for row in rows if (text := datamodule.utterances[row].transcript)}
    if missing := [datamodule.utterances[row].key for row in rows if row not in found]:
        raise TranscriptError(
            f"{len(missing)} of {len(rows)} clips have no transcript ({', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}): choose a transcribed part of the corpus, as data.part=dev-clean "
            "of librispeech, or leave these clips out of the manifest"
        )
    return found
