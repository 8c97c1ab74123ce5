"""Fusion rows as batches: what is given of a row, what is masked, and what is refused."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pixel_mm.audio import read_audio
from pixel_mm.data.batching import FrameBatchSampler
from pixel_mm.data.corpora.manifest import Manifest
from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.data.fusion.batch import FusionBatch
from pixel_mm.data.fusion.datamodule import FusionDataModule
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.splits import SplitError
from pixel_mm.data.utterance import Utterance
from pixel_mm.models.fusion.byte_tokenizer import byte_tokenizer
from tests.data.fusion.voices import Given

TOKENIZER = byte_tokenizer()
BATCHING = partial(FrameBatchSampler, max_frames_per_batch=12_000, max_clips_per_batch=4)
SPLITS = {"t1": "train", "t2": "train", "t3": "validation", "t4": "test"}


@pytest.fixture(scope="module")
def clips(tone_corpus: Path) -> list[Utterance]:
    return Manifest(tone_corpus / "manifest.csv").read()


def spoken(clip: Utterance, **changes) -> FusionRow:
    row = FusionRow(
        key=f"spoken:{clip.key}",
        speaker=clip.speaker,
        clip=clip,
        text=f"I am {clip.key}",
        scores=dict(clip.ratings or {}),
        label_source=clip.label_source,
        split=SPLITS[clip.speaker],
    )
    return replace(row, **changes)


def written(number: int, **changes) -> FusionRow:
    row = FusionRow(f"written:{number}", f"w{number}", text=f"Letter {number}", response="I see.", split="train")
    return replace(row, **changes)


def module(*rows: FusionRow, **options) -> FusionDataModule:
    made = FusionDataModule({"given": Given(rows), "nothing": None}, batching=BATCHING, **options)
    made.use_tokenizer(TOKENIZER)
    return made


def one_batch(made: FusionDataModule, **options) -> FusionBatch:
    (batch,) = made.loader(range(len(made.rows)), **options)
    return batch


def test_a_batch_holds_what_there_is_and_invents_nothing(clips: list[Utterance]) -> None:
    heard = spoken(clips[0], response="Really?", text=None)
    batch = one_batch(module(written(1), heard, written(2, text="Other", response=None)))
    by_key = {key: number for number, key in enumerate(batch.keys)}
    voice, letter, plain = by_key[heard.key], by_key["written:1"], by_key["written:2"]
    assert batch.audio_rows.tolist() == [voice]
    assert torch.equal(batch.waveform[0], torch.tensor(read_audio(clips[0].path).waveform))
    assert batch.num_samples.tolist() == [batch.waveform.shape[1]]
    assert batch.has_text.tolist() == [number != voice for number in range(3)]
    assert torch.isfinite(batch.targets).sum() == 3
    assert batch.targets[voice, FUSION_SCORES.index("arousal")] == pytest.approx(heard.scores["arousal"])
    assert not batch.answer_mask[plain].any()
    for number, answer in ((voice, "Really?<|im_end|>"), (letter, "I see.<|im_end|>")):
        assert TOKENIZER.decode(batch.input_ids[number][batch.answer_mask[number]]) == answer
        labels = batch.labels[number]
        assert TOKENIZER.decode(labels[labels >= 0]) == answer
    words = TOKENIZER.decode(batch.input_ids[letter][batch.prompt_mask[letter]])
    assert words == "Letter 1<|im_end|>\n<|im_start|>assistant\n"
    assert batch.prompt_mask[voice].any()
    assert (batch.input_ids[batch.attention_mask == 0] == TOKENIZER.pad_token_id).all()
    assert not (batch.answer_mask | batch.prompt_mask)[batch.attention_mask == 0].any()


def test_an_answer_to_be_judged_is_not_learnt() -> None:
    batch = one_batch(module(written(1), written(2, imitated=False)))
    judged = batch.keys.index("written:2")
    assert (batch.labels[judged] == -100).all()
    assert batch.answer_mask[judged].any()
    assert (batch.labels[1 - judged] >= 0).any()


def test_a_batch_without_voices_has_none(clips: list[Utterance]) -> None:
    batch = one_batch(module(written(1), written(2)))
    assert batch.waveform.shape == (0, 0)
    assert batch.audio_rows.tolist() == []
    assert len(batch.to("cpu")) == 2


def test_views_make_the_baselines(clips: list[Utterance]) -> None:
    rows = (spoken(clips[0]), written(1), *(spoken(clip) for clip in clips[1:4]))
    text = one_batch(module(*rows[:2], hears=False))
    assert text.audio_rows.tolist() == []
    assert text.has_text.all()
    audio = one_batch(module(*rows[:2], reads=False))
    assert audio.keys == (rows[0].key,)
    assert audio.has_text.tolist() == [False]
    assert "I am" not in TOKENIZER.decode(audio.input_ids[0])
    described = one_batch(module(*rows[:2], hears=False, describes=True))
    told = {key: TOKENIZER.decode(ids) for key, ids in zip(described.keys, described.input_ids, strict=True)}
    assert "[The voice is as usual.] I am" in told[rows[0].key]
    assert "[The voice" not in told["written:1"]
    with pytest.raises(ValueError, match="a model would be given nothing"):
        module(*rows, reads=False, hears=False)


def test_what_is_usual_is_learnt_from_the_training_part_alone(clips: list[Utterance]) -> None:
    rows = [spoken(clip) for clip in clips]
    trained = [row for row in rows if row.split == "train"]
    usual, same = (module(*each, describes=True).view.prosody for each in (rows, trained))
    assert np.array_equal(usual.medians, same.medians)


def test_batches_are_shuffled_by_seed_and_epoch(clips: list[Utterance]) -> None:
    rows = [spoken(clip) for clip in clips]

    def order(seed: int, epoch: int) -> list[tuple[str, ...]]:
        loader = module(*rows, seed=seed).train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        return [batch.keys for batch in loader]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) != order(2, 1)
    assert sorted(key for batch in order(1, 0) for key in batch) == sorted(
        row.key for row in rows if row.split == "train"
    )


def test_a_long_answer_counts_as_much_as_a_long_voice(clips: list[Utterance]) -> None:
    rows = [written(n, response="very " * (200 if n == 0 else 1)) for n in range(8)]
    batches = [batch.keys for batch in module(*rows).loader(range(8))]
    assert ("written:0",) in batches


def test_a_row_may_be_given_anothers_voice(clips: list[Utterance]) -> None:
    made = module(spoken(clips[0]), spoken(clips[1]), written(1))
    own, other = one_batch(made), one_batch(made, voice_of={0: 1, 1: 0})
    assert own.audio_hashes == other.audio_hashes[::-1]
    assert torch.equal(own.input_ids, other.input_ids)


def test_the_scores_are_those_that_training_can_learn(clips: list[Utterance]) -> None:
    crisis = written(3, scores={"crisis": 1.0}, label_source="constructed", split="test")
    assert module(spoken(clips[0]), crisis).scores == ("valence", "arousal", "dominance")


def test_a_voice_that_cannot_be_used_takes_its_row_along(clips: list[Utterance], tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    soundfile.write(long, 0.1 * np.sin(np.arange(31 * 16_000) / 10), 16_000)
    bad = Utterance(long, "t1")
    rows = [*(spoken(clip) for clip in clips), spoken(bad, key="long")]
    made = module(*rows)
    assert [row.key for row in made.rows] == [row.key for row in rows[:-1]]
    assert "31.0 s long" in made.bad_clips[str(long)]
    with pytest.raises(ValueError, match="1 of 2 clips cannot be used"):
        module(rows[0], rows[-1]).setup()


def test_what_would_spoil_a_figure_is_refused(clips: list[Utterance]) -> None:
    row = spoken(clips[0])
    with pytest.raises(SplitError, match="speakers are in several parts"):
        module(row, spoken(clips[1], split="test")).setup()
    with pytest.raises(ValueError, match="valence is constructed and rated"):
        module(row, written(1, scores={"valence": 0.5}, label_source="constructed")).setup()


def test_a_module_without_a_tokenizer_says_so() -> None:
    with pytest.raises(ValueError, match="use_tokenizer"):
        FusionDataModule({"given": Given([written(1)])}, batching=BATCHING).loader([0])
