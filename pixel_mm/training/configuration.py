"""The configuration as a run keeps it: every reference resolved, no secret in it."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixel_mm.environment import HIDDEN, hide_secrets, is_secret_name
from pixel_mm.runs import atomic_path


def write_config(cfg: DictConfig, path: Path) -> dict[str, Any]:
    """Write `cfg` as YAML, atomically.

    Args:
        cfg: composed configuration.
        path: file to write.

    Returns:
        What was written: plain dictionaries, references resolved, values of secret options and of secret environment
        variables replaced by `***`.

    Raises:
        MissingMandatoryValue: an option that must be given was not.
    """
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    hidden: dict[str, Any] = _without_secrets(plain)
    with atomic_path(path) as aside:
        aside.write_text(OmegaConf.to_yaml(OmegaConf.create(hidden)), encoding="utf-8")
    return hidden


def _without_secrets(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: HIDDEN if is_secret_name(str(name)) and isinstance(value, str) else _without_secrets(value)
            for name, value in node.items()
        }
    if isinstance(node, list):
        return [_without_secrets(value) for value in node]
    return hide_secrets(node) if isinstance(node, str) else node
