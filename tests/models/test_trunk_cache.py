from pathlib import Path

import numpy as np
import pytest
import torch

from pixel_mm.models.adaptation import Freeze, LastLayers
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.models.frontend import FeatureMask
from pixel_mm.models.state_store import StateStoreError
from pixel_mm.models.trunk_cache import TrunkCache
from tests.models.tiny_networks import LABELS, regressor, speech, wav2vec2, whisper

HASH = "ab" * 32


def frozen(**changes: object) -> EmotionRegressor:
    network = EmotionRegressor(whisper(), LABELS, **changes)  # type: ignore[arg-type]
    LastLayers(1)(network)
    return network


def test_states_come_back_as_they_were_put(tmp_path: Path) -> None:
    network = regressor()
    Freeze(["encoder.*"])(network)
    states, num_frames = network.trunk(*speech(9_000, 5_000))
    cache = TrunkCache(tmp_path, network, dtype="float32")
    assert not cache.has(HASH, "clean")
    cache.put(HASH, "clean", states[1, :, : num_frames[1]].numpy())
    assert cache.has(HASH, "clean")
    assert not cache.has(HASH, 0)
    again = TrunkCache(tmp_path, network, dtype="float32").get(HASH, "clean")
    np.testing.assert_array_equal(again, states[1, :, : num_frames[1]].numpy())
    assert [file.suffix for file in tmp_path.rglob("*") if file.is_file()] == [".npy"]


def test_float16_takes_half_the_room_and_keeps_three_digits(tmp_path: Path) -> None:
    cache = TrunkCache(tmp_path, frozen(), dtype="float16")
    states = np.linspace(-30, 30, 24, dtype=np.float32).reshape(1, 3, 8)
    cache.put(HASH, 3, states)
    assert cache.get(HASH, 3).dtype == np.float16
    np.testing.assert_allclose(cache.get(HASH, 3), states, rtol=1e-3)


def test_the_key_changes_with_all_that_states_depend_on(tmp_path: Path) -> None:
    keys = {TrunkCache(tmp_path, frozen()).key}

    def is_new(key: str) -> bool:
        new = key not in keys
        keys.add(key)
        return new

    assert not is_new(TrunkCache(tmp_path, frozen()).key)
    assert not is_new(TrunkCache(tmp_path, frozen(projection_size=8)).key)  # the head lies above
    assert is_new(TrunkCache(tmp_path, frozen(), augment_fingerprint="other").key)
    assert is_new(TrunkCache(tmp_path, frozen(), dtype="float32").key)
    assert is_new(TrunkCache(tmp_path, frozen(states=[2])).key)
    for name, changes in (("encoder.conv1.weight", True), ("encoder.layers.1.fc1.weight", False)):
        network = frozen()
        with torch.no_grad():
            network.get_parameter(name).view(-1)[0] += 1e-3
        assert is_new(TrunkCache(tmp_path, network).key) == changes, name
    masked = EmotionRegressor(whisper(mask=FeatureMask()), LABELS)
    LastLayers(1)(masked)
    assert is_new(TrunkCache(tmp_path, masked).key)
    off = EmotionRegressor(whisper(mask=FeatureMask(0, 0.2, 0, 0.1)), LABELS)
    LastLayers(1)(off)
    assert not is_new(TrunkCache(tmp_path, off).key)


def test_a_full_cache_and_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    cache = TrunkCache(tmp_path, frozen(), dtype="float32", max_bytes=1_000)
    cache.put(HASH, "clean", np.zeros((1, 10, 16), np.float32))
    with pytest.raises(StateStoreError, match=r"grow past 1e-06 GB.*max_gigabytes"):
        cache.put("cd" * 32, "clean", np.zeros((1, 10, 16), np.float32))
    with pytest.raises(StateStoreError, match="grow past"):  # counted when it is opened again, too
        TrunkCache(tmp_path, frozen(), dtype="float32", max_bytes=1_000).put("cd" * 32, 1, np.zeros((1, 10, 16)))
    with pytest.raises(StateStoreError, match=r"trunk_cache\.dtype=float32"):
        TrunkCache(tmp_path, frozen()).put("ef" * 32, "clean", np.full((1, 1, 16), 1e5, np.float32))


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, array: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    cache = TrunkCache(tmp_path, frozen())
    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        cache.put(HASH, "clean", np.zeros((1, 1, 16)))
    assert not cache.has(HASH, "clean")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_what_is_not_there_and_a_network_without_a_trunk_are_named(tmp_path: Path) -> None:
    with pytest.raises(StateStoreError, match="no states at"):
        TrunkCache(tmp_path, frozen()).get(HASH, "clean")
    with pytest.raises(StateStoreError, match="front end is trained"):
        TrunkCache(tmp_path, regressor())


def test_every_family_has_a_key(tmp_path: Path) -> None:
    from transformers import WavLMConfig

    network = EmotionRegressor(wav2vec2(WavLMConfig, per_frame=True), LABELS)
    LastLayers(1)(network)
    assert len(TrunkCache(tmp_path, network).key) == 32
