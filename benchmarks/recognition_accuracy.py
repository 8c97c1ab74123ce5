"""How right recognised speech is: against faster-whisper, on short context, in int8, in long recordings, in noise.

    python -m benchmarks.recognition_accuracy --output FILE.json --faster-whisper PYTHON \
        --full whisper_tiny_en=MODEL_DIR --short whisper_tiny_en=MODEL_DIR [--librispeech-root DIR] [--quick]

Measures (the numbers are those of the targets), on LibriSpeech test-other, greedy, basic normaliser:
  1  full context, float32, published weights: word error rate against faster-whisper float32
  2  short context, float32 and int8 (whose latency is what counts): word error rate against full context in float32,
     on utterances of up to 6 s and on all
  4  int8 against float32, on both contexts
  6  recordings in which nobody speaks (silence, white noise, babble, tones; 1 to 30 s): share without any text
  7  all utterances joined into one file with pauses, at the levels they were recorded with, against one by one; the
     words of all of them are aligned together, on both sides

Word error rates are in percent, differences in points; intervals are bootstrapped over speakers, who are drawn for both
sides alike. Clips are recognised one by one. Each model is named as in conf/recognizer; its MODEL_DIRs are written by
`python -m pixel_mm.export target=recognizer recognizer=NAME precisions=[float32,int8]`, the one of --short with
recognizer.network.context=short, or with run=RUN_DIR of experiment=whisper_dynamic_context. PYTHON is that of an
environment of its own with faster-whisper in it. About twenty minutes for two models on two cores; --quick takes four
utterances.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from benchmarks.nobody_speaks import KINDS, recordings
from benchmarks.recognition_peer import FasterWhisper, published_folder
from benchmarks.report import Measure, print_table, write_report
from pixel_mm.audio import SAMPLE_RATE_HZ, Waveform, read_audio
from pixel_mm.data.corpora.librispeech import LibriSpeech
from pixel_mm.inference.speech_recognition import SpeechRecognizer
from pixel_mm.inference.whisper_onnx import OnnxDecoder, Precision, load_tokenizer
from pixel_mm.metrics.error_rates import ErrorCounts, count_errors, normaliser, total
from pixel_mm.metrics.intervals import speaker_interval, speaker_totals
from pixel_mm.model_folder import ModelFolderError
from pixel_mm.models.speech_recognition.decoding import decode

SHORT_SECONDS = 6.0
PAUSE_SECONDS = 0.8
FULL_FRAMES = 1500  # of the encoder, in 30 s
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
Context = Literal["full", "short"]
Clips = Mapping[str, Waveform]


class Test:
    """Transcribed utterances, and how far two sides' transcripts of them are apart.

    Attributes:
        paths: of the files, by name.
        clips: float32 [samples] at 16 kHz, by name.
    """

    def __init__(self, root: Path, limit: int | None) -> None:
        """Read LibriSpeech test-other below a folder, or its first utterances.

        Raises:
            ValueError: an utterance without a transcript, or none of up to 6 s.
        """
        utterances = LibriSpeech(root, "test-other").read()[:limit]
        if silent := [each.key for each in utterances if not each.transcript]:
            raise ValueError(
                f"--librispeech-root: {len(silent)} of {len(utterances)} clips of test-other have no transcript "
                f"({silent[0]}, ...); copy its *.trans.txt files, too"
            )
        self.paths = {each.path.stem: each.path for each in utterances}
        self.clips = {each.path.stem: read_audio(each.path).waveform for each in utterances}
        self._same = normaliser("basic")
        self._said = {each.path.stem: self._same(each.transcript or "") for each in utterances}
        self._speakers = {each.path.stem: each.speaker for each in utterances}
        if not self.short():
            raise ValueError(f"--librispeech-root: test-other below {root} has no clip of up to {SHORT_SECONDS:g} s")

    def short(self) -> list[str]:
        """Names of the utterances of up to 6 s."""
        return [name for name, clip in self.clips.items() if clip.size <= SHORT_SECONDS * SAMPLE_RATE_HZ]

    def rate(self, heard: Mapping[str, str], names: Sequence[str]) -> float:
        """Word error rate, percent."""
        return 100 * total(self._count(heard, names)).rate

    def joined_rate(self, heard: str) -> float:
        """Word error rate of one transcript of all utterances in their order, percent."""
        return 100 * count_errors(" ".join(self._said.values()), self._same(heard)).rate

    def difference(
        self, ours: Mapping[str, str], theirs: Mapping[str, str], names: Sequence[str]
    ) -> tuple[float, float] | None:
        """95 % interval of how many points more ours has; None below two speakers."""
        counts = zip(self._count(ours, names), self._count(theirs, names), strict=True)
        amounts = np.array([(a.errors, b.errors, a.references) for a, b in counts], dtype=np.float64)
        totals = speaker_totals(amounts, [self._speakers[name] for name in names])
        return speaker_interval(lambda sums: 100 * (sums[:, 0] - sums[:, 1]) / sums[:, 2], totals)

    def join(self, path: Path) -> float:
        """Write all utterances into one file, as they were recorded, each with a pause after it.

        Returns:
            Its length, seconds.
        """
        recorded = [soundfile.read(each, dtype="int16") for each in self.paths.values()]
        rates = {rate for _, rate in recorded}
        if rates != {SAMPLE_RATE_HZ}:
            raise ValueError(f"--librispeech-root: clips of {sorted(rates)} Hz; LibriSpeech has {SAMPLE_RATE_HZ}")
        pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE_HZ), dtype=np.int16)
        joined = np.concatenate([piece for samples, _ in recorded for piece in (samples, pause)])
        soundfile.write(path, joined, SAMPLE_RATE_HZ)
        return float(joined.size / SAMPLE_RATE_HZ)

    def _count(self, heard: Mapping[str, str], names: Sequence[str]) -> list[ErrorCounts]:
        return [count_errors(self._said[name], self._same(heard[name])) for name in names]


def transcripts(folder: Path, context: Context, precision: Precision, clips: Clips, threads: int) -> dict[str, str]:
    """What an exported model writes down of each clip.

    Raises:
        ModelFolderError: the model hears another context.
    """
    tokenizer = load_tokenizer(folder)
    decoder = OnnxDecoder.load(folder, precision, threads)
    frames = int(decoder.hear([min(clips.values(), key=len)]).inputs["num_frames"][0])
    if (frames == FULL_FRAMES) != (context == "full"):
        raise ModelFolderError(f"--{context}: the model in {folder} hears {frames} frames of a short clip, that is "
                               f"the other context; give --full and --short the folders that belong there")  # fmt: skip
    return {name: tokenizer.decode(decode(decoder, [clip], tokenizer)[0].tokens) for name, clip in clips.items()}


def compare(
    key: str, what: str, target: str, test: Test, ours: Mapping[str, str], theirs: Mapping[str, str],
    against: str, names: Sequence[str], both_ways: bool = False,
) -> list[Measure]:  # fmt: skip
    """Points between two sides, and the rate of ours.

    Args:
        key: id of the measure.
        what: ours, in words.
        target: of the points.
        test: the utterances.
        ours: transcripts by name.
        theirs: transcripts by name.
        against: theirs, in words.
        names: utterances that count.
        both_ways: fewer errors count as a difference, too.
    """
    rates = test.rate(ours, names), test.rate(theirs, names)
    points = rates[0] - rates[1]
    interval = test.difference(ours, theirs, names)
    if both_ways and points < 0:
        points, interval = -points, interval and (-interval[1], -interval[0])
    return [
        Measure(key, f"difference: {what}", points, "points of WER", target, interval,
                f"{against}: {rates[1]:.2f} %"),
        Measure(f"{key}-rate", what, rates[0], "% WER"),
    ]  # fmt: skip


def model_measures(name: str, full: Path, short: Path, test: Test, python: Path, threads: int) -> list[Measure]:
    """Measures 1, 2 and 4 of a model."""
    folders: dict[Context, Path] = {"full": full, "short": short}
    heard = {
        (context, precision): transcripts(folder, context, precision, test.clips, threads)
        for context, folder in folders.items()
        for precision in PRECISIONS
    }
    peer = peer_transcripts(name, test.clips, python, threads)
    everything, brief = list(test.clips), test.short()
    said = {"all": f"all {len(everything)} utterances", "brief": f"{len(brief)} utterances up to {SHORT_SECONDS:g} s"}
    ours = heard["full", "float32"]
    measures = compare(f"1-{name}", f"{name}, full context, float32, {said['all']}", "<= 0.3", test, ours, peer,
                       "faster-whisper float32", everything, both_ways=True)  # fmt: skip
    for precision in PRECISIONS:
        for key, names in (("brief", brief), ("all", everything)):
            measures += compare(f"2-{name}-{key}-{precision}", f"{name}, short context, {precision}, {said[key]}",
                                "<= 1", test, heard["short", precision], ours, "full context, float32",
                                names)  # fmt: skip
    for context in ("full", "short"):
        measures += compare(f"4-{name}-{context}", f"{name}, {context} context, int8, {said['all']}", "<= 0.5", test,
                            heard[context, "int8"], heard[context, "float32"], "float32", everything)  # fmt: skip
    return measures


def peer_transcripts(name: str, clips: Clips, python: Path, threads: int) -> dict[str, str]:
    """What faster-whisper writes down of each clip in float32, with the published weights of a model."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = published_folder(name, Path(scratch) / "model")
        with FasterWhisper(python, folder, clips, "float32", threads) as peer:
            return {clip: peer.one(clip)[0] for clip in clips}


def wrapper_measures(name: str, recognizer: SpeechRecognizer, test: Test, silent: Clips) -> list[Measure]:
    """Measures 6 and 7 of a model on short context; `silent` are recordings in which nobody speaks."""
    heard = {key: recognizer(clip, SAMPLE_RATE_HZ).text for key, clip in silent.items()}
    invented = [key for key, text in heard.items() if text]
    kinds = ", ".join(f"{kind} {sum(key.startswith(kind) for key in invented)}" for kind in KINDS)
    alone = {key: recognizer(clip, SAMPLE_RATE_HZ).text for key, clip in test.clips.items()}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "joined.flac"
        minutes = test.join(file) / 60
        together = recognizer.file(file).text
    # An alignment of all words at once has fewer errors than one of each utterance: both sides get it.
    rates = test.joined_rate(together), test.joined_rate(" ".join(alone.values()))
    nobody = f"{len(silent)} recordings of 1 to 30 s without speech"
    setting = f"{len(alone)} utterances in one file of {minutes:.1f} min, {PAUSE_SECONDS:g} s of pause after each"
    return [
        Measure(f"6-{name}", f"{name}, {nobody}: share that gets no text (of those that get some: {kinds})",
                100 * (1 - len(invented) / len(silent)), "%", ">= 100"),
        Measure(f"7-{name}", f"{name}, {setting}: difference", rates[0] - rates[1],
                "points of WER", "<= 1", None, f"one by one: {rates[1]:.2f} %"),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    options = _parse(arguments)
    test = Test(options.librispeech_root, 4 if options.quick else None)
    paths = sorted((options.librispeech_root / "train-clean-100").rglob("*.flac"))[:40]
    voices = [read_audio(path).waveform for path in paths]
    silent = recordings(voices, 8 if options.quick else 100)
    full, short = (dict(entry.split("=", 1) for entry in models) for models in (options.full, options.short))
    measures = []
    for name, folder in short.items():
        measures += model_measures(name, Path(full[name]), Path(folder), test, options.faster_whisper, options.threads)
        recognizer = SpeechRecognizer.load(folder, num_threads=options.threads)
        measures += wrapper_measures(name, recognizer, test, silent)
    print_table(measures)
    write_report(options.output, "recognition_accuracy", sorted(measures, key=lambda each: each.id), options.quick)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--full", action="append", required=True, metavar="NAME=DIR", help="see above")
    parser.add_argument("--short", action="append", required=True, metavar="NAME=DIR", help="see above")
    parser.add_argument("--faster-whisper", type=Path, required=True, help="Python of an environment that has it")
    parser.add_argument(
        "--librispeech-root", type=Path, default=Path(os.environ.get("PIXEL_MM_DATA", "."), "librispeech"),
        help="default: below PIXEL_MM_DATA; test-other to test on, train-clean-100 for the voices of the babble",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="four utterances; its numbers mean nothing")
    options = parser.parse_args(arguments)
    names = {entry.partition("=")[0] for entry in options.short} - {entry.partition("=")[0] for entry in options.full}
    if names:
        parser.error(f"--full lacks {', '.join(sorted(names))}, which --short names")
    return options


if __name__ == "__main__":
    main()
