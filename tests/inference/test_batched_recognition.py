"""Many clips at a time."""

import threading

import numpy as np
import pytest

from pixel_mm.inference.batched_recognition import decode_many
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, decode
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from tests.models.tiny_networks import speech
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer

LENGTHS = (9_000, 20_000, 3_000, 400, 12_000)
OPTIONS = DecodingOptions(max_tokens=6)


class Watched(TorchDecoder):
    """Says which lengths share a batch, and how many batches run at a time."""

    def __init__(self, meet: threading.Barrier | None = None) -> None:
        super().__init__(tiny_recognizer())
        self.batches: list[list[int]] = []
        self.meet = meet

    def hear(self, waveforms):  # type: ignore[no-untyped-def]
        self.batches.append([waveform.size for waveform in waveforms])
        if self.meet is not None:
            self.meet.wait(timeout=20)
        return super().hear(waveforms)


def clips() -> list[np.ndarray]:
    waveform, _ = speech(*LENGTHS)
    return [row[:length].numpy() for row, length in zip(waveform, LENGTHS, strict=True)]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_each_clip_gets_in_order_what_it_gets_alone(num_workers: int) -> None:
    decoder = Watched()
    found = decode_many(decoder, clips(), tiny_tokenizer(), OPTIONS, batch_size=2, num_workers=num_workers)
    alone = [decode(TorchDecoder(tiny_recognizer()), [clip], tiny_tokenizer(), OPTIONS)[0] for clip in clips()]
    assert [each.tokens for each in found] == [each.tokens for each in alone]
    assert len({each.tokens for each in alone}) > 1  # in another order they would not be the same
    assert sorted(decoder.batches) == [[400], [9_000, 3_000], [20_000, 12_000]]  # like lengths together


def test_workers_run_side_by_side() -> None:
    decoder = Watched(threading.Barrier(2))  # waits until two batches are in it
    assert len(decode_many(decoder, clips()[:4], tiny_tokenizer(), OPTIONS, batch_size=2, num_workers=2)) == 4


def test_nothing_and_impossible_sizes() -> None:
    assert decode_many(Watched(), [], tiny_tokenizer()) == []
    with pytest.raises(ValueError, match="batch_size is 0"):
        decode_many(Watched(), clips(), tiny_tokenizer(), batch_size=0)
