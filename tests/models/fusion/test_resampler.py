import pytest
import torch
from torch import Tensor

from pixel_mm.models.fusion.resampler import Latents, Resampler


def resampler(**options: float) -> Resampler:
    torch.manual_seed(0)
    settings = {"size": 16, "latents_per_second": 2, "num_heads": 2} | options
    return Resampler({"emotion": (6, 50.0), "recognition": (4, 25.0)}, **settings).eval()  # type: ignore[arg-type]


def frames(*seconds: float) -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    made = {}
    for name, width, rate in (("emotion", 6, 50), ("recognition", 4, 25)):
        lengths = torch.tensor([max(1, round(rate * length)) for length in seconds])
        made[name] = (torch.randn(len(seconds), int(lengths.max()), width, generator=generator), lengths)
    return made


def of(latents: Latents, row: int) -> Tensor:
    return latents.values[row][latents.mask[row]]


@pytest.mark.parametrize(("seconds", "number"), [(0.025, 2), (1.0, 2), (1.3, 4), (30.0, 60)])
def test_there_are_latents_for_each_second(seconds: float, number: int) -> None:
    heard = resampler()(frames(seconds))
    assert of(heard, 0).shape == (number, 16)
    assert heard.values.isfinite().all()


@torch.no_grad()
def test_a_voice_does_not_depend_on_its_batch() -> None:
    network, batch = resampler(num_layers=2), frames(0.4, 3.2, 7.0)
    together = network(batch)
    for row in range(3):
        alone = {name: (values[row : row + 1, : n[row]], n[row : row + 1]) for name, (values, n) in batch.items()}
        torch.testing.assert_close(of(network(alone), 0), of(together, row), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_latent_hears_its_second_and_a_little_around_it_from_every_encoder() -> None:
    network, batch = resampler(context_seconds=0.5), frames(6.0)
    before = network(batch).values
    for name, rate in (("emotion", 50), ("recognition", 25)):
        changed = {other: (values.clone(), number) for other, (values, number) in batch.items()}
        changed[name][0][:, 3 * rate : 4 * rate] *= -1  # the fourth second
        moved = (network(changed).values - before).abs().amax(2)[0] > 1e-6
        assert moved.tolist() == [second in (2, 3, 4) for second in range(6) for _ in range(2)]


def test_frames_of_other_encoders_are_refused() -> None:
    with pytest.raises(ValueError, match="frames are of emotion; the adapter listens to emotion, recognition"):
        resampler()({"emotion": frames(1.0)["emotion"]})


@pytest.mark.parametrize("options", [{"size": 15}, {"latents_per_second": 0}, {"num_heads": 3}, {"num_layers": 0}])
def test_impossible_sizes_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give numbers of 1 or more"):
        resampler(**options)
