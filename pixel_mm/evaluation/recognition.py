"""A finished recogniser on transcribed speech: what it writes down, how fast, and whether a batch changes it.

python -m pixel_mm.evaluate suite=speech_recognition model_folder=DIR data=librispeech data.root=DIR
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.progress import track as show_progress

from pixel_mm.audio import MAX_SAMPLES, SAMPLE_RATE_HZ, AudioError, Waveform, read_audio
from pixel_mm.data.checks import refuse_too_many_bad
from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.evaluation.recognition_scores import RecognisedClip, recognition_scores
from pixel_mm.evaluation.recognition_tracking import track
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.whisper_engine import DecoderEngine
from pixel_mm.reports.recognition_report import write_recognition_report


@dataclass(frozen=True, slots=True)
class Sample:
    """An utterance with its audio, float32 [T] at 16 kHz, levelled."""

    utterance: Utterance
    waveform: Waveform

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.waveform.size / SAMPLE_RATE_HZ


def evaluate_configured(cfg: DictConfig) -> bool:
    """Evaluate as configured, and write `report/`.

    Returns:
        Whether every clip has the same transcript in a batch as alone.

    Raises:
        EvaluateError: no model folder, clips without transcripts, or no clip that can be used.
    """
    if cfg.model_folder is None:
        raise EvaluateError("suite needs a model to look at: give model_folder=DIR, as pixel_mm.export wrote it")
    suite = cfg.suite
    corpus: Corpus = instantiate(cfg.data.corpus)
    samples, bad = read_samples(corpus.read(), suite.max_clips, suite.max_bad_share)
    options = instantiate(suite.decoding, _convert_="all")
    recognizer = SpeechRecognizer.load(
        cfg.model_folder, precision=suite.precision, num_threads=suite.threads, options=options
    )
    metrics = measure(recognizer, samples, suite) | {"bad_clips": bad}
    report = Path(cfg.paths.run) / "report"
    write_recognition_report(report, metrics, Path(cfg.model_folder).name, corpus.title)
    track(cfg, metrics, [sample.utterance for sample in samples])
    return not metrics["batch"]["different"]


def read_samples(
    utterances: Sequence[Utterance], max_clips: int | None, max_bad_share: float
) -> tuple[list[Sample], dict[str, str]]:
    """Utterances with their audio, and why others could not be used.

    Args:
        utterances: of a corpus.
        max_clips: so many, spread evenly over the corpus; None takes all.
        max_bad_share: share of them that may be unusable, 0 to 1.

    Raises:
        EvaluateError: an utterance without a transcript, or no utterance.
        ValueError: more unusable clips than that.
    """
    if silent := [each.key for each in utterances if each.transcript is None]:
        raise EvaluateError(
            f"{len(silent)} of {len(utterances)} clips have no transcript ({silent[0]}, ...): nothing can be compared "
            "with what is recognised; choose a transcribed part, as data.part=test-other of librispeech"
        )
    count = len(utterances) if max_clips is None else min(max_clips, len(utterances))
    rows = np.linspace(0, len(utterances) - 1, count).round().astype(int).tolist() if utterances else []
    samples, bad = [], {}
    for row in rows:
        each = utterances[row]
        try:
            samples.append(Sample(each, read_audio(each.path, each.start_seconds, each.end_seconds).waveform))
        except AudioError as error:
            bad[each.key] = str(error)
    refuse_too_many_bad(bad, len(rows), max_bad_share)
    return samples, bad


def measure(recognizer: SpeechRecognizer, samples: Sequence[Sample], suite: DictConfig) -> dict[str, Any]:
    """All numbers of the report.

    Args:
        recognizer: the model.
        samples: of a corpus.
        suite: `normaliser`, `worst`, `batch_size`, `component_clips`.
    """
    recognizer(samples[0].waveform, SAMPLE_RATE_HZ)  # what a first run costs is no latency
    clips = [_recognise(recognizer, sample) for sample in show_progress(samples, "recognising", transient=True)]
    return {
        **recognition_scores(clips, suite.normaliser, suite.worst),
        "batch": compare_batches(recognizer, samples, suite.batch_size),
        "components": time_components(recognizer, samples[: suite.component_clips]),
    }


def _recognise(recognizer: SpeechRecognizer, sample: Sample) -> RecognisedClip:
    begun = time.perf_counter()
    text = recognizer(sample.waveform, SAMPLE_RATE_HZ).text
    latency = time.perf_counter() - begun
    each = sample.utterance
    return RecognisedClip(each.key, each.speaker, sample.seconds, each.transcript or "", text, latency)


def compare_batches(recognizer: SpeechRecognizer, samples: Sequence[Sample], batch_size: int) -> dict[str, Any]:
    """Which clips get another transcript in a batch than alone; clips over 30 s, which go in windows, are left out.

    Returns:
        `size`, `num_clips`, `different` (names).
    """
    short = sorted((each for each in samples if each.waveform.size <= MAX_SAMPLES), key=lambda each: each.waveform.size)
    different = []
    for start in range(0, len(short), batch_size):
        batch = short[start : start + batch_size]
        together = recognizer.engine.transcribe([each.waveform for each in batch], recognizer.options)
        for each, found in zip(batch, together, strict=True):
            (alone,) = recognizer.engine.transcribe([each.waveform], recognizer.options)
            if alone.tokens != found.tokens:
                different.append(each.utterance.key)
    return {"size": batch_size, "num_clips": len(short), "different": different}


def time_components(recognizer: SpeechRecognizer, samples: Sequence[Sample]) -> dict[str, float] | None:
    """Real-time factor (seconds of work for a second of audio) of each part of the way, clips one by one.

    Returns:
        `voice activity`, `encoder` (with its front end) and `decoder`; None of an engine that cannot be taken apart.
    """
    engine, spent = recognizer.engine, dict.fromkeys(("voice activity", "encoder", "decoder"), 0.0)
    short = [each for each in samples if each.waveform.size <= MAX_SAMPLES]
    if not isinstance(engine, DecoderEngine) or not short:
        return None
    for each in short:
        times = [time.perf_counter()]
        recognizer.voice_activity.probabilities([each.waveform])
        times.append(time.perf_counter())
        engine.decoder.hear([each.waveform])
        times.append(time.perf_counter())
        engine.transcribe([each.waveform], recognizer.options)
        times.append(time.perf_counter())
        vad, hearing, everything = np.diff(times).tolist()
        spent["voice activity"] += vad
        spent["encoder"] += hearing
        spent["decoder"] += max(everything - hearing, 0.0)
    seconds = sum(each.seconds for each in short)
    return {name: value / seconds for name, value in spent.items()}
