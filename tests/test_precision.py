import pytest
import torch

from pixel_mm.precision import pick_precision


@pytest.mark.parametrize(("avx512", "amx", "expected"), [(0, 0, "32-true"), (1, 0, "bf16-mixed"), (0, 1, "bf16-mixed")])
def test_the_processor_decides_on_a_cpu(avx512: int, amx: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(avx512))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx))
    assert pick_precision("cpu") == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "32-true"), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")]
)
@pytest.mark.parametrize("accelerator", ["gpu", "auto"])
def test_the_generation_decides_on_a_gpu(
    accelerator: str, capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert pick_precision(accelerator) == expected


def test_auto_without_a_gpu_asks_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_precision("auto") == pick_precision("cpu")
