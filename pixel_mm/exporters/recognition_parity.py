"""Proof that a recogniser's exported graphs are its network: step by step, and by whole transcripts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixel_mm.exporters.parity import Case, ParityError
from pixel_mm.inference.whisper_onnx import OnnxDecoder, Precision
from pixel_mm.models.speech_recognition.decoding import DecodingOptions, decode
from pixel_mm.models.speech_recognition.torch_decoder import TorchDecoder
from pixel_mm.whisper_tokens import WhisperTokenizer

TOLERANCES: Mapping[Precision, float] = {"float32": 1e-3, "float16": 0.05, "int8": 0.5}
"""Difference of scores that is allowed, in standard deviations of the network's: the largest of all in floating point,
the root mean square over all clips in int8, where the largest of millions is a matter of luck."""
BATCH_TOLERANCE = 0.01
"""Root mean square difference of a clip's int8 scores, in the same unit, that may come from what it is batched with:
the last bits of floating-point sums decide what is rounded where."""
_TRANSCRIPT = DecodingOptions(max_tokens=16)
_NEW_TOKENS = (3, 1, 2, 1)


@dataclass(frozen=True, slots=True)
class RecognitionParity:
    """How an exported pair of graphs differs from the network.

    Attributes:
        cases: names of the batches compared.
        tolerance: what was allowed; see `TOLERANCES`.
        largest_difference: of a score, in standard deviations of the network's scores, over all steps.
        typical_difference: root mean square of the same over all clips.
        largest_attention_difference: between where a head looked, as a share of its attention.
        same_transcripts: clips whose greedy transcript is the network's to the last token, as a share.
    """

    cases: tuple[str, ...]
    tolerance: float
    largest_difference: float
    typical_difference: float
    largest_attention_difference: float
    same_transcripts: float


def check_recognition(
    precision: Precision,
    found: OnnxDecoder,
    expected: TorchDecoder,
    tokenizer: WhisperTokenizer,
    cases: list[Case],
    seed: int,
) -> RecognitionParity:
    """Compare a pair of graphs with the network it came from.

    Args:
        precision: of the pair.
        found: runs the pair.
        expected: runs the network.
        tokenizer: of the model.
        cases: batches of clips; see `make_cases`.
        seed: of the tokens that are fed.

    Raises:
        ParityError: scores that are further away than allowed or no numbers, a float32 transcript that is not the
            network's, or a result that depends on what a clip is batched with.
    """
    generator = np.random.default_rng(seed)
    largest, squares, looks, same = [0.0], [], [0.0], []
    for case in cases:
        clips = [row[:length] for row, length in zip(case.inputs["waveform"], case.inputs["num_samples"], strict=True)]
        tokens = generator.integers(0, tokenizer.end, (len(clips), sum(_NEW_TOKENS)))
        theirs, mine = _trace(expected, clips, tokens), _trace(found, clips, tokens)
        difference = (mine[0] - theirs[0]) / theirs[0].std()
        largest.append(_largest(difference))
        squares += np.square(difference).mean(axis=(1, 2)).tolist()
        looks.append(_largest(mine[1] - theirs[1]))
        together = [each.tokens for each in decode(found, clips, tokenizer, _TRANSCRIPT)]
        if not _is_independent(precision, found, clips, tokenizer, tokens, mine[0], together):
            raise ParityError(f"{precision}: the result depends on what its clip is batched with, in {case.name}")
        wanted = [each.tokens for each in decode(expected, clips, tokenizer, _TRANSCRIPT)]
        same += [one == other for one, other in zip(together, wanted, strict=True)]
    typical = float(np.sqrt(np.mean(squares)))
    judged = typical if precision == "int8" else max(largest)
    if not judged <= TOLERANCES[precision]:
        raise ParityError(
            f"{precision}: scores differ from the network's by {judged:.2g} of their standard deviation; "
            f"allowed is {TOLERANCES[precision]:g}"
        )
    if precision == "float32" and not all(same):
        raise ParityError(f"float32: {same.count(False)} of {len(same)} transcripts are not the network's")
    names = tuple(case.name for case in cases)
    return RecognitionParity(names, TOLERANCES[precision], max(largest), typical, max(looks), sum(same) / len(same))


def _is_independent(
    precision: Precision,
    found: OnnxDecoder,
    clips: list[NDArray[np.float32]],
    tokenizer: WhisperTokenizer,
    tokens: NDArray[np.int64],
    scores: NDArray[np.float32],
    transcripts: list[tuple[int, ...]],
) -> bool:
    """Whether each clip gets alone the transcript that it got in its batch; in int8 the scores, but for rounding."""
    if precision != "int8":
        return transcripts == [decode(found, [clip], tokenizer, _TRANSCRIPT)[0].tokens for clip in clips]
    alone = np.concatenate([_trace(found, [clip], tokens[row : row + 1])[0] for row, clip in enumerate(clips)])
    typical = np.sqrt(np.square((alone - scores) / scores.std()).mean(axis=(1, 2)))
    return bool(_largest(typical) <= BATCH_TOLERANCE)


def _trace(
    decoder: Any, clips: list[NDArray[np.float32]], tokens: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores float32 [B, N, V] of tokens given some at a time, and attention float32 [B, L, H, N, F]."""
    heard = decoder.hear(clips)
    past, scores, start = None, [], 0
    for number in _NEW_TOKENS:
        logits, past = decoder.step(heard, tokens[:, start : start + number], past)
        scores.append(logits.copy())
        start += number
    return np.concatenate(scores, axis=1), decoder.attention(heard, tokens)


def _largest(difference: NDArray[np.float32]) -> float:
    """NaN counts as infinity."""
    found = float(np.abs(difference).max())
    return found if np.isfinite(found) else float("inf")
