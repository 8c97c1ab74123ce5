import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixel_mm.data.batching import FRAME_SAMPLES, FrameBatchSampler, StateBatch, WaveformBatch
from pixel_mm.data.dataset import LabelledClip, collate

LENGTHS = st.lists(st.integers(400, 480_000), min_size=1, max_size=300)


def make(lengths: list[int], **changes: int | bool) -> FrameBatchSampler:
    settings_ = {"max_frames_per_batch": 12_000, "max_clips_per_batch": 16} | changes
    return FrameBatchSampler(lengths, **settings_)


def emodb_like(count: int = 500) -> list[int]:
    return (16_000 * np.random.default_rng(0).lognormal(1.0, 0.4, count).clip(0.5, 20)).astype(int).tolist()


@settings(deadline=None)
@given(
    lengths=LENGTHS,
    epoch=st.integers(0, 5),
    buckets=st.integers(1, 40),
    clips=st.integers(1, 40),
    frames=st.integers(3_000, 30_000),
    shuffle=st.booleans(),
)
def test_every_clip_is_in_one_batch_that_keeps_the_limits(
    lengths: list[int], epoch: int, buckets: int, clips: int, frames: int, shuffle: bool
) -> None:
    sampler = make(lengths, buckets=buckets, max_clips_per_batch=clips, max_frames_per_batch=frames, shuffle=shuffle)
    batches = sampler.global_batches(epoch)
    assert sorted(clip for batch in batches for clip in batch) == list(range(len(lengths)))
    assert len(batches) == len(sampler) == len(sampler.global_batches(epoch + 1))
    for batch in batches:
        longest = max(-(-lengths[clip] // FRAME_SAMPLES) for clip in batch)
        assert 1 <= len(batch) <= clips
        assert len(batch) * longest <= frames


@settings(deadline=None)
@given(lengths=LENGTHS, epoch=st.integers(0, 3), world_size=st.integers(2, 4))
def test_ranks_share_the_batches_of_one_device(lengths: list[int], epoch: int, world_size: int) -> None:
    if len(lengths) < world_size:
        with pytest.raises(ValueError, match="cannot be dealt"):
            make(lengths, max_frames_per_batch=24_000, world_size=world_size)
        return
    whole = make(lengths, max_frames_per_batch=24_000).global_batches(epoch)
    shares = []
    for rank in range(world_size):
        sampler = make(lengths, max_frames_per_batch=24_000, rank=rank, world_size=world_size)
        sampler.set_epoch(epoch)
        shares.append([[request.clip for request in batch] for batch in sampler])
        assert len(shares[-1]) == len(sampler) == len(whole)
    for number, batch in enumerate(whole):
        dealt = [share[number] for share in shares]
        assert all(dealt)
        assert sorted(clip for part in dealt for clip in part) == sorted(batch)


def test_limits_that_leave_a_rank_without_a_clip_are_refused_with_a_number_that_works() -> None:
    lengths = [480_000] * 8
    with pytest.raises(ValueError, match="set it to 12000 or more"):
        make(lengths, max_frames_per_batch=11_999, world_size=2)
    make(lengths, max_frames_per_batch=12_000, world_size=2)
    with pytest.raises(ValueError, match="max_clips_per_batch is 3"):
        make(lengths, max_clips_per_batch=3, world_size=2)
    with pytest.raises(ValueError, match="set it to 3000 or more"):
        make(lengths, max_frames_per_batch=2_999)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = emodb_like()
    assert make(lengths, seed=3).global_batches(7) == make(lengths, seed=3).global_batches(7)
    assert make(lengths, seed=3).global_batches(7) != make(lengths, seed=3).global_batches(8)
    assert make(lengths, seed=3).global_batches(7) != make(lengths, seed=4).global_batches(7)
    assert make(lengths, shuffle=False).global_batches(1) == make(lengths, shuffle=False).global_batches(2)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    make(lengths).global_batches(0)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_buckets_save_padding_and_mix_from_epoch_to_epoch() -> None:
    lengths = emodb_like()
    assert make(lengths).padding_share < 0.12 < 0.3 < make(lengths, buckets=1).padding_share
    companions: set[int] = set()
    for epoch in range(20):
        companions |= set(next(batch for batch in make(lengths).global_batches(epoch) if 0 in batch))
    assert len(companions) > 25


def test_padding_share_is_what_the_batches_hold() -> None:
    sampler = make([1600, 3200, 3200, 1600], max_clips_per_batch=2, shuffle=False)
    assert sampler.padding_share == 0.0
    assert make([1600, 3200], shuffle=False).padding_share == pytest.approx(0.25)


def test_no_batch_is_a_lonely_remainder() -> None:
    for count in range(17, 80):
        sizes = [len(batch) for batch in make([16_000] * count).global_batches(0)]
        assert min(sizes) >= 8


def test_a_resumed_epoch_goes_on_and_the_next_one_is_whole() -> None:
    lengths = emodb_like(100)
    whole, resumed = make(lengths), make(lengths)
    whole.set_epoch(2)
    resumed.set_epoch(2)
    resumed.resume_from(epoch=2, batches=3)
    assert list(resumed) == list(whole)[3:]
    assert len(resumed) == len(whole)
    resumed.set_epoch(3)
    assert len(list(resumed)) == len(whole)


def test_no_clips_give_no_batches() -> None:
    assert list(make([])) == []


def clip(content: np.ndarray, row: int) -> LabelledClip:
    return LabelledClip(content.astype(np.float32), [0.1, float("nan"), 0.3], 2, row, f"k{row}", f"h{row}")


def test_waveforms_are_stacked_with_zeros_after_their_end() -> None:
    batch = collate([clip(np.ones(3), 5), clip(np.full(5, 2.0), 6)])
    assert isinstance(batch, WaveformBatch)
    assert batch.waveform.tolist() == [[1, 1, 1, 0, 0], [2, 2, 2, 2, 2]]
    assert (batch.num_samples.tolist(), batch.index.tolist(), batch.emotion.tolist()) == ([3, 5], [5, 6], [2, 2])
    assert (batch.keys, batch.audio_hashes, len(batch)) == (("k5", "k6"), ("h5", "h6"), 2)
    assert batch.ratings.isnan().tolist() == [[False, True, False]] * 2
    assert batch.padding_share == pytest.approx(0.2)
    dtypes = (batch.waveform.dtype, batch.num_samples.dtype, batch.ratings.dtype, batch.emotion.dtype)
    assert dtypes == (torch.float32, torch.int64, torch.float32, torch.int64)


def test_states_are_stacked_in_float32_with_zeros_after_their_end() -> None:
    states = [np.ones((2, 3, 4), np.float16), np.ones((2, 5, 4), np.float16)]
    batch = collate([clip(states[0], 0)._replace(content=states[0]), clip(states[1], 1)._replace(content=states[1])])
    assert isinstance(batch, StateBatch)
    assert batch.states.dtype == torch.float32
    assert batch.states.shape == (2, 2, 5, 4)
    assert batch.num_frames.tolist() == [3, 5]
    assert batch.states[0, :, 3:].abs().sum() == 0
    assert batch.states.sum() == 2 * 4 * 8
    assert batch.padding_share == pytest.approx(0.2)


def test_a_batch_moves_with_all_its_tensors() -> None:
    moved = collate([clip(np.ones(3), 0)]).to("meta")
    tensors = (moved.waveform, moved.num_samples, moved.ratings, moved.emotion, moved.index)
    assert all(tensor.is_meta for tensor in tensors)
    assert moved.keys == ("k0",)
