"""A batch whose rows lie on several processes, as one: its loss is what one process would have of the whole.

A concordance over half a batch is another number than over all of it, and so is a mean over half of the answers.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from pixel_mm.models.fusion.heads import Readings
from pixel_mm.models.fusion.losses import ResponseLoss
from pixel_mm.models.fusion.measures import SeenBatch
from pixel_mm.models.gather import gather_rows, is_alone


def global_batch(seen: SeenBatch, anchor: Tensor) -> SeenBatch:
    """The rows of all processes, by rank, the same on each of them; gradients find their way back.

    Args:
        seen: what this process read.
        anchor: `FusionNetwork.anchor`, which is added to all that is gathered: the backward pass is a collective, too,
            and a process in whose answers nobody is heard would take no part in it.

    Returns:
        The whole batch, without logits of tokens; `seen` itself where there is one process.
    """
    if is_alone():
        return seen
    output, size = seen.output, len(seen.has_text)
    sizes = gather_rows(torch.tensor([size], device=output.rows.device)).tolist()
    rows = gather_rows(output.rows + sum(sizes[: dist.get_rank()]))
    text, audio, both = _gathered(output.text, anchor), None, None
    if len(rows):  # where nobody is heard here, there is somebody elsewhere
        nobody = None if output.text is None else Readings(*(each[:0] for each in output.text))
        audio, both = (_gathered(nobody if each is None else each, anchor) for each in (output.audio, output.both))
    answer = _gathered(output.answer, anchor)
    whole = output._replace(rows=rows, text=text, audio=audio, both=both, answer=answer)
    response = ResponseLoss(gather_rows(seen.response.sums + anchor), gather_rows(seen.response.counts))
    flags = (gather_rows(each.long()).bool() for each in (seen.has_text, seen.has_answer))
    return SeenBatch(whole, response, gather_rows(seen.targets), *flags)


def _gathered(readings: Readings | None, anchor: Tensor) -> Readings | None:
    return None if readings is None else Readings(*(gather_rows(each + anchor) for each in readings))
