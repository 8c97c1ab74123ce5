from itertools import pairwise

import pytest
import torch
from torch import nn

from pixel_mm.models.adaptation import Freeze, LastLayers
from pixel_mm.models.freezing import freeze, trained_parameters
from pixel_mm.models.optimisation import WeightAverage, cosine_with_warmup, one_cycle, parameter_groups
from tests.models.tiny_networks import regressor


def test_every_trained_parameter_is_in_one_group_with_its_rate() -> None:
    network = regressor()
    LastLayers(1)(network)
    groups = {group["name"]: group for group in parameter_groups(network, 1e-3, 1e-5)}
    assert groups.keys() == {"head", "head_no_decay", "encoder", "encoder_no_decay"}
    grouped = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in trained_parameters(network).values())
    assert {name: group["lr"] for name, group in groups.items()} == {
        "head": 1e-3, "head_no_decay": 1e-3, "encoder": 1e-5, "encoder_no_decay": 1e-5,
    }  # fmt: skip
    assert all(parameter.ndim > 1 for parameter in groups["encoder"]["params"])
    assert [group.get("weight_decay") for group in groups.values()].count(0.0) == 2


def test_a_frozen_encoder_has_no_groups_and_a_frozen_network_is_refused() -> None:
    network = regressor()
    Freeze(["encoder.*"])(network)
    assert {group["name"] for group in parameter_groups(network, 1e-3, 1e-5)} == {"head", "head_no_decay"}
    freeze(network, ["*"])
    with pytest.raises(ValueError, match="no parameter is trained"):
        parameter_groups(network, 1e-3, 1e-5)


def rates(schedule: object, steps: int, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, total_steps=steps, **options)  # type: ignore[operator]
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_one_cycle_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2.0, total_steps=40, pct_start=0.3, cycle_momentum=False, final_div_factor=1e2
    )
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    ours = rates(one_cycle, 40, warmup_share=0.3, end_factor=0.04 / 1e2)
    assert ours == pytest.approx(expected)


def test_cosine_rises_along_a_line_and_falls_to_nothing() -> None:
    seen = rates(cosine_with_warmup, 100, warmup_share=0.1)
    assert seen[:10] == pytest.approx([2.0 * step / 11 for step in range(1, 11)])
    assert seen[10] == pytest.approx(2.0)
    assert all(later < earlier for earlier, later in pairwise(seen[10:]))
    assert seen[-1] < 0.001


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", [one_cycle, cosine_with_warmup])
def test_very_short_trainings_and_steps_beyond_the_end_have_rates(schedule: object, steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, total_steps=steps)  # type: ignore[operator]
    for _ in range(steps + 2):
        assert 0 <= optimizer.param_groups[0]["lr"] <= 2.0
        optimizer.step()
        scheduler.step()


def average_of(values: list[float], decay: float) -> float:
    weight = nn.Parameter(torch.zeros(1))
    average = WeightAverage({"w": weight}, decay)
    for value in values:
        weight.data.fill_(value)
        average.update()
    return float(average.weights(averaged=True)["w"])


def test_the_average_forgets_the_beginning_and_then_moves_slowly() -> None:
    assert average_of([3.0], 0.9) == 3.0  # not where training began
    assert average_of([1.0, 2.0, 3.0], 0.9) == pytest.approx(2.0)
    assert average_of([1.0] * 50 + [2.0], 0.9) == pytest.approx(1.1)


def test_weights_and_average_change_places_and_back() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage({"w": weight}, 0.5)
    average.update()
    weight.data.fill_(3.0)
    average.update()
    with torch.inference_mode():  # as Lightning validates
        average.use(True)
        assert float(weight) == 2.0
        average.use(True)
        assert float(average.weights(averaged=False)["w"]) == 3.0
        average.use(False)
    assert float(weight) == 3.0
    average.update()  # still possible after having been used in inference
    assert float(average.weights(averaged=True)["w"]) == 2.5


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_a_decay_that_is_no_share_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="average_decay"):
        WeightAverage({}, decay)
