from itertools import chain, repeat

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pixel_mm.inference.live_speech import LiveSpeech
from pixel_mm.inference.voice_activity import FRAME_SAMPLES, speech_stretches


def follower(*parts: tuple[float, int]) -> LiveSpeech:
    """That hears (probability, number of frames), then silence."""
    probabilities = chain(*(repeat(probability, number) for probability, number in parts), repeat(0.0))
    return LiveSpeech(lambda frames: np.array([next(probabilities)], np.float32))


def go(speech: LiveSpeech, num_frames: int) -> LiveSpeech:
    for _ in range(num_frames):
        speech(np.zeros(FRAME_SAMPLES, np.float32))
    return speech


def test_speech_begins_and_ends_where_it_was_heard() -> None:
    speech = follower((0.0, 10), (0.9, 20), (0.4, 5), (0.0, 100))
    assert go(speech, 12).start is None  # it may be a click
    go(speech, 8)
    assert (speech.start, speech.end, speech.pause) == (10 * FRAME_SAMPLES, 20 * FRAME_SAMPLES, 0)
    go(speech, 20)
    assert (speech.end, speech.pause) == (35 * FRAME_SAMPLES, 5 * FRAME_SAMPLES)


def test_a_click_is_no_speech_and_does_not_make_a_pause_shorter() -> None:
    assert go(follower((0.0, 10), (0.9, 2), (0.0, 20), (0.9, 3)), 60).start is None
    speech = go(follower((0.9, 20), (0.0, 20), (0.9, 2)), 50)
    assert (speech.start, speech.end) == (0, 20 * FRAME_SAMPLES)


def test_what_was_dealt_with_is_forgotten() -> None:
    speech = go(follower((0.9, 20), (0.0, 30), (0.9, 10)), 50)
    speech.forget()
    assert go(speech, 3).start is None
    assert go(speech, 7).start == 50 * FRAME_SAMPLES


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.4, 0.9]), st.integers(1, 14)), max_size=12))
def test_it_finds_what_is_found_in_recordings(parts: list[tuple[float, int]]) -> None:
    probabilities = np.concatenate([np.zeros(20), *(np.full(number, p) for p, number in parts), np.zeros(20)])
    stretches = speech_stretches(probabilities.astype(np.float32), probabilities.size * FRAME_SAMPLES)
    speech = go(follower((0.0, 20), *parts), probabilities.size)
    assert (speech.start is None) == (not stretches)
    if speech.start is not None:
        margin = 6_400
        assert (speech.start - margin, speech.end + margin) == (stretches[0][0], stretches[-1][1])
