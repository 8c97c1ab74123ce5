import pytest

from pixel_mm.inference.transcript import Segment, Transcript, Word, to_srt, to_vtt

FIRST = Segment("hello <you> & me", 0.5, 2.0004, 0.5, 0.0, (Word("hello", 0.5, 0.9, 0.7),))
SECOND = Segment("good bye", 3661.25, 3664.25, 0.8, 0.1)


def test_a_transcript_is_its_segments() -> None:
    transcript = Transcript((FIRST, SECOND), "en", 4000.0)
    assert transcript.text == "hello <you> & me good bye"
    assert [word.text for word in transcript.words] == ["hello"]
    assert transcript.confidence == pytest.approx((0.5 * 1.5004 + 0.8 * 3) / 4.5004)
    nothing = Transcript((), None, 1.0)
    assert (nothing.text, nothing.confidence) == ("", None)


def test_a_segment_moves_with_its_words() -> None:
    moved = FIRST.moved(10)
    assert (moved.start_seconds, moved.words[0].end_seconds) == (10.5, 10.9)


def test_subtitles() -> None:
    assert to_srt([FIRST, SECOND]) == (
        "1\n00:00:00,500 --> 00:00:02,000\nhello <you> & me\n\n2\n01:01:01,250 --> 01:01:04,250\ngood bye\n"
    )
    assert to_vtt([FIRST]) == "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\nhello &lt;you&gt; &amp; me\n"
    assert (to_srt([]), to_vtt([])) == ("", "WEBVTT\n")
