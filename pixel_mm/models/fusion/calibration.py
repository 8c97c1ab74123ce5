"""Calibrates the confidence of the fusion heads on a part that was not trained on."""

import torch
import torch.nn.functional as F
from torch import Tensor

_STEPS = 100
_MIN_SCALE = 0.05  # a confidence that falls as the logit rises would be a sign of too few rows, not of knowledge


@torch.inference_mode(False)  # validation runs in it
@torch.enable_grad()
def fit_scale_and_offset(logits: Tensor, right: Tensor) -> Tensor:
    """Scale and offset of logits that make the likeliest probabilities of what came out right (Platt 1999).

    Args:
        logits: float32 [R].
        right: float32 [R], 1, 0, or NaN where it is not known.

    Returns:
        float32 [2]; 1 and 0 where nothing is known.
    """
    known = ~right.isnan()
    logits, right = logits[known].detach().clone().float(), right[known].detach().clone().float()
    values = torch.tensor([1.0, 0.0], device=logits.device)
    if len(right) == 0:
        return values
    # As published: probabilities of few rows stay away from 0 and 1.
    positive = right.sum()
    right = torch.where(right > 0, (positive + 1) / (positive + 2), 1 / (len(right) - positive + 2))
    values.requires_grad_(True)
    optimizer = torch.optim.LBFGS([values], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(logits * values[0] + values[1], right)
        loss = loss + 1e-3 * ((values[0] - 1).square() + values[1].square())
        loss.backward()
        return loss

    optimizer.step(closure)
    result = values.detach()
    return torch.stack((result[0].clamp(min=_MIN_SCALE), result[1]))
