"""Whether a transcript was said or invented: what all models' transcripts are asked, and what a Whisper's are."""

import zlib

from pixel_mm.models.speech_recognition.decoding import Hypothesis

# A Whisper invents where it hears nobody and doubts what it wrote, or doubts all of it. The published limits of the
# first (0.6, -1) let pass what it writes of babble; these lie between babble and short clips of speech, neither from a
# test set (docs/decisions.md).
_NO_SPEECH = 0.3
_DOUBTFUL_LOG_PROBABILITY, _INVENTED_LOG_PROBABILITY = -0.7, -1.5
_REPEATING = 2.4  # how much shorter compressing makes what says one thing on and on; as published for Whisper


def is_believable(text: str) -> bool:
    """Whether somebody may have said this: it is something, and not one thing on and on."""
    written = text.encode()
    return bool(written) and len(written) / len(zlib.compress(written)) <= _REPEATING


def is_doubtful(hypothesis: Hypothesis) -> bool:
    """Whether a Whisper hears nobody and doubts what it wrote, or would bet on none of it whoever it hears."""
    sure = hypothesis.mean_log_probability
    hears_nobody = hypothesis.no_speech_probability > _NO_SPEECH
    return sure < (_DOUBTFUL_LOG_PROBABILITY if hears_nobody else _INVENTED_LOG_PROBABILITY)
