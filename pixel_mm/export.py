"""Make a model folder of a run: the trained network as files that are deployed without it, each proven equal to it.

    python -m pixel_mm.export run=RUN_DIR output=DIR
    python -m pixel_mm.export run=RUN_DIR output=DIR formats=all
    python -m pixel_mm.export run=RUN_DIR target=triton repository=DIR name=emotion
    python -m pixel_mm.export target=fusion run=RUN_DIR output=DIR
    python -m pixel_mm.export target=deployment repository=DIR output=DIR

conf/target has what can be written: a model folder, a version of a model in a Triton repository (docs/triton.md), or
the folder that runs such a repository (docs/deployment.md).
The run folder is what pixel_mm.train wrote. docs/export.md says what the model folder holds and how to use it.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from pixel_mm.cli import explain, run
from pixel_mm.exporters.emotion_graph import EmotionGraph
from pixel_mm.exporters.fusion import describe_backbone, publish_fusion
from pixel_mm.exporters.publish import Format, publish
from pixel_mm.exporters.repository import ModelRepository
from pixel_mm.exporters.run_clips import RunClips
from pixel_mm.exporters.tensorrt import UNAVAILABLE
from pixel_mm.exporters.trained_network import describe_origin, load_network
from pixel_mm.model_folder import ModelFolder
from pixel_mm.models.emotion.network import EmotionRegressor
from pixel_mm.runs import RunFolder
from pixel_mm.training.fusion_task import load_fusion_network


class ExportError(ValueError):
    """Options that don't fit together; the message names them."""


def export_run(cfg: DictConfig, output: Path) -> ModelFolder:
    """Export as configured.

    Args:
        cfg: composed from conf/export.yaml.
        output: model folder to make.

    Raises:
        ExportError: the run trained a network of another task.
        RunError: `cfg.run` is no run folder, or has no checkpoint.
        ModelFolderError: `output` exists.
        CheckpointError: the checkpoint is damaged or does not fit the run's configuration.
        ParityError: an exported file is not the network; nothing was published.
    """
    folder = RunFolder(Path(cfg.run))
    network = load_network(folder, cfg.checkpoint)
    if not isinstance(network, EmotionRegressor):
        raise ExportError(f"run={folder.path} trained no emotion model; a recogniser's takes target=recognizer")
    graph = EmotionGraph(network, network.dimensions, network.emotion_labels)
    spec = graph.spec(cfg.name, describe_origin(folder))
    formats, clips = make_formats(cfg), find_clips(folder, cfg)
    return publish(graph, spec, output, formats, cfg.seed, read_metrics(folder), cfg.overwrite, clips)


def make_formats(cfg: DictConfig) -> dict[str, Format]:
    """The formats of a configuration, by name."""
    return {name: instantiate(node) for name, node in cfg.formats.items() if node is not None}


def find_clips(folder: RunFolder, cfg: DictConfig) -> RunClips | None:
    """Clips of a run's corpus, split as the run was; None, with a line on standard error, where they are not at hand.

    Args:
        folder: of the run.
        cfg: `clips` (null looks for none), `corpus_root`, `seed`.
    """
    if cfg.clips is None:
        return None
    config = folder.load_config()
    if "protocol" in config:
        print(
            "the run is a fold of an evaluation: its test clips are scored in the evaluation's report", file=sys.stderr
        )
        return None
    if cfg.corpus_root is not None:
        config.datamodule.corpus.root = cfg.corpus_root
    try:
        data = instantiate(config.datamodule)
        data.setup()
    except Exception as error:
        if (message := explain(error)) is None:
            raise
        print(f"no metric is measured on the exported files: {message}; corpus_root=DIR says where", file=sys.stderr)
        return None
    return RunClips(data, cfg.clips.max_measured, cfg.clips.max_calibration, cfg.seed)


def read_metrics(folder: RunFolder) -> dict[str, float]:
    """Metrics of a run that are numbers, by name; none while it is unfinished."""
    if not folder.metrics.is_file():
        return {}
    return {name: float(value) for name, value in folder.read_metrics().items() if value is not None}


def main(cfg: DictConfig) -> None:
    """Write what conf/target chose; called by Hydra."""
    instantiate(cfg.write)(cfg)


def write_model_folder(cfg: DictConfig) -> None:
    """Export one run, and say how well it went.

    Raises:
        SystemExit: with `UNAVAILABLE`.
    """
    folder = export_run(cfg, Path(cfg.output))
    complete = _report_parity(folder)
    print(f"model folder: {folder.path}")
    if not complete:
        raise SystemExit(UNAVAILABLE)


def write_triton_version(cfg: DictConfig) -> None:
    """Add a version to a model of a Triton repository: of a run, or of a model folder that was exported before.

    Raises:
        ExportError: neither or both were given, or the format is not among those that are exported.
        RepositoryError: the path is no repository, or the version does not fit the model's others.
        TritonConfigError: options that the server would ignore.
        SystemExit: with `UNAVAILABLE` where a required file cannot be made here; nothing was published.
    """
    if (cfg.run is None) == (cfg.model_folder is None):
        raise ExportError("give run=RUN_DIR, or model_folder=DIR that an earlier export wrote")
    if cfg.formats.get(cfg.format) is None:
        raise ExportError(f"format={cfg.format} is not among the formats; add formats=[onnx,{cfg.format}]")
    repository = ModelRepository(Path(cfg.repository), cfg.name)
    file, options = cfg.formats[cfg.format].file, instantiate(cfg.triton, _convert_="all")
    with tempfile.TemporaryDirectory() as scratch:
        if cfg.model_folder is not None:
            folder = ModelFolder(Path(cfg.model_folder))
        else:
            folder = export_run(cfg, Path(scratch, "model"))
            if not _report_parity(folder):
                raise SystemExit(UNAVAILABLE)
        version = repository.publish(folder, file, options, cfg.promote)
    served = ", ".join(str(number) for number in repository.manifest().served)
    print(f"{repository.path}: version {version} added, served: {served}")
    print(f"To try it: python -m pixel_mm.serve {repository.repository}")


def write_fusion_folder(cfg: DictConfig) -> None:
    """Export a fused run, and say how well it went.

    Raises:
        ExportError: the run trained no fusion, or was given voices in words, which nothing here makes.
        SystemExit: with `UNAVAILABLE`.
        ValueError: see `publish_fusion` and `load_fusion_network`.
    """
    run = RunFolder(Path(cfg.run))
    config = run.load_config()
    if not str(config.task._target_).endswith(".FusionTask"):
        raise ExportError(f"run={run.path} trained no fusion; leave out target=fusion, or see conf/target")
    if config.datamodule.describes:
        raise ExportError(f"run={run.path} read voices described in words, a baseline that is not deployed")
    network = load_fusion_network(run, cfg.checkpoint)
    backbone = describe_backbone(config.backbone, network.backbone.sha256)
    origin = describe_origin(run)
    if any(
        node is not None and node._target_.endswith(".ConstructedPairs") for node in config.datamodule.sources.values()
    ):
        origin = replace(origin, label_source="constructed")
    folder = publish_fusion(
        network, backbone, origin, Path(cfg.output), make_formats(cfg), config.datamodule.system, cfg.seed,
        read_metrics(run), cfg.overwrite,
    )  # fmt: skip
    complete = _report_parity(folder)
    print(f"model folder: {folder.path}")
    if not complete:
        raise SystemExit(UNAVAILABLE)


def _report_parity(folder: ModelFolder) -> bool:
    """Say how far each file is from the network, and what could not be made; whether all is there that was required."""
    console = Console(soft_wrap=True, highlight=False)
    report = json.loads(folder.parity.read_text(encoding="utf-8"))
    for file, parity in report["files"].items():
        largest = max(parity["largest_difference"].values())
        console.print(f"{file}: largest difference from the network {largest:.1e}, allowed {parity['tolerance']:g}")
    for missing in report["missing"].values():
        print(missing["why"], file=sys.stderr)
    return not any(missing["required"] for missing in report["missing"].values())


if __name__ == "__main__":
    run(main, config_name="export")
