"""What a run will need: the planner's numbers are those of the parts that would be trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch._subclasses.fake_tensor import FakeTensorMode

from pixel_mm import cli, train
from pixel_mm.cli import USER_ERROR
from pixel_mm.models.freezing import count
from pixel_mm.pretrained import PretrainedError
from pixel_mm.training.plan import Plan, PlanError, plan_run
from pixel_mm.training.plan_parts import NF4_BYTES, build_parts, encoder_sizes
from pixel_mm.training.plan_step import LiveBytes, StepShape, step_needs
from tests.training_runs import compose_train

SCORES = ("valence", "arousal", "crisis", "interpretation")


def config(*options: str) -> Any:
    return compose_train("experiment=fusion", "backbone=tiny_moe", "encoder=whisper_micro_random", *options)


def planned(*options: str) -> Plan:
    return plan_run(config(*options))


@pytest.fixture(scope="module")
def pixel() -> Plan:
    """The recipe on Pixel's backbone, none of whose weights are anywhere near."""
    return plan_run(compose_train("experiment=fusion", "backbone=pixel_30b", "planning.gpus=[rtx4090_24,a100_80]"))


@pytest.mark.slow
def test_pixels_adapter_trains_on_one_gpu_of_24_gib(pixel: Plan) -> None:
    assert pixel.layers == (36, 38, 40, 42, 44, 46)  # in the top 12 of 48
    frozen = sum(pixel.parameters[name] for name in ("frozen below the adapter", "frozen above", "vocabulary"))
    assert frozen == 30_532_122_624  # as published
    upper = pixel.modes["upper layers"].memory
    assert 15.5e9 < upper.frozen < 15.8e9  # 12 layers and the vocabulary in bfloat16
    assert pixel.free_bytes("upper layers", "rtx4090_24") > 2 * 2**30
    assert pixel.free_bytes("whole model", "rtx4090_24") < -30 * 2**30
    assert pixel.free_bytes("whole model", "a100_80") > 0


@pytest.mark.slow
def test_four_bits_shrink_linear_layers_and_no_routed_experts(pixel: Plan) -> None:
    options = ("experiment=fusion", "quantisation=nf4")
    experts = plan_run(compose_train(*options, "backbone=pixel_30b")).modes["whole model"].memory.frozen
    attention = 48 * 2048 * 128 * (32 + 4 + 4 + 32)
    saved = pixel.modes["whole model"].memory.frozen - experts
    assert saved == pytest.approx(attention * (2 - NF4_BYTES), rel=1e-6)
    dense, four = (
        plan_run(compose_train("experiment=fusion", "backbone=qwen3_0_6b", *more)).modes["whole model"].memory.frozen
        for more in ((), ("quantisation=nf4",))
    )
    assert dense - four == pytest.approx(28 * (2048 * 1024 * 2 + 1024 * 1024 * 2 + 3 * 3072 * 1024) * (2 - NF4_BYTES))


def test_the_plan_counts_what_training_builds() -> None:
    plan, cfg = planned(), config()
    network = instantiate(cfg.model, backbone=instantiate(cfg.backbone).load(), scores=list(train_scores()))
    trained, total = count(network)
    assert plan.parameters["trained"] == trained
    encoders = sum(p.numel() for p in network.encoders.parameters())
    assert sum(plan.parameters.values()) == total - encoders
    weights = network.language_model.state_dict().values()
    kept = sum(t.nbytes for t in weights) + sum(t.nbytes for t in network.encoders.state_dict().values())
    assert plan.modes["whole model"].memory.frozen == kept
    assert plan.modes["whole model"].memory.optimiser == 8 * trained


def train_scores() -> tuple[str, ...]:
    from pixel_mm.data.emotions import FUSION_SCORES

    return tuple(FUSION_SCORES)


@pytest.mark.parametrize("model", ["fusion", "fusion_soft_tokens", "fusion_text_only"])
@pytest.mark.parametrize("recompute", [False, True])
def test_tensors_without_content_need_what_real_ones_do(model: str, recompute: bool) -> None:
    cfg, shape = config(f"model={model}", f"model.recompute={recompute}"), StepShape(3, 20, 5, 2.0)
    encoders = encoder_sizes(cfg)
    with FakeTensorMode():
        needed = step_needs(build_parts(cfg, encoders, SCORES, upper=False), shape)
    real = step_needs(build_parts(cfg, encoders, SCORES, upper=False), shape)
    assert needed.bytes == pytest.approx(real.bytes, rel=0.02)
    assert needed.flops == pytest.approx(real.flops, rel=0.02)


def test_memory_counts_while_tensors_live() -> None:
    known = torch.ones(1000)
    with LiveBytes([known]) as live:
        one = known * 2
        assert (live.live, live.peak) == (4000, 4000)
        view = one[:10]
        del one
        assert live.live == 4000
        del view
        assert live.live == 0
        _ = known + known
    assert live.peak == 4000


@pytest.mark.slow
def test_a_step_needs_more_for_more_and_less_where_it_is_computed_again() -> None:
    modes = planned().modes
    default = modes["upper layers"]
    assert planned("planning.batch_rows=32").modes["upper layers"].step.bytes > 1.5 * default.step.bytes
    assert modes["whole model"].step.flops > default.step.flops
    assert planned("module.average_decay=0.9").modes["upper layers"].memory.optimiser > default.memory.optimiser
    many = "model.top_share=0.75"
    plain, again = (planned(many, *more).modes["upper layers"] for more in ((), ("model.recompute=true",)))
    assert again.step.bytes < 0.7 * plain.step.bytes  # of six layers, one is held at a time
    assert again.step.flops > plain.step.flops


def test_soft_tokens_have_no_upper_half() -> None:
    assert set(planned("model=fusion_soft_tokens").modes) == {"whole model"}


def test_what_lies_on_the_disk_is_counted_by_row() -> None:
    disk = planned("planning.rows=1000", "planning.tokens_per_row=64").disk
    assert disk["hidden states"] == 1000 * 12_288  # 64 * 32 * 4 bytes and a header, in blocks of 4096
    assert planned("planning.rows=2000").disk["frames"] == 2 * disk["frames"]


def test_other_tasks_devices_and_backbones_are_refused() -> None:
    with pytest.raises(PlanError, match="plan=true plans experiment=fusion alone, and this is emotion"):
        plan_run(compose_train("experiment=emotion"))
    with pytest.raises(PlanError, match=r"planning.gpus: abacus is none of .*; add it to planning.devices"):
        planned("planning.gpus=[abacus]")
    with pytest.raises(PretrainedError, match=r"backbone.architecture is not given"):
        plan_run(compose_train("experiment=fusion", "backbone=qwen3_0_6b", "backbone.architecture=null"))


def test_the_command_plans_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "plan.json"
    arguments = ["experiment=fusion", "backbone=tiny_moe", "encoder=whisper_micro_random", "plan=true"]
    places = [f"paths.run={tmp_path / 'run'}", f"planning.output={output}", "datamodule.sources.pairs=null"]
    monkeypatch.setattr("sys.argv", ["pixel_mm.train", *arguments, *places])
    cli.run(train.main, "train")
    shown = capsys.readouterr().out
    assert "hidden states" in shown
    assert "rtx4090_24" in shown
    content = json.loads(output.read_text())
    fits = content["modes"]["upper layers"]["devices"]["rtx4090_24"]
    assert fits["fits"] is True
    assert fits["seconds_per_step"] > 0
    assert not list(tmp_path.rglob("*.ckpt"))
    monkeypatch.setattr("sys.argv", ["pixel_mm.train", "experiment=emotion", "plan=true", *places[:1]])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as left:
        cli.run(train.main, "train")
    assert left.value.code == USER_ERROR


def test_four_bits_without_what_holds_them_are_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    cfg = compose_train("experiment=fusion", "backbone=qwen3_0_6b", "quantisation=nf4")
    with pytest.raises(PretrainedError, match=r"needs bitsandbytes .* and a CUDA GPU"):
        instantiate(cfg.backbone).load()


@pytest.mark.weights
def test_smollm2_has_the_architecture_that_is_planned_with() -> None:
    from transformers import AutoConfig

    cfg = compose_train("experiment=fusion", "backbone=smollm2_135m").backbone
    source = instantiate(cfg)
    published = AutoConfig.from_pretrained(source._place()[0])
    assert {name: getattr(published, name) for name in cfg.architecture} == dict(cfg.architecture)
