"""Nothing of a test speaker reaches the training: tried with a trainer that peeks wherever it can."""

import functools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from pixel_mm.data.batching import FrameBatchSampler, StateBatch, WaveformBatch
from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.data.splits import SplitError, hold_out
from pixel_mm.evaluation.fold_training import FoldTrainer, predict
from pixel_mm.evaluation.protocols import Fold, LeaveOneSpeakerOut


class Output(NamedTuple):
    scores: Tensor
    emotion_logits: Tensor


class Network(nn.Module):
    """Scores are the clip's length in seconds; its dimensions come in an order of its own."""

    dimensions = ("arousal", "valence", "dominance")
    emotion_labels = ("anger", "happiness", "sadness")

    def forward(self, waveform, num_samples):
        seconds = num_samples / 16000
        return Output(torch.stack([seconds, seconds / 10, seconds / 100], 1), torch.eye(3)[num_samples % 3])

    def from_trunk(self, states, num_frames):
        return Output(states[:, 0, 0, :3], torch.zeros(len(num_frames), 3))


class Recorded(Corpus):
    title = url = licence = expected = "made up"
    language = None

    def __init__(self, rows):
        super().__init__(rows[0].path.parent)
        self.rows = rows

    def read(self):
        return self.rows


@pytest.fixture
def data(recorded_rows):
    return SpeechDataModule(
        Recorded(recorded_rows),
        split=functools.partial(hold_out, fractions={"test": 0.3}, seed=0),
        batching=functools.partial(FrameBatchSampler, max_frames_per_batch=4000, max_clips_per_batch=4),
    )


CONFIG = OmegaConf.create({"seed": 1, "test": True, "paths": {"run": "x"}, "trainer": {"accelerator": "cpu"}})


def everything_loaders_give(data) -> set[int]:
    """Rows of every clip that any of the data module's loaders yields."""
    loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
    return {row for loader in loaders for batch in loader for row in batch.index.tolist()}


def test_a_trainer_that_peeks_sees_no_test_clip(data, tmp_path):
    data.use_split((0, 1, 2, 3, 4, 5), (), (6, 7, 8))  # as another fold would leave it
    seen = {}

    def peek(config, given):
        seen.update(rows=everything_loaders_give(given), run=config.paths.run, seed=config.seed, test=config.test)
        return Network()

    for fold in LeaveOneSpeakerOut(validation_speakers=1).folds(data.utterances):
        table = FoldTrainer(CONFIG, lambda seed: data, peek)(fold, 7, tmp_path)
        assert seen["rows"] == {*fold.train, *fold.validation}
        assert not seen["rows"] & set(fold.test)
        assert [u.key for u in table.utterances] == [data.utterances[row].key for row in fold.test]
    assert seen == {"rows": seen["rows"], "run": str(tmp_path), "seed": 7, "test": False}
    assert (CONFIG.seed, CONFIG.paths.run) == (1, "x")


def test_a_fold_that_shares_a_speaker_never_reaches_a_trainer(data, tmp_path):
    with pytest.raises(SplitError, match="s0"):
        FoldTrainer(CONFIG, lambda seed: data, lambda *_: pytest.fail("trained"))(
            Fold(0, train=(0, 3), validation=(1,), test=(6,)), 1, tmp_path
        )


def test_predicting_other_clips_than_the_test_part_is_refused(data, tmp_path, monkeypatch):
    fold = LeaveOneSpeakerOut().folds(data.utterances)[0]
    monkeypatch.setattr(data, "test_dataloader", lambda: data.loader((0, 1, 3)))
    with pytest.raises(RuntimeError, match="2 clips"):
        FoldTrainer(CONFIG, lambda seed: data, lambda *_: Network())(fold, 1, tmp_path)


def test_scores_go_by_name_and_windows_by_length(data):
    network = Network().train()
    data.use_split((), (), range(9))
    found = predict(network, data.test_dataloader())
    assert not network.training
    assert sorted(found) == list(range(9))
    for row, (scores, probabilities) in found.items():
        seconds = (5000 + 100 * row) / 16000
        assert scores == pytest.approx([seconds / 10, seconds, seconds / 100], rel=1e-5)  # valence, arousal, dominance
        assert probabilities.sum() == pytest.approx(1)


def labels(rows):
    return {
        "ratings": torch.zeros(len(rows), 3),
        "emotion": torch.zeros(len(rows), dtype=torch.int64),
        "index": torch.tensor(rows),
        "keys": tuple(map(str, rows)),
        "audio_hashes": tuple(map(str, rows)),
    }


def test_windows_of_a_clip_are_averaged_by_length():
    batch = WaveformBatch(waveform=torch.zeros(2, 48000), num_samples=torch.tensor([16000, 48000]), **labels([4, 4]))
    scores, probabilities = predict(Network(), [batch])[4]
    assert scores[1] == pytest.approx(0.25 * 1 + 0.75 * 3)
    assert probabilities.sum() == pytest.approx(1)


def test_states_of_a_frozen_trunk_are_predicted_from():
    states = torch.arange(8.0).reshape(2, 1, 1, 4) / 10
    batch = StateBatch(states=states, num_frames=torch.tensor([1, 1]), **labels([0, 1]))
    found = predict(Network(), [batch])
    assert found[1][0] == pytest.approx(np.array([0.5, 0.4, 0.6]))
