"""Which number format a device trains fastest in, without losing accuracy."""

import torch


def pick_precision(accelerator: str) -> str:
    """Lightning's name of the precision to train with on this machine.

    bfloat16 autocast where the hardware multiplies bfloat16 matrices, float32 elsewhere: a processor without such
    instructions emulates them, which was measured to be about a hundred times slower than float32.

    Args:
        accelerator: "cpu", "gpu", "cuda" or "auto" (a GPU where there is one).

    Returns:
        "bf16-mixed" or "32-true".
    """
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    fast = _gpu_has_bfloat16() if on_gpu else _cpu_has_bfloat16()
    return "bf16-mixed" if fast else "32-true"


def _gpu_has_bfloat16() -> bool:
    """True from NVIDIA's Ampere on, compute capability 8.0, the first with bfloat16 tensor cores."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def _cpu_has_bfloat16() -> bool:
    """True where the processor has AVX-512 BF16 or AMX. torch has no public question for it."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
