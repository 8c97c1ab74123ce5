"""The export command on runs that were really trained, with the smallest encoder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from pixel_mm import cli, export
from pixel_mm.cli import CONFIG_DIR, USER_ERROR
from pixel_mm.export import export_run, find_clips
from pixel_mm.exporters.publish import Format
from pixel_mm.exporters.source import Source
from pixel_mm.exporters.tensorrt import UnavailableError
from pixel_mm.exporters.trained_network import describe_origin, load_network
from pixel_mm.inference.audio_emotion_recognition import AudioEmotionRecognizer
from pixel_mm.model_folder import ModelFolder
from pixel_mm.models.checkpoint import CheckpointError
from pixel_mm.runs import RunError, RunFolder
from pixel_mm.train import fit
from tests.training_runs import compose_tiny


def compose_export(run: Path, output: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose("export", [f"run={run}", f"output={output}", *overrides])


def export_as_configured(cfg: DictConfig) -> ModelFolder:
    return export_run(cfg, Path(cfg.output))


@pytest.fixture(scope="module")
def run_folder(tone_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return fit(compose_tiny(tone_corpus, tmp_path_factory.mktemp("run") / "a")).run_folder


@pytest.fixture
def copied(run_folder: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(run_folder.path, tmp_path / "run"))


def without_onnx(run: Path, output: Path) -> DictConfig:
    cfg = compose_export(run, output)
    cfg.formats.onnx = None  # the slow one
    return cfg


@pytest.mark.slow  # ONNX export takes ten seconds of processor time, whatever the network
def test_a_run_becomes_a_model_folder_that_scores_as_the_network_does(run_folder: RunFolder, tmp_path: Path) -> None:
    folder = export_as_configured(compose_export(run_folder.path, tmp_path / "model"))
    spec = folder.open()
    assert set(spec.files) == {"model.onnx", "model.pt", "parity.json", "README.md"}
    assert spec.provenance.label_source == "mapped"
    assert spec.provenance.synthetic is False
    assert spec.provenance.corpus == "manifest manifest.csv"
    assert "validation/loss" in folder.card.read_text()
    report = json.loads(folder.parity.read_text())
    assert report["network"]["metrics"]["ua"] == pytest.approx(run_folder.read_metrics()["test/ua"], abs=1e-6)
    assert report["files"]["model.onnx"]["metrics"].keys() == report["network"]["metrics"].keys()

    waveform = np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)
    estimate = AudioEmotionRecognizer.load(folder.path, num_threads=1)(waveform, 16_000)
    network = load_network(run_folder)
    with torch.no_grad():
        expected = network(torch.from_numpy(waveform)[None], torch.tensor([20_000]))
    scores = dict(zip(network.dimensions, expected.scores[0].tolist(), strict=True))
    probabilities = dict(zip(network.emotion_labels, expected.emotion_logits[0].softmax(0).tolist(), strict=True))
    assert estimate.scores == pytest.approx(scores, abs=1e-4)
    assert estimate.emotions == pytest.approx(probabilities, abs=1e-4)


def test_the_metric_is_measured_on_test_clips_and_calibrated_on_training_clips(run_folder: RunFolder) -> None:
    clips = find_clips(
        run_folder, compose_export(run_folder.path, run_folder.path / "model", "clips.max_calibration=5")
    )
    assert clips is not None
    data = instantiate(run_folder.load_config().datamodule)
    assert clips.part == "test"
    assert len(clips.num_samples) == len(data.parts.train)
    calibrated = list(clips.calibration())
    assert len(calibrated) == 5
    waveforms = [next(iter(data.loader([row]))).waveform.numpy() for row in data.parts.train]
    for inputs in calibrated:
        assert any(np.array_equal(inputs["waveform"], waveform) for waveform in waveforms)


@pytest.mark.parametrize("root", ["moved", "moved and told"])
def test_a_corpus_that_is_not_there_costs_the_metric_only(
    copied: RunFolder, tone_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], root: str
) -> None:
    config = OmegaConf.load(copied.config)
    config.datamodule.corpus.root = "/nowhere/manifest.csv"
    OmegaConf.save(config, copied.config)
    cfg = without_onnx(copied.path, tmp_path / "model")
    if root == "moved and told":
        cfg.corpus_root = str(tone_corpus / "manifest.csv")
    report = json.loads(export_as_configured(cfg).parity.read_text())
    if root == "moved":
        assert "no metric is measured" in capsys.readouterr().err
        assert report["network"] == {"part": None, "metrics": {}}
    else:
        assert report["files"]["model.pt"]["metrics"]["num_clips"] > 0


def test_a_fold_of_an_evaluation_measures_nothing(copied: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    config = OmegaConf.load(copied.config)
    OmegaConf.save(OmegaConf.merge(config, {"protocol": {"jobs": 1}}), copied.config)
    assert find_clips(copied, compose_export(copied.path, copied.path / "model")) is None
    assert "evaluation's report" in capsys.readouterr().err
    cfg = compose_export(copied.path, copied.path / "model", "clips=null")
    assert find_clips(copied, cfg) is None
    assert capsys.readouterr().err == ""


def test_formats_are_chosen_by_name(tmp_path: Path) -> None:
    def chosen(*overrides: str) -> set[str]:
        return set(compose_export(tmp_path, tmp_path / "model", *overrides).formats)

    assert chosen() == {"onnx", "torchscript"}
    assert chosen("formats=[onnx_int8,onnx_fp16]") == {"onnx_int8", "onnx_fp16"}
    assert chosen("formats=tensorrt") == {"onnx_fp16", "tensorrt"}
    files = {path.stem for path in (CONFIG_DIR / "formats").glob("*.yaml")}
    assert chosen("formats=all") == files - {"all"}


@pytest.mark.parametrize(("required", "code"), [(True, 3), (False, None)])
def test_what_this_machine_cannot_make_has_its_own_exit_code_where_it_was_asked_for(
    run_folder: RunFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    required: bool,
    code: int | None,
) -> None:
    def unavailable(source: Source, path: Path) -> None:
        raise UnavailableError("model.plan was not built: there is no GPU")

    def formats(cfg: DictConfig) -> dict[str, Format]:
        script = instantiate(cfg.formats.torchscript)
        return {
            "torchscript": script,
            "plan": replace(script, file="model.plan", export=unavailable, required=required),
        }

    monkeypatch.setattr(export, "make_formats", formats)
    arguments = ["export", f"run={run_folder.path}", f"output={tmp_path / 'model'}", "clips=null"]
    monkeypatch.setattr("sys.argv", arguments)
    if code is None:
        cli.run(export.main, config_name="export")
    else:
        with pytest.raises(SystemExit) as left:
            cli.run(export.main, config_name="export")
        assert left.value.code == code == export.UNAVAILABLE
    printed = capsys.readouterr()
    assert printed.err == "model.plan was not built: there is no GPU\n"
    assert ModelFolder(tmp_path / "model").open("model.pt")
    assert not (tmp_path / "model" / "model.plan").exists()


def test_the_trained_weights_are_what_is_exported(run_folder: RunFolder) -> None:
    content = torch.load(run_folder.best_checkpoint, weights_only=True)["pixel_mm"]
    parameters = dict(load_network(run_folder).named_parameters())
    assert content["weights"]
    for name, value in content["weights"].items():
        torch.testing.assert_close(parameters[name], value, rtol=0, atol=0)


def test_adapters_are_merged_and_change_nothing(tone_corpus: Path, tmp_path: Path) -> None:
    result = fit(compose_tiny(tone_corpus, tmp_path / "lora", "adaptation=lora"))
    network = load_network(result.run_folder, "last")
    assert not [name for name, _ in network.named_parameters() if "lora" in name]
    waveform, num_samples = torch.randn(1, 16_000) * 0.1, torch.tensor([16_000])
    with torch.no_grad():
        trained = result.module.network.eval()(waveform, num_samples)
        torch.testing.assert_close(network(waveform, num_samples).scores, trained.scores, rtol=0, atol=1e-5)
    folder = export_as_configured(without_onnx(result.run_folder.path, tmp_path / "model"))
    assert folder.torchscript.is_file()


def test_an_unfinished_run_can_be_exported_and_its_card_shows_no_metrics(copied: RunFolder, tmp_path: Path) -> None:
    copied.metrics.unlink()
    copied.environment.unlink()
    folder = export_as_configured(without_onnx(copied.path, tmp_path / "model"))
    assert folder.open().provenance.commit == "unknown"
    assert "Measured by the training run" not in folder.card.read_text()


def test_a_run_folder_without_a_checkpoint_is_named(copied: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree(copied.path / "checkpoints")
    with pytest.raises(RunError, match=f"{copied.path} has no checkpoint"):
        export_as_configured(compose_export(copied.path, tmp_path / "model"))
    with pytest.raises(RunError, match="does not exist"):
        export_as_configured(compose_export(tmp_path / "nowhere", tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_of_another_network_is_refused(copied: RunFolder, tmp_path: Path) -> None:
    config = OmegaConf.load(copied.config)
    config.model.projection_size = 24
    OmegaConf.save(config, copied.config)
    with pytest.raises(CheckpointError, match="another architecture"):
        export_as_configured(compose_export(copied.path, tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_frozen_weights_other_than_the_runs_are_refused(tone_corpus: Path, tmp_path: Path) -> None:
    run = fit(compose_tiny(tone_corpus, tmp_path / "frozen", "adaptation=frozen")).run_folder
    load_network(run)  # random frozen weights come back from the run's own seed
    config = OmegaConf.load(run.config)
    config.seed = 2
    OmegaConf.save(config, run.config)
    with pytest.raises(CheckpointError, match="other frozen weights"):
        load_network(run)


def test_synthetic_speech_is_told_apart(copied: RunFolder) -> None:
    config = yaml.safe_load(copied.config.read_text())
    config["data"]["corpus"]["_target_"] = "pixel_mm.data.corpora.synthetic.SyntheticCorpus"
    copied.config.write_text(yaml.safe_dump(config))
    assert describe_origin(copied).synthetic is True
    assert describe_origin(copied).corpus == "synthetic"


def test_the_command_prints_where_the_model_is(
    run_folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "model"
    arguments = ["export", f"run={run_folder.path}", f"output={output}", "formats.onnx=null"]
    monkeypatch.setattr("sys.argv", arguments)
    cli.run(export.main, config_name="export")
    printed = capsys.readouterr().out
    assert f"model folder: {output}" in printed
    assert "model.pt: largest difference" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # no logs or outputs folder beside it
    parity = json.loads((output / "parity.json").read_text())
    with pytest.raises(SystemExit) as left:
        cli.run(export.main, config_name="export")
    assert left.value.code == USER_ERROR
    assert "overwrite=true" in capsys.readouterr().err
    assert json.loads((output / "parity.json").read_text()) == parity
