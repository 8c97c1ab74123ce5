"""Trained fusion networks as an evaluation looks at them: scores and losses of rows, with any voice or none."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pixel_mm.data.emotions import FUSION_SCORES
from pixel_mm.data.fusion.batch import FusionBatch
from pixel_mm.data.fusion.datamodule import FusionDataModule
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.models.fusion.losses import ResponseLoss, answers_of, following_of, is_right, response_loss
from pixel_mm.models.fusion.module import FusionModule
from pixel_mm.models.fusion.reading import Prompt
from pixel_mm.models.fusion.scores import name_scores
from pixel_mm.models.fusion.token_losses import bare_token_losses, plain_head

Change = Callable[[FusionBatch], FusionBatch]


@dataclass(frozen=True)
class RowScores:
    """What a model says of N rows, in the order that they were asked for.

    Attributes:
        scores: by name, float64 [N], 0..1, from all that a row has; NaN where it lacks what a score is read from.
        confidence: by source ("text", "audio", "overall"), float64 [N]; NaN likewise.
        right: by source, float64 [N]: whether the feeling is estimated well, 1 or 0; NaN where it is not labelled.
        answer_sums: float64 [N], loss of the answer's tokens, nats; 0 without an answer.
        answer_counts: float64 [N], of them.
    """

    scores: Mapping[str, NDArray[np.float64]]
    confidence: Mapping[str, NDArray[np.float64]]
    right: Mapping[str, NDArray[np.float64]]
    answer_sums: NDArray[np.float64]
    answer_counts: NDArray[np.float64]


@dataclass(frozen=True)
class JudgedModel:
    """A network with the view of rows that it was trained with.

    Attributes:
        module: with the trained weights, in evaluation mode.
        data: its rows.
        device: to run on.
    """

    module: FusionModule
    data: FusionDataModule
    device: torch.device

    @torch.inference_mode()
    def judge(
        self,
        places: Sequence[int],
        change: Change | None = None,
        voice_of: Mapping[int, int] | None = None,
        bare: bool = False,
    ) -> RowScores:
        """Scores of rows.

        Args:
            places: in `data.rows`.
            change: of each batch before it is given to the network, such as `silenced`.
            voice_of: see `FusionDataModule.loader`.
            bare: the language model alone, as if nothing had been put to it; only losses of answers then.
        """
        network = self.module.network.to(self.device).eval()
        found: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for loaded in self.data.loader(places, voice_of=voice_of):
            batch = (loaded if change is None else change(loaded)).to(self.device)
            rows = batch.index.tolist()
            if bare:
                response = _bare_response(network.language_model, batch)
            else:
                seen = self.module(batch)
                response = seen.response
                names = network.state_scores
                named = name_scores(seen.output, names, network.answer_scores, seen.has_text, seen.has_answer)
                _note(found, "score", rows, named.scores)
                _note(found, "confidence", rows, named.confidence)
                for source, read in (("text", named.text), ("audio", named.audio), ("overall", named.scores)):
                    if names and set(names) <= read.keys():
                        readings = torch.stack([read[name] for name in names], 1)
                        right = is_right(readings, seen.targets[:, : len(names)], names, self.module.losses.tolerance)
                        _note(found, "right", rows, {source: right})
            _note(found, "answer", rows, response._asdict())
        return _row_scores(found, places)

    def with_rows(self, rows: Sequence[FusionRow]) -> "JudgedModel":
        """The same model over other rows, seen in the same way."""
        return replace(self, data=self.data.with_rows(rows))


def _bare_response(model: PreTrainedModel, batch: FusionBatch) -> ResponseLoss:
    """Loss of answers by the language model alone, computed as `FusionModule` does, so that equal bits stay equal."""
    head, answers = plain_head(model), answers_of(batch.labels)
    if head is None:
        logits = model(batch.input_ids, attention_mask=batch.attention_mask).logits
        return response_loss(logits[:, answers.columns], answers.tokens)
    prompt = Prompt(batch.input_ids, batch.attention_mask)
    return ResponseLoss.of_tokens(bare_token_losses(model, head, prompt, following_of(batch.labels)), answers)


def silenced(batch: FusionBatch) -> FusionBatch:
    """Voices of the same length in which there is nothing to hear."""
    lengths = batch.num_samples.tolist()
    hashes = tuple(f"silence-{length}" for length in lengths)
    return replace(batch, waveform=torch.zeros_like(batch.waveform), audio_hashes=hashes)


def unheard(batch: FusionBatch) -> FusionBatch:
    """No voices."""
    none = torch.zeros(0, dtype=torch.int64)
    return replace(batch, waveform=torch.zeros(0, 0), num_samples=none, audio_rows=none, audio_hashes=())


def other_voices(rows: Sequence[FusionRow], places: Sequence[int], seed: int) -> dict[int, int]:
    """For each row another row of the same places whose voice it gets: of another clip, each clip as often."""
    clips: defaultdict[object, list[int]] = defaultdict(list)
    for place in places:
        clip = rows[place].clip
        if clip is not None:
            clips[clip.path, clip.start_seconds, clip.end_seconds].append(place)
    order = [list(clips)[number] for number in np.random.default_rng(seed).permutation(len(clips))]
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return {place: clips[following[clip]][0] for clip, own in clips.items() for place in own}


def _note(
    found: defaultdict[str, dict[int, float]], kind: str, rows: Sequence[int], values: Mapping[str, torch.Tensor]
) -> None:
    for name, value in values.items():
        found[f"{kind}:{name}"].update(zip(rows, value.double().cpu().tolist(), strict=True))


def _row_scores(found: Mapping[str, Mapping[int, float]], places: Sequence[int]) -> RowScores:
    def named(kind: str) -> dict[str, NDArray[np.float64]]:
        start = f"{kind}:"
        return {
            name.removeprefix(start): np.array([values.get(place, np.nan) for place in places])
            for name, values in found.items()
            if name.startswith(start)
        }

    scores, answers = named("score"), named("answer")
    in_order = {name: scores[name] for name in FUSION_SCORES if name in scores}
    return RowScores(in_order, named("confidence"), named("right"), answers["sums"], answers["counts"])
