"""Every choice of every config group composes, and names what exists."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from pixel_mm.cli import CONFIG_DIR
from tests.training_runs import compose_train

GROUPS = ("trainer", "logger", "callbacks", "paths", "debug", "hparams_search", "launcher")
OTHER_COMMANDS = ("protocol", "suite", "formats", "target")  # groups of evaluate.yaml and export.yaml
# Groups that single experiments add; tests/test_recognizer_configs.py, tests/data/fusion/test_fusion_configs.py,
# tests/test_fusion_model_configs.py.
EXPERIMENTS = ("recognizer", "fusion_data", "backbone", "fusion_adapter")
CHOICES = {
    group.name: sorted(choice.stem for choice in group.glob("*.yaml"))
    for group in sorted(CONFIG_DIR.iterdir())
    if group.is_dir() and group.name not in OTHER_COMMANDS + EXPERIMENTS
}


def targets(node: Any) -> list[str]:
    """Every `_target_` in a plain configuration."""
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [target for value in node.values() for target in targets(value)]
    return [target for value in node for target in targets(value)] if isinstance(node, list) else []


# The groups are independent of each other, so one composition tries a choice of each.
@pytest.mark.parametrize("number", range(max(map(len, CHOICES.values()))))
def test_every_choice_of_every_group_composes_and_its_classes_exist(number: int) -> None:
    overrides = [f"{group}={choices[number % len(choices)]}" for group, choices in CHOICES.items()]
    for target in targets(OmegaConf.to_container(compose_train(*overrides))):
        assert callable(get_object(target))


@pytest.mark.parametrize("path", sorted(CONFIG_DIR.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIG_DIR)))
def test_a_config_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("group", GROUPS)
def test_the_groups_of_training_are_there(group: str) -> None:
    assert list((CONFIG_DIR / group).glob("*.yaml"))


@pytest.mark.parametrize("adaptation", ["frozen", "full", "last_k", "lora"])
def test_the_emotion_recipe_takes_any_adaptation(adaptation: str) -> None:
    assert callable(instantiate(compose_train("experiment=emotion", f"adaptation={adaptation}").adaptation))


def test_wandb_is_offline_unless_asked() -> None:
    assert compose_train("logger=wandb").logger.wandb.offline is True


def test_the_slurm_launcher_starts_jobs_through_submitit() -> None:
    launcher = compose_train("launcher=slurm", hydra=True).hydra.launcher
    assert launcher._target_ == "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    assert (launcher.nodes, launcher.gpus_per_node, launcher.max_num_timeout) == (1, 1, 3)


def test_the_searches_choose_their_sweepers() -> None:
    optuna = compose_train("hparams_search=emotion_optuna", hydra=True).hydra.sweeper
    assert optuna._target_.endswith("OptunaSweeper")
    assert compose_train("hparams_search=emotion_grid", hydra=True).hydra.sweeper.params.seed == "1,2,3"


def test_distributed_training_leaves_the_batches_to_the_data_module() -> None:
    for choice in ("ddp", "ddp_cpu", "fsdp", "fsdp_cpu"):
        trainer = compose_train(f"trainer={choice}").trainer
        assert "ddp" in str(trainer.strategy).lower()
        assert trainer.use_distributed_sampler is False


def test_nothing_learns_from_the_test_part() -> None:
    for path in sorted((CONFIG_DIR / "experiment").glob("*.yaml")):
        assert compose_train(f"experiment={path.stem}").optimised_metric.startswith(("validation/", "train/"))


def test_synthetic_corpora_of_different_sizes_do_not_meet_in_one_folder() -> None:
    roots = {compose_train(*options).data.root for options in ((), ("data.corpus.clips=40",), ("data.corpus.seed=1",))}
    assert len(roots) == 3
    assert compose_train("data.root=elsewhere").data.corpus.root == "elsewhere"
