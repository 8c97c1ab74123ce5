"""Evaluate a recipe on speakers it has not learnt from, or a finished model's behaviour.

    python -m pixel_mm.evaluate experiment=emotion data=emodb data.root=DIR protocol=leave_one_speaker_out
    python -m pixel_mm.evaluate experiment=emotion data=emodb data.root=DIR protocol.folds=[0,3] jobs=2
    python -m pixel_mm.evaluate experiment=emotion data=ravdess data.root=DIR protocol=k_fold protocol.num_folds=6
    python -m pixel_mm.evaluate experiment=emotion data=emodb data.root=DIR protocol=cross_corpus \
        data@test_data=ravdess test_data.root=DIR
    python -m pixel_mm.evaluate suite=emotion_behaviour model_folder=DIR data=emodb data.root=DIR
    python -m pixel_mm.evaluate suite=speech_recognition model_folder=DIR data=librispeech data.root=DIR
    python -m pixel_mm.evaluate suite=word_confidence model_folder=DIR data=librispeech data.root=DIR

The report lands in `report/` of the run folder (`paths.run`). The same command again goes on with the folds
that are left. docs/evaluation.md says what the numbers mean.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixel_mm.cli import run
from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.evaluation.behaviours import run_suite
from pixel_mm.evaluation.fold_training import FoldTrainer, Trainer
from pixel_mm.evaluation.folds import claim, describe, run_folds
from pixel_mm.evaluation.jobs import FoldJob, processes, train_fold
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.evaluation.preparation import EvaluateError, Preparation
from pixel_mm.evaluation.protocols import Fold
from pixel_mm.evaluation.summary import plane_points, summarise
from pixel_mm.evaluation.tracking import track
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.reports.behaviour_report import write_behaviour_report
from pixel_mm.reports.emotion_report import write_emotion_report
from pixel_mm.runs import RunFolder
from pixel_mm.train import begin, build_module, fit
from pixel_mm.training.trunk import use_trunk_cache

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig, train: Trainer) -> dict[str, Any]:
    """Train and test by a protocol and write the report.

    Args:
        cfg: composed from conf/evaluate.yaml.
        train: trains one fold; see `fold_training.Trainer`.

    Returns:
        Content of `report/metrics.json`.

    Raises:
        ValueError: a protocol that these rows cannot be put under, or a folder that holds another evaluation.
    """
    folder = Path(cfg.paths.run)
    prepared = Preparation(cfg)
    seeds = list(cfg.seeds)
    data = prepared.data(seeds[0])
    folds = prepared.protocol.folds(data.utterances)
    chosen = prepared.protocol.select(folds)
    plain = OmegaConf.to_container(cfg, resolve=True)
    description = describe(plain, data.utterances)  # type: ignore[arg-type]  # a DictConfig gives a dict
    claim(folder, description)
    begin(RunFolder(folder), cfg, [])
    with processes(cfg.jobs) as pool:
        if pool is None:
            run_fold: Callable[[Fold, int, Path], Predictions] = partial(
                train_fold, FoldTrainer(cfg, prepared.data, train)
            )
        else:
            for seed in seeds:
                prepare_trunk(cfg, seed, prepared.data(seed))
            run_fold = FoldJob(cfg, train)
        table = run_folds(chosen, seeds, folder, run_fold, tell=log.info, pool=pool)
    metrics = summarise(
        table,
        prepared.protocol.name,
        prepared.title,
        chosen,
        len(folds),
        prepared.data(seeds[0]),
        description["hash"],
        num_worst_clips=cfg.worst_clips,
    )
    report = folder / "report"
    table.write(report / "predictions.csv")
    write_emotion_report(report, metrics, plane_points(table))
    track(cfg, metrics, table)
    return metrics


def prepare_trunk(cfg: DictConfig, seed: int, data: SpeechDataModule) -> None:
    """Run the frozen trunk on all clips, so that no two folds do."""
    seeded = cfg.copy()
    seeded.seed = seed
    use_trunk_cache(seeded, build_module(seeded, data).network, data, torch.device("cpu"))


def train_network(cfg: DictConfig, data: SpeechDataModule) -> EmotionRegressor:
    """Train one fold with `pixel_mm.train.fit`."""
    network = fit(cfg, data).module.network
    assert isinstance(network, EmotionRegressor)
    return network


def check_behaviour(cfg: DictConfig) -> bool:
    """Run a behaviour suite over a model folder and write the report.

    Returns:
        Whether the model passed all of it.

    Raises:
        EvaluateError: no model folder was given.
    """
    if cfg.model_folder is None:
        raise EvaluateError("suite needs a model to look at: give model_folder=DIR, as pixel_mm.export wrote it")
    corpus: Corpus = instantiate(cfg.data.corpus)
    recognizer = AudioEmotionRecognizer.load(cfg.model_folder)
    findings = run_suite(cfg.suite, recognizer.batch, corpus.read())
    report = Path(cfg.paths.run) / "report"
    write_behaviour_report(report, findings, model=recognizer.spec.name, corpus=corpus.title)
    return all(check["passed"] is not False for check in findings["checks"])


def main(cfg: DictConfig) -> None:
    """Evaluate one configuration; called by Hydra.

    Nothing is returned to a sweeper: choosing a configuration by its test folds would make their figures worthless.
    """
    cfg.paths.run = HydraConfig.get().runtime.output_dir
    report = Path(cfg.paths.run) / "report" / "report.md"
    if cfg.get("suite") is not None:
        begin(RunFolder(Path(cfg.paths.run)), cfg, [])
        passed = instantiate(cfg.suite.check)(cfg)
        log.info("%s: %s", "passed" if passed else "NOT passed", report)
        return
    metrics = evaluate(cfg, train_network)
    for name, entry in metrics["scores"].items():
        if entry:
            log.info(
                "%s: UA %.1f %%, accuracy %.1f %%, majority %.1f %%",
                name,
                *(100 * entry[key] for key in ("ua", "accuracy", "majority")),
            )
    log.info("report: %s", report)


if __name__ == "__main__":
    run(main, config_name="evaluate")
