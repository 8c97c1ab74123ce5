from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from pixel_mm.models.speech_recognition.decoding import DecodingOptions, Hypothesis, decode
from pixel_mm.models.speech_recognition.token_rules import TokenRules, log_softmax
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.whisper_tokens import TokenizerError
from tests.models.tiny_networks import speech
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer


def clips(*lengths: int) -> list[np.ndarray]:
    waveform, _ = speech(*lengths)
    return [row[:length].numpy() for row, length in zip(waveform, lengths, strict=True)]


class Scripted:
    """A decoder that says the same whatever it hears: a table of scores by the last token, for each clip a script."""

    def __init__(self, scripts: Sequence[dict[int, dict[int, float]]]) -> None:
        self.scripts, self.sizes = list(scripts), []
        self.tokenizer = tiny_tokenizer()

    def hear(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        return np.arange(len(waveforms))

    def step(self, heard: np.ndarray, tokens: np.ndarray, past: object) -> tuple[np.ndarray, np.ndarray]:
        self.sizes.append(len(heard))
        logits = np.full((*tokens.shape, self.tokenizer.num_tokens), -30.0, dtype=np.float32)
        for row, script in enumerate(heard):
            for token, score in self.scripts[script].get(int(tokens[row, -1]), {self.tokenizer.end: 5.0}).items():
                logits[row, -1, token] = score
        return logits, heard

    def choose_heard(self, heard: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return heard[rows]

    choose_past = choose_heard


def search(scripts: Sequence[dict[int, dict[int, float]]], **options: object) -> tuple[list[Hypothesis], Scripted]:
    decoder = Scripted(scripts)
    silence = [np.zeros(400, dtype=np.float32)] * len(scripts)
    return decode(decoder, silence, decoder.tokenizer, DecodingOptions(**options)), decoder  # type: ignore[arg-type]


def token(letter: str) -> int:
    return tiny_tokenizer().encode(letter)[0]


# Greedily "a" wins and leads to a dead end; "b" leads to what is certain.
FORKED = {
    tiny_tokenizer().no_timestamps: {token("a"): 1.0, token("b"): 0.8},
    token("a"): {token("c"): 1.0, token("d"): 1.0, token("e"): 1.0},
}


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("timestamps", [False, True])
def test_a_clip_gets_the_transcript_that_it_gets_alone(beam_size: int, timestamps: bool) -> None:
    options = DecodingOptions(max_tokens=12, beam_size=beam_size, timestamps=timestamps)
    decoder, recordings = TorchDecoder(tiny_recognizer()), clips(9_000, 20_000, 3_000, 12_345)
    together = decode(decoder, recordings, tiny_tokenizer(), options)
    for clip, found in zip(recordings, together, strict=True):
        (alone,) = decode(decoder, [clip], tiny_tokenizer(), options)
        assert alone.tokens == found.tokens
        np.testing.assert_allclose(alone.log_probabilities, found.log_probabilities, atol=1e-4)
        assert alone.no_speech_probability == pytest.approx(found.no_speech_probability, abs=1e-5)
    assert len({found.tokens for found in together}) > 1


@pytest.mark.parametrize("beam_size", [1, 3])
def test_who_watches_sees_beginnings_of_the_transcripts(beam_size: int) -> None:
    options = DecodingOptions(max_tokens=12, beam_size=beam_size)
    decoder, recordings = TorchDecoder(tiny_recognizer()), clips(9_000, 20_000, 3_000)
    seen: list[list[Hypothesis]] = []
    found = decode(decoder, recordings, tiny_tokenizer(), options, lambda paths: seen.append(list(paths)))
    assert found == decode(decoder, recordings, tiny_tokenizer(), options)
    assert len(seen) == 12
    for row, final in enumerate(found):
        told = [paths[row] for paths in seen]
        assert all(after.tokens[: len(before.tokens)] == before.tokens for before, after in pairwise([*told, final]))
        for each in told:
            np.testing.assert_array_equal(
                each.log_probabilities, final.log_probabilities[: len(each.log_probabilities)]
            )
        assert (told[0].language, told[0].no_speech_probability) == ("en", final.no_speech_probability)
        assert len({len(each.tokens) for each in told}) > 1


def test_what_a_watcher_raises_ends_the_search() -> None:
    class StoppedError(Exception):
        pass

    def stop(paths: Sequence[Hypothesis]) -> None:
        if len(paths[0].tokens) == 2:
            raise StoppedError

    decoder = Scripted([{before: {token("a"): 1.0} for before in range(300)}])
    with pytest.raises(StoppedError):
        decode(decoder, clips(400), decoder.tokenizer, DecodingOptions(), stop)
    assert len(decoder.sizes) == 2


def test_the_best_token_is_taken_each_time_and_counted_among_those_allowed() -> None:
    (found,), _ = search([FORKED])
    assert found.tokens == (token("a"), token("c"))
    assert len(found.log_probabilities) == 3  # with the end
    assert found.log_probabilities[0] == pytest.approx(1.0 - np.log(np.exp(1.0) + np.exp(0.8)), abs=1e-3)


def test_beams_find_what_is_more_probable_as_a_whole() -> None:
    (found,), _ = search([FORKED], beam_size=2)
    assert found.tokens == (token("b"),)
    greedy, _ = search([FORKED])
    assert found.mean_log_probability > greedy[0].mean_log_probability


def test_clips_that_have_ended_are_not_run_on() -> None:
    letters = [token(letter) for letter in "abcdefgh"]
    long = {tiny_tokenizer().no_timestamps: {letters[0]: 1.0}}
    long |= {one: {other: 1.0} for one, other in pairwise(letters)}
    short = {tiny_tokenizer().no_timestamps: {letters[0]: 1.0}}
    found, decoder = search([short, long, short])
    assert [len(each.tokens) for each in found] == [1, 8, 1]
    assert decoder.sizes[:2] == [3, 3]
    assert set(decoder.sizes[2:]) == {1}


def test_a_transcript_without_an_end_is_cut() -> None:
    (found,), _ = search(
        [{tiny_tokenizer().no_timestamps: {token("a"): 1.0}, token("a"): {token("a"): 1.0}}], max_tokens=5
    )
    assert found.tokens == (token("a"),) * 5
    assert len(found.log_probabilities) == 5


def test_hot_words_are_preferred_and_nothing_else_is() -> None:
    begun = tiny_tokenizer().encode(" p")[0]
    script = {tiny_tokenizer().no_timestamps: {token("x"): 1.0, begun: 0.0}, begun: {token("s"): 1.0, token("i"): 0.5}}
    text = {
        words: tiny_tokenizer().decode(search([script], hot_words=words)[0][0].tokens)
        for words in ((), ("pi",), (" ",), ("zz",))
    }
    assert text == {(): "x", ("pi",): " pi", (" ",): "x", ("zz",): "x"}


def test_the_language_is_found_or_refused() -> None:
    decoder, recordings = TorchDecoder(tiny_recognizer()), clips(9_000)
    (found,) = decode(decoder, recordings, tiny_tokenizer(), DecodingOptions(language=None, max_tokens=4))
    (given,) = decode(decoder, recordings, tiny_tokenizer(), DecodingOptions(max_tokens=4))
    assert found.language == "en"
    assert found.tokens == given.tokens
    with pytest.raises(TokenizerError, match="language 'xx'"):
        decode(decoder, recordings, tiny_tokenizer(), DecodingOptions(language="xx"))
    assert decode(decoder, [], tiny_tokenizer()) == []
    with pytest.raises(ValueError, match="beam_size 0"):
        DecodingOptions(beam_size=0)


def test_timestamps_come_in_pairs_and_never_run_back() -> None:
    tokenizer, rules = tiny_tokenizer(), TokenRules(tiny_tokenizer(), timestamps=True)
    first = tokenizer.first_timestamp

    def allowed(*history: int) -> set[int]:
        logits = np.zeros((1, tokenizer.num_tokens), dtype=np.float32)
        logits[0, : tokenizer.end + 1] = 20.0  # text is so probable that no rule but those of order forbids it
        rules.apply(logits, [history])
        return set(np.flatnonzero(np.isfinite(logits[0])).tolist())

    assert allowed() == set(range(first, first + 51))
    assert min(allowed(first + 3)) < tokenizer.end
    assert max(allowed(first + 3)) <= tokenizer.end
    spoken = allowed(first + 3, 40)
    assert 40 in spoken
    assert first + 3 not in spoken
    assert first + 4 in spoken
    assert min(allowed(first + 3, 40, first + 9)) == tokenizer.end
    assert first + 8 not in allowed(first + 3, 40, first + 9)
    assert {first + 9, tokenizer.end} < allowed(first + 3, 40, first + 9)


def test_a_time_that_is_likelier_than_any_text_is_taken() -> None:
    tokenizer = tiny_tokenizer()
    logits = np.zeros((1, tokenizer.num_tokens), dtype=np.float32)
    logits[0, 40] = 2.0
    TokenRules(tokenizer, timestamps=True).apply(logits, [[tokenizer.first_timestamp, 41]])
    assert logits.argmax() > tokenizer.first_timestamp


def test_log_probabilities_sum_to_one() -> None:
    logits = np.array([[0.0, -np.inf, 80.0, 79.0]], dtype=np.float32)
    assert np.exp(log_softmax(logits)).sum() == pytest.approx(1.0)
    assert log_softmax(logits)[0, 1] == -np.inf
