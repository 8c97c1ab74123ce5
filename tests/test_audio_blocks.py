"""Files of any length, block by block."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pixel_mm.audio import AudioError, SilentAudioError, read_audio, read_blocks


def voice(seconds: float, rate: int) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.1 * np.sin(2 * np.pi * 200 * time) * np.sin(2 * np.pi * 3 * time)).astype(np.float32)


def test_one_block_is_what_reading_at_once_gives(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([voice(3, 44_100)] * 2, axis=1), 44_100)
    found = np.concatenate(list(read_blocks(path)))
    whole = read_audio(path).waveform
    assert abs(found.size - whole.size) <= 1
    np.testing.assert_allclose(found[: whole.size - 800], whole[: found.size][:-800], atol=5e-3)


def test_seams_between_blocks_are_not_heard(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, voice(9, 8_000), 8_000)
    blocks = list(read_blocks(path, block_seconds=2))
    assert len(blocks) > 4
    found, whole = np.concatenate(blocks), read_audio(path).waveform
    assert abs(found.size - whole.size) <= 1
    assert np.abs(found[:-800] - whole[: found.size][:-800]).max() < 0.02


def test_silent_blocks_are_zeros_and_a_silent_file_has_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(16_000), 16_000)
    assert not np.concatenate(list(read_blocks(path))).any()
    with pytest.raises(SilentAudioError, match=r"silent\.wav: silent"):
        read_audio(path)


def test_a_long_file_is_read_in_the_memory_of_a_block(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.tile(voice(1, 8_000), 300), 8_000)
    tracemalloc.start()
    try:
        assert sum(block.size for block in read_blocks(path, block_seconds=5)) == pytest.approx(300 * 16_000, abs=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300 * 16_000 * 4 / 4  # bytes: a quarter of the waveform


@pytest.mark.parametrize(
    ("content", "message"), [(b"RIFF rubbish", "unreadable"), (None, "no such file"), (b"", "unreadable")]
)
def test_what_is_no_audio_is_refused_by_name(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"bad\.wav: .*{message}"):
        list(read_blocks(path))


def test_not_a_number_a_file_cut_short_and_a_strange_rate_are_refused(tmp_path: Path) -> None:
    broken, cut, slow = tmp_path / "nan.wav", tmp_path / "cut.wav", tmp_path / "slow.wav"
    soundfile.write(broken, np.array([0.1, np.nan] * 8_000, np.float32), 16_000, subtype="FLOAT")
    soundfile.write(cut, voice(3, 16_000), 16_000)
    cut.write_bytes(cut.read_bytes()[:40_000])
    soundfile.write(slow, voice(3, 4_000), 4_000)
    for path, message in ((broken, "NaN"), (cut, "truncated"), (slow, "sample rate 4000")):
        with pytest.raises(AudioError, match=message):
            list(read_blocks(path))
