"""Measures of a whole part, logged while training, and the calibration that they end with."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pixel_mm.data.emotions import DIMENSIONS
from pixel_mm.metrics.concordance import concordance
from pixel_mm.models.fusion.calibration import fit_scale_and_offset
from pixel_mm.models.fusion.heads import Reader, Readings
from pixel_mm.models.fusion.losses import FusionLoss, ResponseLoss, is_right
from pixel_mm.models.fusion.network import FusionNetwork
from pixel_mm.models.fusion.reading import FusionOutput
from pixel_mm.models.fusion.scores import name_scores


class SeenBatch(NamedTuple):
    """What is kept of a batch until its part is whole.

    Attributes:
        output: of the network, without logits of tokens.
        response: of its answers.
        targets: float32 [B, K + E], of the scores that the network has.
        has_text: bool [B].
        has_answer: bool [B].
    """

    output: FusionOutput
    response: ResponseLoss
    targets: Tensor
    has_text: Tensor
    has_answer: Tensor


def whole_part(batches: Sequence[SeenBatch]) -> SeenBatch:
    """Batches as one."""
    sizes = [len(batch.has_text) for batch in batches]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    outputs = [batch.output for batch in batches]
    rows = torch.cat([each.rows + start for each, start in zip(outputs, starts, strict=True)])
    names = ("text", "audio", "both", "answer")
    text, audio, both, answer = (_joined([getattr(each, name) for each in outputs]) for name in names)
    output = FusionOutput(outputs[0].logits, rows, text, audio, both, answer)
    response = ResponseLoss(*(torch.cat(parts) for parts in zip(*(batch.response for batch in batches), strict=True)))
    columns = zip(*((batch.targets, batch.has_text, batch.has_answer) for batch in batches), strict=True)
    return SeenBatch(output, response, *(torch.cat(column) for column in columns))


def _joined(readings: Sequence[Readings | None]) -> Readings | None:
    there = [each for each in readings if each is not None]
    return Readings(*(torch.cat(parts) for parts in zip(*there, strict=True))) if there else None


def measure(losses: FusionLoss, network: FusionNetwork, part: SeenBatch) -> dict[str, float]:
    """Measure a whole part.

    Returns:
        `loss`, `response_loss`, `score_loss`, `confidence_loss`; `ccc_NAME` of each dimension whose targets vary, and
        `ccc`, the mean of these; `text_ccc_NAME` and `audio_ccc_NAME` of words and voice alone.
    """
    terms = losses(part.output, part.response.mean(), part.targets, network.state_scores, part.has_text)
    measures = dict(zip(("loss", "response_loss", "score_loss", "confidence_loss"), map(float, terms), strict=True))
    named = name_scores(part.output, network.state_scores, network.answer_scores, part.has_text, part.has_answer)
    for prefix, scores in (("", named.scores), ("text_", named.text), ("audio_", named.audio)):
        measures |= _concordances(prefix, scores, part.targets, network)
    found = [measures[f"ccc_{name}"] for name in DIMENSIONS if f"ccc_{name}" in measures]
    return measures | ({"ccc": sum(found) / len(found)} if found else {})


def _concordances(prefix: str, scores: dict[str, Tensor], targets: Tensor, network: FusionNetwork) -> dict[str, float]:
    measures = {}
    for column, name in enumerate(network.state_scores):
        if name not in DIMENSIONS or name not in scores:
            continue
        there = ~(targets[:, column].isnan() | scores[name].isnan())
        truth = targets[there, column].double().cpu().numpy()
        if len(set(truth.tolist())) > 1:
            measures[f"{prefix}ccc_{name}"] = concordance(scores[name][there].double().cpu().numpy(), truth)
    return measures


@torch.no_grad()
def calibrate(losses: FusionLoss, network: FusionNetwork, part: SeenBatch) -> None:
    """Set the calibration of each reader's confidence to what fits a part that was not trained on."""
    names, rows, heads = network.state_scores, part.output.rows, network.heads
    targets = part.targets[:, : len(names)]
    unread = ~part.has_text[:, None]
    readers: list[tuple[Reader, Readings, Tensor]] = []
    if part.output.text is not None:
        readers.append((heads.text, part.output.text, targets.masked_fill(unread, torch.nan)))
    if part.output.audio is not None and part.output.both is not None:
        readers.append((heads.audio, part.output.audio, targets[rows]))
        readers.append((heads.both, part.output.both, targets[rows].masked_fill(unread[rows], torch.nan)))
    for reader, readings, wanted in readers:
        right = is_right(readings.logits.sigmoid(), wanted, names, losses.tolerance)
        scale, offset = fit_scale_and_offset(readings.confidence, right)
        reader.calibration.copy_(torch.stack((reader.calibration[0] * scale, reader.calibration[1] * scale + offset)))
