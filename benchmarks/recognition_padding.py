"""Why transcripts of full context are not faster-whisper's to the word: what lies behind an utterance.

    python -m benchmarks.recognition_padding --output FILE.json --faster-whisper PYTHON \
        [--model whisper_tiny_en] [--librispeech-root DIR] [--quick]

Measure 1 again (the number is that of the target), on LibriSpeech test-other, greedy, basic normaliser, float32.
Whisper was trained on audio that is padded with silence to 30 s, and so this project pads it. faster-whisper pads the
log-mel spectrogram with zeros, which no audio has. Here the network gets those zeros, too, and all else stays as it is.

PYTHON is that of an environment of its own with faster-whisper in it. About three minutes on two cores; --quick takes
four utterances.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn

from benchmarks.recognition_accuracy import Clips, Test, compare, peer_transcripts
from benchmarks.report import Measure, print_table, write_report
from pixel_mm.cli import CONFIG_DIR
from pixel_mm.metrics.error_rates import normaliser
from pixel_mm.models.frontend import LogMel
from pixel_mm.models.speech_recognition.decoding import decode
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.whisper_tokens import WhisperTokenizer

MODELS = ("whisper_tiny_en", "whisper_base")


class ZerosBehind(nn.Module):
    """Log-mel of padded audio with zeros behind the utterance.

    Attributes:
        num_samples: of the utterance without its padding.
    """

    num_samples = 0

    def __init__(self, log_mel: LogMel) -> None:
        """Take the front end that hears the padding."""
        super().__init__()
        self.log_mel = log_mel

    def forward(self, waveform: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """As `LogMel`; one frame behind the utterance is heard, as in faster-whisper."""
        mel, num_frames = self.log_mel(waveform, num_samples)
        heard = torch.arange(mel.shape[1]) <= self.num_samples // self.log_mel.hop_samples
        return mel * heard.unsqueeze(1), num_frames


def padded_transcripts(name: str, clips: Clips) -> dict[str, str]:
    """What the published network writes down of each clip with zeros behind it.

    Args:
        name: of the model in conf/recognizer.
        clips: float32 [samples] at 16 kHz, by name.
    """
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        chosen = compose("export", ["target=recognizer", f"recognizer={name}", "output=nowhere"]).recognizer
    network = instantiate(chosen.network).eval()
    tokenizer = WhisperTokenizer.load(instantiate(chosen.tokenizer).path())
    front_end = network.encoder.log_mel = ZerosBehind(network.encoder.log_mel)
    found = {}
    for key, clip in clips.items():
        front_end.num_samples = clip.size
        found[key] = tokenizer.decode(decode(TorchDecoder(network), [clip], tokenizer)[0].tokens)
    return found


def measure(name: str, test: Test, python: Path, threads: int) -> list[Measure]:
    """Measure 1 of a model, padded alike."""
    theirs, ours = peer_transcripts(name, test.clips, python, threads), padded_transcripts(name, test.clips)
    what = f"{name}, full context, float32, log-mel padded with zeros, all {len(test.clips)} utterances"
    same = normaliser("basic")
    alike = sum(same(ours[key]) == same(theirs[key]) for key in test.clips)
    return [
        *compare(f"1-{name}", what, "<= 0.3", test, ours, theirs, "faster-whisper float32", list(test.clips),
                 both_ways=True),
        Measure(f"1-{name}-alike", f"{what}: transcripts that are faster-whisper's", alike, "utterances"),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--model", action="append", help=f"as in conf/recognizer; default: {', '.join(MODELS)}")
    parser.add_argument("--faster-whisper", type=Path, required=True, help="Python of an environment that has it")
    parser.add_argument(
        "--librispeech-root", type=Path, default=Path(os.environ.get("PIXEL_MM_DATA", "."), "librispeech"),
        help="default: below PIXEL_MM_DATA",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="four utterances; its numbers mean nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    test = Test(options.librispeech_root, 4 if options.quick else None)
    found = [each for name in options.model or MODELS for each in measure(
        name, test, options.faster_whisper, options.threads
    )]  # fmt: skip
    print_table(found)
    write_report(options.output, "recognition_padding", found, options.quick)


if __name__ == "__main__":
    main()
