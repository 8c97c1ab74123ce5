from functools import partial
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import HubertConfig, Wav2Vec2Config, WavLMConfig

from pixel_mm.ctc_vocabulary import CtcVocabulary
from pixel_mm.models.adaptation import LastLayers, LowRank
from pixel_mm.models.freezing import trained_parameters
from pixel_mm.models.speech_recognition.ctc_network import CtcRecognizer
from pixel_mm.models.speech_recognition.ctc_writing import CtcWriting
from pixel_mm.models.speech_recognition.transcript_module import TranscriptModule
from pixel_mm.models.speech_recognition.writing import WritingError
from tests.models.tiny_networks import speech, wav2vec2
from tests.tiny_recognition import tiny_recognizer

WRITING = CtcWriting()
TEXTS = ("See all", "lea")
KINDS = {
    f"{kind.model_type}, {'layer' if per_frame else 'group'} norm": (kind, per_frame)
    for kind in (Wav2Vec2Config, HubertConfig, WavLMConfig)
    for per_frame in (False, True)
}


def ctc(kind: type = Wav2Vec2Config, per_frame: bool = True) -> CtcRecognizer:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = CtcRecognizer(wav2vec2(kind, per_frame), [*" aels"], dropout=0.0)
    return network.eval()


def clips(*lengths: int) -> list[Any]:
    waveform, _ = speech(*lengths)
    return [row[:length].numpy() for row, length in zip(waveform, lengths, strict=True)]


def test_two_utterances_are_learnt_by_heart() -> None:
    module = TranscriptModule(ctc(), WRITING, partial(torch.optim.SGD, lr=0.1)).train()
    module.log_part = lambda *_: None  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(module.network.parameters(), lr=5e-3)
    waveform, num_samples = speech(9_000, 6_000)
    batch = SimpleNamespace(waveform=waveform, num_samples=num_samples, transcripts=("Sel", "lea"), mask_seeds=None)
    for _ in range(120):
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
    assert loss < 0.3
    assert WRITING.transcribe(module.network.eval(), clips(9_000, 6_000)) == ["sel", "lea"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_utterance_is_what_it_is_alone(kind: str) -> None:
    network = ctc(*KINDS[kind])
    waveform, num_samples = speech(20_000, 9_001)
    with torch.no_grad():
        together, alone = (
            WRITING.losses(network, *given)
            for given in ((waveform, num_samples, TEXTS), (waveform[1:, :9_001], num_samples[1:], TEXTS[1:]))
        )
    assert together[1].tolist() == [7, 3]
    torch.testing.assert_close(together[0][1:], alone[0], atol=1e-4, rtol=1e-4)
    recordings = clips(20_000, 9_001)
    assert WRITING.transcribe(network, recordings)[1:] == WRITING.transcribe(network, recordings[1:])


def test_the_loss_is_of_all_ways_to_write_the_text() -> None:
    network = ctc()
    waveform, num_samples = speech(1_040)  # 3 frames
    with torch.no_grad():
        scores, num_frames = network(waveform, num_samples)
        loss, _ = WRITING.losses(network, waveform, num_samples, ["ae"])
    assert num_frames.tolist() == [3]
    ways = torch.cartesian_prod(*[torch.arange(6)] * 3).tolist()
    written = [way for way in ways if [each for each, _ in groupby(way) if each] == [2, 3]]
    probability = sum(scores[0, range(3), way].sum().exp() for way in written)
    torch.testing.assert_close(loss[0], -probability.log(), atol=1e-4, rtol=1e-4)


def test_a_transcript_that_no_frames_are_left_for_is_told() -> None:
    network = ctc()
    assert WRITING.problem(network, "see", 400 + 3 * 320) is None  # s, e, none, e
    told = WRITING.problem(network, "see", 400 + 2 * 320)
    assert told == "its transcript needs 4 frames, the clip has 3; is it that of a longer clip?"
    with torch.no_grad():  # augmentation may shorten a clip: no infinity then
        assert WRITING.losses(network, *speech(1_040), ["see"])[0].tolist() == [0.0]


def test_the_encoder_is_adapted_and_the_head_is_trained() -> None:
    network = ctc()
    LastLayers(1)(network)
    names = set(trained_parameters(network))
    assert {"head.weight", "head.bias"} < names
    assert not any(name.startswith("encoder.model.encoder.layers.0.") for name in names)
    network = ctc()
    LowRank(rank=2, alpha=4, targets=["q_proj"])(network)
    assert len(trained_parameters(network)) == 2 + 2 * 2


def test_the_vocabulary_is_part_of_what_it_is_and_saved(tmp_path: Path) -> None:
    network = ctc()
    assert network.architecture["characters"] == [*" aels"]
    WRITING.save(network, tmp_path)
    assert CtcVocabulary.load(tmp_path / "vocabulary.json").characters == network.vocabulary.characters
    assert WRITING.fingerprint(network) != WRITING.fingerprint(CtcRecognizer(network.encoder, "ab"))
    with pytest.raises(WritingError, match="WhisperRecognizer does not write by CTC"):
        WRITING.check_fits(tiny_recognizer())  # type: ignore[arg-type]
