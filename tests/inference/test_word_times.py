from itertools import pairwise

import numpy as np
import pytest

from pixel_mm.inference.word_times import deal_frames, time_words

RATE, FRAME = 16_000, 320


def looks(starts: list[int], num_frames: int, head: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Two layers of two heads: one head follows the speech, the others look anywhere."""
    made = np.random.default_rng(0).random((2, 2, len(starts), num_frames)).astype(np.float32)
    made /= made.sum(axis=-1, keepdims=True)
    made[head] = 0.0
    for row, (start, end) in enumerate(zip(starts, [*starts[1:], num_frames], strict=True)):
        made[(*head, row)][start:end] = 1 / (end - start)
    return made


def speech(seconds: float, pauses: list[tuple[float, float]] = [], level: float = 0.1) -> np.ndarray:  # noqa: B006
    """Noise as loud as a voice, with pauses of a quiet room."""
    rng = np.random.default_rng(1)
    clip = level * rng.standard_normal(round(seconds * RATE))
    for start, end in pauses:
        clip[round(start * RATE) : round(end * RATE)] *= 0.003
    return clip.astype(np.float32)


def test_frames_are_dealt_where_they_fit_and_none_goes_without() -> None:
    fit = np.zeros((3, 6))
    for row, column in [(0, 0), (0, 1), (1, 2), (1, 3), (1, 4), (2, 5)]:
        fit[row, column] = 1.0
    nothing = np.zeros_like(fit)
    assert deal_frames(fit, nothing).tolist() == [0, 2, 5]
    assert deal_frames(np.array([[5.0, 5.0, 5.0], [0.0, 0.0, 0.0]]), np.zeros((2, 3))).tolist() == [0, 2]
    assert deal_frames(np.zeros((1, 1)), np.zeros((1, 1))).tolist() == [0]
    nothing[2, 3] = 4.0
    assert deal_frames(fit, nothing).tolist() == [0, 2, 3]


def test_words_are_where_their_tokens_look() -> None:
    starts = [0, 20, 35, 50, 80]  # of four tokens and of the end
    found = time_words(looks(starts, 150), [(1, 1)], [[0], [1, 2], [3]], speech(2.0))
    wanted = [(0.0, 0.4), (0.4, 1.0), (1.0, 1.6)]
    np.testing.assert_allclose(found, wanted, atol=0.061)  # 60 ms is what an edge may be moved
    assert found == sorted(found)


def test_pauses_are_nobodys_and_words_begin_and_end_at_them() -> None:
    clip = speech(3.0, [(0.0, 0.3), (1.0, 1.5), (2.6, 3.0)])
    starts = [0, 60, 130]  # the first word is looked for in the pauses around it, too
    (first, second) = time_words(looks(starts, 150), [(1, 1)], [[0], [1]], clip)
    np.testing.assert_allclose([first, second], [(0.3, 1.0), (1.5, 2.6)], atol=0.016)


def test_an_edge_is_drawn_to_the_pause_beside_it() -> None:
    clip = speech(2.0, [(0.9, 1.1)])
    for misled in (40, 45, 60):  # frames of 20 ms
        first, second = time_words(0.9 / 100 + 0.1 * looks([0, misled, 95], 100), [(1, 1)], [[0], [1]], clip)
        np.testing.assert_allclose([first[1], second[0]], [0.9, 1.1], atol=0.016)


def test_a_pause_lies_between_two_words_and_no_third() -> None:
    clip = speech(2.0, [(0.98, 1.02)])  # too short for the word "a" that the decoder looked for in it
    found = time_words(looks([0, 49, 51, 95], 100), [(1, 1)], [[0], [1], [2]], clip)
    assert all(end >= start for start, end in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    assert found[1][1] - found[1][0] < 0.15


def test_level_and_hum_do_not_matter() -> None:
    pauses, starts = [(0.9, 1.1)], [0, 50, 95]
    rng = np.random.default_rng(3)
    hum = (0.004 * rng.standard_normal(2 * RATE)).astype(np.float32)
    for clip in (speech(2.0, pauses, 0.001), speech(2.0, pauses, 0.5), speech(2.0, pauses) + hum):
        (_, end), (start, _) = time_words(looks(starts, 100), [(1, 1)], [[0], [1]], clip)
        assert (end, start) == (pytest.approx(0.9, abs=0.016), pytest.approx(1.1, abs=0.016))


def test_without_known_heads_the_upper_half_of_the_layers_is_asked() -> None:
    both = looks([0, 50, 95], 100, (1, 0))
    both[1, 1] = both[1, 0]
    clip = speech(2.0)
    assert time_words(both, [], [[0], [1]], clip) == time_words(both, [(1, 0), (1, 1)], [[0], [1]], clip)


def test_more_words_than_frames_and_none_at_all() -> None:
    clip = speech(0.08)
    found = time_words(looks([0, 1, 2, 3], 4), [], [[0], [1], [2]] * 3, clip)
    np.testing.assert_allclose(np.diff(np.array(found).ravel()[::2]), 0.08 / 9)
    assert time_words(looks([0], 4), [], [], clip) == []
    silent = np.zeros(RATE, np.float32)
    assert all(0 <= start <= end <= 1 for start, end in time_words(looks([0, 10, 20], 50), [], [[0], [1]], silent))


def test_frames_behind_the_clip_do_not_count() -> None:
    found = time_words(looks([0, 40, 90], 1500), [(1, 1)], [[0], [1]], speech(1.0))
    assert found[-1][1] <= 1.0
