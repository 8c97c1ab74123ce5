from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pixel_mm.models.frontend import FeatureMask
from pixel_mm.models.speech_recognition.transcript_module import TranscriptModule
from pixel_mm.models.speech_recognition.whisper_writing import WhisperWriting
from pixel_mm.models.speech_recognition.writing import WritingError, as_taught
from pixel_mm.whisper_tokens import TokenizerError, WhisperTokenizer
from tests.models.tiny_networks import regressor, speech
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer

WRITING = WhisperWriting(tiny_tokenizer(), max_tokens=12)
TEXTS = ("pen pal", "pup")  # " p" is a token, and a space alone is none that a transcript has


class _Batch(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.transcripts)


def batch(*texts: str) -> _Batch:
    waveform, num_samples = speech(*(20_000, 9_001)[: len(texts)])
    return _Batch(waveform=waveform, num_samples=num_samples, transcripts=texts, mask_seeds=None)


def module_of(**changes: Any) -> TranscriptModule:
    options = {"network": tiny_recognizer(), "writing": WRITING, "optimizer": partial(torch.optim.SGD, lr=0.1)}
    return TranscriptModule(**options | changes)


def logged(module: TranscriptModule, part: str = "validation") -> dict[str, float]:
    """What a module logs of a part."""
    values: dict[str, float] = {}
    module.log_part = lambda _, found, __: values.update(found)  # type: ignore[method-assign,assignment]
    module.log_measures(part)
    return values


def test_two_utterances_are_learnt_by_heart() -> None:
    module = module_of().train()
    module.log_part = lambda *_: None  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(module.network.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        module.training_step(batch(*TEXTS), 0).backward()
        optimizer.step()
    module.eval()
    with torch.no_grad():
        module.validation_step(batch(*TEXTS), 0)
    measures = logged(module)
    assert measures["word_error_rate"] == measures["character_error_rate"] == 0
    assert measures["loss"] < 0.1


def test_a_loss_is_of_the_transcript_and_its_end_whatever_it_is_batched_with() -> None:
    network = tiny_recognizer()
    with torch.no_grad():
        sums, counts = WRITING.losses(network, *speech(20_000, 9_001), TEXTS)
        waveform, num_samples = speech(20_000, 9_001)
        alone, count = WRITING.losses(network, waveform[1:, :9_001], num_samples[1:], TEXTS[1:])
    assert counts.tolist() == [len(WRITING.tokenizer.encode(f" {text}")) + 1 for text in TEXTS]
    assert count == counts[1]
    torch.testing.assert_close(alone[0], sums[1], atol=1e-3, rtol=1e-4)
    tokens = [*WRITING.tokenizer.prompt(), *WRITING.tokenizer.encode(" pup"), WRITING.tokenizer.end]
    steered = len(WRITING.tokenizer.prompt())
    with torch.no_grad():
        scores = network(waveform[1:, :9_001], num_samples[1:], torch.tensor([tokens[:-1]])).log_softmax(-1)[0]
    wanted = -sum(scores[place - 1, tokens[place]] for place in range(steered, len(tokens)))
    torch.testing.assert_close(alone[0], wanted, atol=1e-3, rtol=1e-4)


def test_smoothing_is_for_training_alone() -> None:
    smoothed, network = WhisperWriting(tiny_tokenizer(), label_smoothing=0.5), tiny_recognizer()
    given = (*speech(9_001), TEXTS[1:])
    with torch.no_grad():
        assert smoothed.losses(network, *given)[0] == WRITING.losses(network, *given)[0]
        network.train()
        assert smoothed.losses(network, *given)[0] != WRITING.losses(network, *given)[0]


def test_errors_of_a_part_are_counted_over_all_its_batches() -> None:
    module = module_of()
    heard = iter([["a pin"], ["", "no such"]])
    module.writing = SimpleNamespace(  # type: ignore[assignment]
        losses=WRITING.losses, transcribe=lambda *_: next(heard)
    )
    with torch.no_grad():
        module.validation_step(batch("A pen."), 0)
        module.validation_step(batch("two words", "no such"), 0)
    measures = logged(module)
    assert measures["word_error_rate"] == pytest.approx(3 / 6)
    assert measures["character_error_rate"] == pytest.approx(10 / 21)
    assert logged(module) == {}


def test_masks_lie_in_what_is_spoken_though_30_seconds_are_heard() -> None:
    network = tiny_recognizer("full")
    network.encoder.mask = FeatureMask(num_bands=0, num_stretches=1, max_time_share=0.5)
    masked = []
    network.encoder.mask.register_forward_hook(lambda _, given, given_back: masked.append((given[0], given_back)))
    waveform, num_samples = speech(16_000)
    with torch.no_grad():
        for seed in range(12):
            network.hear(waveform, num_samples, torch.tensor([seed]))
    changed = torch.stack([(before != after).any(2)[0] for before, after in masked])
    assert changed.any(1).sum() > 8
    assert not changed[:, 100:].any()
    assert changed.sum(1).max() <= 50


def test_capitals_are_taught_as_small_letters_and_other_texts_as_they_are() -> None:
    assert as_taught("HE  SAID I'LL GO") == "he said i'll go"
    assert as_taught(" He said: OK. ") == "He said: OK."


def test_a_transcript_too_long_for_the_decoder_is_told() -> None:
    network = tiny_recognizer()
    assert WRITING.problem(network, "x" * 60, 16_000) is None
    problem = WRITING.problem(network, "x" * 80, 16_000)
    assert problem is not None
    assert "83 tokens, the decoder has 64 positions" in problem


def test_a_tokenizer_of_other_weights_or_another_kind_of_network_is_refused() -> None:
    network = tiny_recognizer()
    network.decoder.num_tokens += 1
    with pytest.raises(TokenizerError, match="does not belong to the weights"):
        module_of(network=network)
    with pytest.raises(WritingError, match="EmotionRegressor does not write"):
        module_of(network=regressor())
    with pytest.raises(TokenizerError, match="language 'de'"):
        module_of(writing=WhisperWriting(tiny_tokenizer(), language="de"))


def test_what_is_saved_is_what_the_checkpoint_names(tmp_path: Path) -> None:
    WRITING.save(tiny_recognizer(), tmp_path)
    checkpoint: dict[str, Any] = {}
    module_of().on_save_checkpoint(checkpoint)
    read = WhisperWriting(WhisperTokenizer.load(tmp_path / "tokenizer.json"))
    assert checkpoint["writing_sha256"] == read.fingerprint(tiny_recognizer())
