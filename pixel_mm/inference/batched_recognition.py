"""Many clips at a time: as many transcripts a second as the processor gives, each the one that its clip gets alone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pixel_mm.audio import Waveform
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, SpeechDecoder, decode
from pixel_mm.whisper_tokens import WhisperTokenizer

_GREEDY = DecodingOptions()


def decode_many(
    decoder: SpeechDecoder,
    waveforms: Sequence[Waveform],
    tokenizer: WhisperTokenizer,
    options: DecodingOptions = _GREEDY,
    batch_size: int = 16,
    num_workers: int = 1,
) -> list[Hypothesis]:
    """Transcripts of any number of clips, in order.

    Clips of like lengths share a batch: little is padded, and they end at about the same time. With more workers whole
    batches run side by side, which scales better than the threads of a session do, above all with small models.

    Args:
        decoder: runs the model; with more than one worker it must bear being called from several threads, as
            `OnnxDecoder` does, best loaded with `num_threads=1`.
        waveforms: float32 [samples] each, mono, 16 kHz, 25 ms to 30 s.
        tokenizer: of the model.
        options: how to search.
        batch_size: clips that are decoded together.
        num_workers: batches that run at a time.

    Raises:
        ValueError: a size below 1, or a clip that is too short or too long.
        TokenizerError: the model does not know the language or the task.
    """
    if batch_size < 1 or num_workers < 1:
        raise ValueError(f"batch_size is {batch_size} and num_workers {num_workers}; both are 1 or more")
    order = np.argsort([-waveform.size for waveform in waveforms], kind="stable").tolist()  # the longest first
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def run(batch: list[int]) -> list[Hypothesis]:
        return decode(decoder, [waveforms[place] for place in batch], tokenizer, options)

    found: dict[int, Hypothesis] = {}
    with ThreadPoolExecutor(num_workers) as pool:
        for batch, hypotheses in zip(batches, pool.map(run, batches), strict=True):
            found.update(zip(batch, hypotheses, strict=True))
    return [found[place] for place in range(len(waveforms))]
