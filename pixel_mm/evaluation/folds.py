"""Run the folds of a protocol, one after the other, so that an interruption costs one fold and no more.

    RUN/evaluation.json              what is evaluated: configuration and rows, with their hash
    RUN/folds/03/predictions.csv     there as soon as fold 3 is done, and never half

An evaluation that is started again in the same folder goes on with the folds that are left. Were its configuration
another, the folds would not belong together: it is refused.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

from pixel_mm.data.utterance import Utterance
from pixel_mm.evaluation.predictions import Predictions, join
from pixel_mm.evaluation.protocols import Fold
from pixel_mm.runs import write_json

PREDICTIONS = "predictions.csv"

# What changes where and how a fold is computed, but not what comes out.
_IRRELEVANT_GROUPS = frozenset(
    {
        "paths",
        "logger",
        "resume",
        "trunk_cache",
        "seeds",
        "keep_checkpoints",
        "jobs",
        "worst_clips",
        "model_folder",
    }
)
_IRRELEVANT_KEYS = frozenset(
    {
        "root",
        "dirpath",
        "folder",
        "folds",
        "num_workers",
        "cache_gigabytes",
        "max_bad_share",
        "accelerator",
        "devices",
        "num_nodes",
        "strategy",
        "default_root_dir",
        "enable_progress_bar",
        "enable_model_summary",
        "log_every_n_steps",
    }
)


class EvaluationChangedError(ValueError):
    """The folder holds folds of another evaluation."""


def describe(config: Mapping[str, Any], utterances: Sequence[Utterance]) -> dict[str, Any]:
    """What an evaluation depends on.

    Args:
        config: resolved configuration, plain dictionaries and lists.
        utterances: all rows, in order.

    Returns:
        `{"config": {dotted name: value}, "rows": SHA-256 of keys and labels, "hash": SHA-256 of both}`.
    """
    relevant = {name: value for name, value in config.items() if name not in _IRRELEVANT_GROUPS}
    flat = _flatten(relevant)
    rows = hashlib.sha256()
    for u in utterances:
        ratings = sorted((u.ratings or {}).items())
        rows.update(repr((u.key, u.speaker, u.emotion, ratings, u.label_source, u.split)).encode())
    content = {"config": flat, "rows": rows.hexdigest()}
    text = json.dumps(content, sort_keys=True, default=str)
    return {**content, "hash": hashlib.sha256(text.encode()).hexdigest()}


def claim(folder: Path, description: Mapping[str, Any]) -> None:
    """Make the folder this evaluation's, or see that it already is.

    Args:
        folder: of the evaluation, there or not.
        description: what `describe` gave.

    Raises:
        EvaluationChangedError: it holds another evaluation; says which options differ.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        write_json(path, json.loads(json.dumps(description, default=str)))
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if before["hash"] == description["hash"]:
        return
    old, new = before["config"], json.loads(json.dumps(description["config"], default=str))
    changed = [
        f"{name}: {old.get(name)} -> {new.get(name)}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]
    if before["rows"] != description["rows"]:
        changed.append("the corpus has other clips or labels")
    raise EvaluationChangedError(
        f"{folder} holds an evaluation with another configuration ({'; '.join(changed[:8])}). "
        "Give this one its own folder (paths.run=DIR), or delete that one"
    )


def fold_folder(folder: Path, fold: Fold, seed: int, first_seed: int) -> Path:
    """Where a fold lives: `folds/03`, and `folds/03-seed7` for further seeds."""
    return folder / "folds" / (f"{fold.number:02d}" if seed == first_seed else f"{fold.number:02d}-seed{seed}")


def run_folds(
    folds: Sequence[Fold],
    seeds: Sequence[int],
    folder: Path,
    train_and_predict: Callable[[Fold, int, Path], Predictions],
    tell: Callable[[str], None] = print,
    pool: Executor | None = None,
) -> Predictions:
    """Train and test every fold that isn't done yet, and gather all predictions.

    Args:
        folds: to run.
        seeds: each fold is trained once with each.
        folder: of the evaluation, claimed by `claim`.
        train_and_predict: of a fold, a seed and the fold's own folder; predicts exactly the fold's test rows.
        tell: gets a line per fold.
        pool: runs the folds, as many at once as it has workers; None runs one after the other, here.

    Returns:
        Predictions of all folds and seeds.
    """
    parts: dict[tuple[int, int], Predictions] = {}
    left: list[tuple[Fold, int, Path]] = []
    for seed in seeds:
        for fold in folds:
            place = fold_folder(folder, fold, seed, seeds[0])
            if (place / PREDICTIONS).is_file():
                tell(f"fold {fold.number}, seed {seed}: done before")
                parts[seed, fold.number] = Predictions.read(place / PREDICTIONS)
            else:
                left.append((fold, seed, place))

    def keep(fold: Fold, seed: int, place: Path, made: Predictions) -> None:
        made.write(place / PREDICTIONS)
        parts[seed, fold.number] = made
        tell(f"fold {fold.number}, seed {seed}: done, {len(parts)} of {len(seeds) * len(folds)}")

    if pool is None:
        for fold, seed, place in left:
            tell(f"fold {fold.number}, seed {seed}: {len(fold.train)} clips train, {len(fold.test)} test")
            keep(fold, seed, place, train_and_predict(fold, seed, place))
    else:
        running = {pool.submit(train_and_predict, *task): task for task in left}
        for future in as_completed(running):
            keep(*running[future], future.result())
    return join([parts[seed, fold.number] for seed in seeds for fold in folds])


def _flatten(value: Any, name: str = "") -> dict[str, Any]:
    """Nested dictionaries to dotted names, without what doesn't matter."""
    if not isinstance(value, Mapping):
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        if key not in _IRRELEVANT_KEYS:
            found.update(_flatten(item, f"{name}.{key}" if name else str(key)))
    return found
