"""Recognisers trained, exported and checked through the commands' own functions, on a corpus made in a moment."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from pixel_mm.cli import CONFIG_DIR
from pixel_mm.export import ExportError, export_run
from pixel_mm.exporters.trained_network import describe_origin, load_network
from pixel_mm.models.speech_recognition.network import WhisperRecognizer
from pixel_mm.train import fit
from tests.training_runs import compose_train, same, tiny_overrides, weights

pytestmark = pytest.mark.weights  # the tokenizer is tiny.en's


def compose_context(corpus: Path, runs: Path, *overrides: str):
    return compose_train(
        "experiment=whisper_dynamic_context",
        *tiny_overrides(corpus, runs),
        "recognizer=whisper_micro_random",
        "crops.crops_per_clip=1",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "datamodule.split.fractions={validation: 0.25, test: 0.25}",
        *overrides,
    )


@pytest.mark.slow
def test_dynamic_context_trains_and_comes_back_from_its_run(tone_corpus: Path, tmp_path: Path) -> None:
    cfg = compose_context(tone_corpus, tmp_path)
    untrained = {name: tensor.clone() for name, tensor in instantiate(cfg.model).state_dict().items()}
    result = fit(cfg)
    assert {"validation/loss", "validation/frame_loss", "validation/token_loss", "test/loss"} <= result.metrics.keys()
    network = load_network(result.run_folder)
    assert isinstance(network, WhisperRecognizer)
    assert network.context == "short"
    assert same(network.state_dict(), weights(result))
    assert not same(network.state_dict(), untrained)
    origin = describe_origin(result.run_folder)
    assert (origin.label_source, origin.encoder) == ("transcripts", "WhisperEncoder from random weights")
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        export = compose("export", [f"run={result.run_folder.path}", f"output={tmp_path / 'model'}"])
    with pytest.raises(ExportError, match="trained no emotion model; a recogniser's takes target=recognizer"):
        export_run(export, tmp_path / "model")
    kept = sorted((tmp_path / "cache" / "lessons").rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in kept]
    again = fit(compose_context(tone_corpus, tmp_path, "resume=null"))
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert torch.equal(*(weights(each)["encoder.conv1.weight"] for each in (result, again)))
