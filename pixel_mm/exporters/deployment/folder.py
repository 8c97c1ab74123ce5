"""Write a deployment folder for a Triton repository.

    python -m pixel_mm.export target=deployment repository=DIR output=DIR

docs/deployment.md says what is in it. It is put in place whole or not at all.
"""

import json
import os
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.exporters.deployment.compose import compose_file
from pixel_mm.exporters.deployment.dashboard import dashboard, dashboard_providers, datasources
from pixel_mm.exporters.deployment.guide import guide
from pixel_mm.exporters.deployment.options import DeploymentError, DeploymentOptions
from pixel_mm.exporters.deployment.prometheus import alert_rules, scrape_config
from pixel_mm.exporters.deployment.served import ServedModel, read_served
from pixel_mm.runs import atomic_path

_SCRIPTS = ("start.sh", "health.sh", "monitor.sh", "request.py")
_MODELS = "models.txt"
_COMPOSE = "compose.yaml"
_OPERATORS_OWN = ".env"


def write_configured(cfg: DictConfig) -> None:
    """Write the folder that a configuration asks for, and say what to do with it.

    Args:
        cfg: composed from conf/export.yaml with `target=deployment`.
    """
    folder = write_deployment(Path(cfg.repository), Path(cfg.output), instantiate(cfg.deployment), cfg.overwrite)
    print(f"deployment folder: {folder}\nIts README.md says how to run it, how to call it, and what its alerts mean.")


def write_deployment(repository: Path, output: Path, options: DeploymentOptions, overwrite: bool = False) -> Path:
    """Write the folder.

    Args:
        repository: Triton repository that `target=triton` wrote.
        output: folder to make.
        options: images, processors, alerts.
        overwrite: replace a deployment folder that is there; its `.env` stays.

    Returns:
        `output`.

    Raises:
        DeploymentError: no repository, something else at `output`, or what it serves cannot be run as asked.
        ModelFolderError: a version's model.yaml is missing or damaged.
    """
    models = read_served(repository)
    _check_processors(models, options)
    _check_output(repository.resolve(), output.resolve(), overwrite)
    path = _path_for_compose(repository.resolve(), output.resolve())
    names = [model.name for model in models]
    queues = {model.name: model.max_queue_size for model in models}
    cached = any(model.response_cache for model in models)
    with atomic_path(output) as aside:
        aside.mkdir()
        _write_yaml(aside / _COMPOSE, compose_file(path, names, options, cached))
        _write_yaml(aside / "prometheus" / "prometheus.yml", scrape_config())
        _write_yaml(aside / "prometheus" / "rules.yml", alert_rules(queues, options))
        _write_yaml(aside / "grafana" / "provisioning" / "datasources" / "prometheus.yml", datasources())
        _write_yaml(aside / "grafana" / "provisioning" / "dashboards" / "files.yml", dashboard_providers())
        panels = json.dumps(dashboard(gpus=options.gpus > 0), indent=2, ensure_ascii=False)
        _write(aside / "grafana" / "dashboards" / "triton.json", panels + "\n")
        _write(aside / _MODELS, "".join(f"{name}\n" for name in names))
        _write(aside / "README.md", guide(models, path, options))
        _let_containers_read(aside)
        _copy_scripts(aside)
        if (output / _OPERATORS_OWN).is_file():
            shutil.copy2(output / _OPERATORS_OWN, aside)
    return output


def _check_processors(models: list[ServedModel], options: DeploymentOptions) -> None:
    plans = [
        model.name
        for model in models
        if not options.gpus and any(str(model.versions[number].get("file")) == "model.plan" for number in model.served)
    ]
    if plans:
        raise DeploymentError(
            f"{', '.join(plans)}: a TensorRT plan needs a graphics processor; add deployment.gpus=1, "
            "or serve the model in another format"
        )


def _check_output(repository: Path, output: Path, overwrite: bool) -> None:
    if output == repository or output in repository.parents or repository in output.parents:
        raise DeploymentError(f"output={output} and repository={repository} lie in one another; choose another output")
    if output.is_dir() and any(output.iterdir()):
        if not overwrite:
            raise DeploymentError(f"output={output} exists; choose another folder, or replace it with overwrite=true")
        if not ((output / _COMPOSE).is_file() and (output / _MODELS).is_file()):
            raise DeploymentError(f"output={output} is no deployment folder, so it is not replaced; choose another one")
    elif output.exists() and not output.is_dir():
        raise DeploymentError(f"output={output} is a file; choose a folder")


def _path_for_compose(repository: Path, output: Path) -> str:
    """The repository as seen from the folder, so that both may be moved together.

    Raises:
        DeploymentError: the path has characters that compose takes for a variable's.
    """
    path = Path(os.path.relpath(repository, output)).as_posix()
    if any(character in path for character in "${}\n"):
        raise DeploymentError(f"repository={repository}: compose files cannot name a path with '$', '{{' or '}}' in it")
    return path


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    _write(path, yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _let_containers_read(folder: Path) -> None:
    """Prometheus and Grafana run as users of their own, whatever this user's mask."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _copy_scripts(folder: Path) -> None:
    for name in _SCRIPTS:
        with as_file(files("pixel_mm.exporters.deployment") / "files" / name) as source:
            shutil.copyfile(source, folder / name)
        (folder / name).chmod(0o755)
