from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pixel_mm.models.speech_recognition.context_distillation import ContextLoss
from pixel_mm.models.speech_recognition.context_module import ContextModule
from tests.models.tiny_networks import speech
from tests.tiny_recognition import tiny_recognizer, tiny_tokenizer


def module_of(**changes: Any) -> ContextModule:
    options = {
        "network": tiny_recognizer("short"),
        "losses": ContextLoss(),
        "tokenizer": tiny_tokenizer(),
        "optimizer": partial(torch.optim.SGD, lr=0.1),
    }
    return ContextModule(**options | changes)  # type: ignore[arg-type]


class _Batch(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.audio_hashes)


def test_the_student_alone_is_trained_and_saved() -> None:
    module = module_of()
    module.log_part = lambda *_: None  # type: ignore[method-assign]
    waveform, num_samples = speech(20_000, 9_001)
    module.train()
    module.training_step(_Batch(waveform=waveform, num_samples=num_samples, audio_hashes=("a", "b")), 0).backward()
    assert all(parameter.grad is None for parameter in module.teacher.parameters())
    assert module.network.encoder.conv1.weight.grad is not None
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    assert all(name.startswith("network.") for name in checkpoint["state_dict"])
    optimizer = module.optimizer(module.network.parameters())
    assert sum(map(torch.numel, optimizer.param_groups[0]["params"])) == sum(
        parameter.numel() for parameter in module.network.parameters()
    )


def test_a_network_with_full_context_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set recognizer\.network\.context to short"):
        module_of(network=tiny_recognizer("full"))
