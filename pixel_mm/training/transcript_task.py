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
    """Clips that nobody has written down, or not so that a network can write it."""


class TranscriptTask:
    """See `pixel_mm.training.task.Task`."""

    def build(self, cfg: DictConfig, datamodule: SpeechDataModule) -> DescribedNetwork:
        """The recogniser that `conf/recognizer` describes, which can write every transcript that is left in the data.

        Raises:
            TranscriptError: a clip without a transcript, or one with a character that the vocabulary lacks.
            ValueError: too many clips that cannot be learnt from.
        """
        writing: Writing = instantiate(cfg.recognizer.writing)
        transcripts = _transcripts(datamodule)
        found = instantiate(cfg.recognizer.get("found_in_texts", {}))
        texts = [transcripts[row] for row in datamodule.parts.train]
        network: DescribedNetwork = instantiate(cfg.model, **{name: find(texts) for name, find in found.items()})
        writing.check_fits(network)
        datamodule.leave_out(_problems(writing, network, transcripts, datamodule))
        return network

    def prepare(
        self, cfg: DictConfig, network: DescribedNetwork, datamodule: SpeechDataModule, device: torch.device, anew: bool
    ) -> None:
        """Save the tokenizer or vocabulary beside the weights to come."""
        rank_zero_only(instantiate(cfg.recognizer.writing).save)(network, Path(cfg.paths.run))

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


def _problems(
    writing: Writing, network: DescribedNetwork, transcripts: dict[int, str], datamodule: SpeechDataModule
) -> dict[int, str]:
    """Why the network cannot be taught some of the rows' transcripts."""
    problems = {}
    for row, transcript in transcripts.items():
        seconds = float(datamodule.durations_seconds[row])
        if seconds > MAX_SECONDS:
            problems[row] = (
                f"{seconds:.1f} s long; a recogniser hears {MAX_SECONDS:g} s at once, and its text was not divided"
            )
            continue
        try:
            problem = writing.problem(network, transcript, round(seconds * SAMPLE_RATE_HZ))
        except ValueError as error:
            raise TranscriptError(f"{datamodule.utterances[row].key}: {error}") from error
        if problem is not None:
            problems[row] = problem
    return problems
