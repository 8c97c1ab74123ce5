from functools import partial
from pathlib import Path
from typing import Any

import audiomentations
import numpy as np
import pytest
import pytorch_lightning as pl
import soundfile
import torch

from pixel_mm.audio import AudioError, prepare
from pixel_mm.data.augment import Augment
from pixel_mm.data.batching import FrameBatchSampler, StateBatch, Variant, WaveformBatch
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.data.splits import SplitError, hold_out
from tests.data.listed_corpus import ListedCorpus, utterance, write_clip, write_corpus


def make(corpus: ListedCorpus, **changes: Any) -> SpeechDataModule:
    chosen: dict[str, Any] = {
        "split": partial(hold_out, fractions={"validation": 0.25, "test": 0.25}, seed=0),
        "batching": partial(FrameBatchSampler, max_frames_per_batch=20_000, max_clips_per_batch=4),
    }
    return SpeechDataModule(corpus, **chosen | changes)


def noise(**changes: Any) -> Augment:
    return Augment([audiomentations.AddGaussianSNR(5.0, 20.0, p=1.0)], **changes)


class Memory:
    """A store of states that are the clip's first samples, so that tests can tell them apart."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, Variant], np.ndarray] = {}

    def has(self, audio_hash: str, variant: Variant) -> bool:
        return (audio_hash, variant) in self.kept

    def get(self, audio_hash: str, variant: Variant) -> np.ndarray:
        return self.kept[audio_hash, variant]

    def fill(self, batch: WaveformBatch, variant: Variant) -> None:
        for audio_hash, waveform in zip(batch.audio_hashes, batch.waveform, strict=True):
            self.kept[audio_hash, variant] = waveform[:6].reshape(1, 3, 2).numpy().astype(np.float16)


def test_a_corpus_becomes_labelled_batches(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    data = make(corpus, label_source="mapped")
    assert (data.emotion_labels, data.label_source) == (("anger", "calm", "fear"), "mapped")
    assert [len(part) for part in data.parts] == [12, 6, 6]
    batches = list(data.train_dataloader())
    assert sorted(row for batch in batches for row in batch.index.tolist()) == data.parts.train
    for batch in batches:
        for place, row in enumerate(batch.index.tolist()):
            source = data.utterances[row]
            assert batch.keys[place] == source.key
            assert data.emotion_labels[batch.emotion[place]] == source.emotion
            assert batch.ratings[place].tolist() == [0.25, 0.75, 0.5]
            expected = prepare(*soundfile.read(source.path)).waveform
            np.testing.assert_array_equal(batch.waveform[place, : batch.num_samples[place]], expected)
    assert corpus.times_read == 1
    assert data.table.num_rows == 24


def test_level_and_duration_before_normalising_are_kept_by_row(tmp_path: Path) -> None:
    data = make(write_corpus(tmp_path))
    for row, source in enumerate(data.utterances):
        samples, _ = soundfile.read(source.path)
        assert data.durations_seconds[row] == pytest.approx(len(samples) / 16_000)
        assert data.levels_dbfs[row] == pytest.approx(20 * np.log10(samples.std()), abs=1e-3)
    assert np.ptp(data.levels_dbfs) > 10


def test_clips_without_labels_say_so(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", 0.2)
    data = make(
        ListedCorpus(
            [
                utterance(path, emotion="fear", ratings=None, label_source=None),
                utterance(path, emotion=None, ratings={"arousal": 0.5}),
            ]
        )
    )
    batch = next(iter(data.loader([0, 1])))
    assert batch.emotion.tolist() == [0, -100]
    assert batch.ratings.isnan().tolist() == [[True, True, True], [True, False, True]]


def test_classes_can_be_given_so_that_a_finished_model_is_tested(tmp_path: Path) -> None:
    data = make(write_corpus(tmp_path), emotion_labels=["fear", "sadness", "anger"])
    batch = next(iter(data.loader([0, 1, 2])))
    named = dict(zip(batch.index.tolist(), batch.emotion.tolist(), strict=True))
    assert named == {0: 2, 1: -100, 2: 0}  # anger, calm, fear


def test_bad_clips_are_counted_listed_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_corpus(tmp_path)
    (tmp_path / "clip_003.wav").write_bytes(b"RIFF, not quite")
    soundfile.write(tmp_path / "clip_010.wav", np.zeros(8_000), 16_000)
    (tmp_path / "clip_011.wav").unlink()
    data = make(corpus, max_bad_share=0.2)
    assert len(data.utterances) == len(data.levels_dbfs) == 21
    assert [Path(path).name for path in data.bad_clips] == ["clip_003.wav", "clip_010.wav", "clip_011.wav"]
    assert "silent" in data.bad_clips[str(tmp_path / "clip_010.wav")]
    listed = capsys.readouterr().err
    assert "3 of 24 clips were left out" in listed
    assert "clip_011.wav: there is no such file" in listed
    assert sorted(row for batch in data.clips() for row in batch.index.tolist()) == list(range(21))


def test_too_many_bad_clips_stop_the_run_and_are_named(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    for number in (3, 10):
        (tmp_path / f"clip_{number:03d}.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 of 24 clips.*max_bad_share=0.05.*clip_003.wav.*clip_010.wav"):
        make(corpus).setup()
    with pytest.raises(ValueError, match="corpus is empty"):
        make(ListedCorpus([])).setup()


@pytest.mark.parametrize(("wanted", "found"), [(None, ("mapped", "rated")), ("rated", ("mapped",))])
def test_rated_and_mapped_labels_are_never_mixed(tmp_path: Path, wanted: Any, found: tuple[str, ...]) -> None:
    path = write_clip(tmp_path / "a.wav", 0.2)
    corpus = ListedCorpus([utterance(path, label_source=source) for source in found])
    with pytest.raises(ValueError, match="never mixed"):
        make(corpus, label_source=wanted).setup()


def test_a_split_that_shares_a_speaker_is_refused_and_a_good_one_reads_nothing_again(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    data = make(corpus)
    with pytest.raises(SplitError, match="s0"):
        data.use_split([0, 1], [2], [6])
    with pytest.raises(SplitError, match="s1"):
        make(corpus, split=lambda utterances: ([0, 6], [7], [12])).train_dataloader()
    corpus.times_read = 0
    data.use_split([0, 1], [], [6, 7])
    assert data.val_dataloader() == []
    assert sorted(row for batch in data.test_dataloader() for row in batch.index.tolist()) == [6, 7]
    assert corpus.times_read == 0


def test_a_clip_over_30_s_is_windowed_and_keeps_its_label(tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.wav", 70.0)
    data = make(ListedCorpus([utterance(write_clip(tmp_path / "a.wav", 1.0)), utterance(long, emotion="fear")]))
    given = [
        (key, row, number, samples)
        for batch in data.loader([0, 1])
        for key, row, number, samples in zip(
            batch.keys, batch.index.tolist(), batch.emotion.tolist(), batch.num_samples.tolist(), strict=True
        )
    ]
    assert sorted(samples for _, row, _, samples in given if row == 1) == [480_000] * 3
    assert {number for _, row, number, _ in given if row == 1} == {1}
    assert sorted(key.split("@")[1] for key, row, _, _ in given if row == 1) == ["0.000s", "25.000s", "40.000s"]
    assert data.durations_seconds.tolist() == [1.0, 70.0]


def test_every_loader_gives_the_same_whatever_is_kept_and_whoever_loads(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)

    def run(**changes: Any) -> list[bytes]:
        loader = make(corpus, augment=noise(variants=2), **changes).train_dataloader()
        given = []
        for epoch in range(3):
            loader.batch_sampler.set_epoch(epoch)
            given += [batch.waveform.numpy().tobytes() for batch in loader]
        return given

    kept = run()
    assert run(cache_gigabytes=0.0) == kept
    assert run(cache_gigabytes=20_000 * 4 / 1e9) == kept  # some of the clips
    assert run(num_workers=2) == kept
    assert run(seed=1) != kept


def test_what_is_kept_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = write_corpus(tmp_path)
    made: list[str] = []
    augment = noise(variants=2)
    monkeypatch.setattr(Augment, "__call__", lambda self, wave, key, epoch: made.append(key) or wave * (1 + epoch))
    data = make(corpus, augment=augment)
    data.setup()
    for path in tmp_path.iterdir():
        path.unlink()  # nothing is decoded again
    loader = data.train_dataloader()
    for epoch in range(4):
        loader.batch_sampler.set_epoch(epoch)
        list(loader)
    assert len(made) == 2 * len(data.parts.train)
    uncached = make(write_corpus(tmp_path), cache_gigabytes=0.0)
    loader = uncached.train_dataloader()
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(AudioError, match="no such file"):
        list(loader)


def test_states_replace_audio_in_every_loader(tmp_path: Path) -> None:
    data = make(write_corpus(tmp_path), augment=noise(variants=3))
    store = Memory()
    variants = data.augment.kept_variants() or ()
    for variant in ("clean", *variants):
        for batch in data.clips(variant):
            store.fill(batch, variant)
    assert len(store.kept) == 24 * 4
    with_audio = {
        row: wave[:6]
        for batch in data.test_dataloader()
        for row, wave in zip(batch.index.tolist(), batch.waveform, strict=True)
    }
    data.use_states(store)
    for batch in data.test_dataloader():
        assert isinstance(batch, StateBatch)
        for row, states in zip(batch.index.tolist(), batch.states, strict=True):
            torch.testing.assert_close(states.flatten(), with_audio[row].half().float())
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(4)
    for batch in loader:
        for audio_hash, states in zip(batch.audio_hashes, batch.states, strict=True):
            np.testing.assert_array_equal(states, store.kept[audio_hash, 1].astype(np.float32))
    data.use_states(None)
    assert isinstance(next(iter(data.train_dataloader())), WaveformBatch)


def test_an_interrupted_filling_of_a_store_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    data, store = make(write_corpus(tmp_path)), Memory()
    store.fill(next(data.clips()), "clean")
    done = len(store.kept)
    rest = [key for batch in data.clips(missing_from=store) for key in batch.keys]
    assert len(rest) == len(set(rest)) == 24 - done
    for batch in data.clips(missing_from=store):
        store.fill(batch, "clean")
    assert list(data.clips(missing_from=store)) == []


class Recorder(pl.LightningModule):
    """Learns nothing and remembers which clips it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, tuple[str, ...], float]] = []

    def training_step(self, batch: WaveformBatch, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.keys, float(batch.waveform.abs().sum())))
        return (self.weight * batch.waveform.sum()).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(folder: Path) -> pl.Trainer:
    """Keeps a checkpoint of every step."""
    keep = pl.callbacks.ModelCheckpoint(dirpath=folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    return pl.Trainer(
        max_epochs=3,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        callbacks=[keep],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("steps", [2, 3, 4, 6])
def test_a_resumed_training_sees_what_an_uninterrupted_one_would(tmp_path: Path, steps: int, num_workers: int) -> None:
    corpus = write_corpus(tmp_path / "corpus")  # 12 training clips, 3 batches an epoch

    def data() -> SpeechDataModule:
        return make(corpus, augment=noise(), num_workers=num_workers)

    whole = Recorder()
    trainer(tmp_path / "kept").fit(whole, data())
    assert len(whole.seen) == 9
    assert len({keys for _, keys, _ in whole.seen}) > 3
    resumed = Recorder()
    checkpoint = tmp_path / "kept" / f"step={steps}.ckpt"
    trainer(tmp_path / "again").fit(resumed, data(), ckpt_path=checkpoint, weights_only=False)
    assert resumed.seen == whole.seen[steps:]


def test_a_loader_that_went_on_can_be_stopped_again(tmp_path: Path) -> None:
    loader = make(write_corpus(tmp_path)).train_dataloader()
    whole = [batch.keys for batch in loader]
    loader.load_state_dict({"epoch": 0, "batches": 1})
    rest = iter(loader)
    assert next(rest).keys == whole[1]
    assert loader.state_dict() == {"epoch": 0, "batches": 2}


def test_padding_of_a_batch_is_there_to_be_logged(tmp_path: Path) -> None:
    data = make(write_corpus(tmp_path))
    loader = data.train_dataloader()
    batches = list(loader)
    padded = sum(batch.waveform.numel() for batch in batches)
    share = sum(batch.padding_share * batch.waveform.numel() for batch in batches) / padded
    assert share == pytest.approx(loader.batch_sampler.padding_share, abs=0.01)
