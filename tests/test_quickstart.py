import json
import sys
from io import StringIO
from pathlib import Path

import pytest
from hydra.utils import instantiate
from rich.console import Console

from pixel_mm import quickstart
from pixel_mm.data.utterance import Utterance
from pixel_mm.quickstart import Cost, QuickstartError, main, run_command, show, unheard_clip
from pixel_mm.runs import RunFolder

CLIP = Utterance(
    path=Path("wav/f1_anger_00.wav"),
    speaker="synthetic_f1",
    emotion="anger",
    ratings={"valence": 0.245, "arousal": 0.795, "dominance": 0.625},
    label_source="mapped",
)


def test_a_command_is_shown_before_it_runs_and_its_failure_ends_the_quickstart() -> None:
    shown = StringIO()
    console = Console(file=shown, width=200)
    assert run_command(["-c", "print('hello world')"], console, capture=True) == "hello world\n"
    assert "$ python -c" in shown.getvalue()
    with pytest.raises(
        QuickstartError, match=r"python -c 'import sys; sys.exit\(3\)'\nended with exit code 3"
    ) as caught:
        run_command(["-c", "import sys; sys.exit(3)"], console)
    assert caught.value.code == 3


def test_the_clip_is_of_a_speaker_who_was_not_trained_on(tone_corpus: Path, tmp_path: Path) -> None:
    split = {"_target_": "pixel_mm.data.splits.hold_out", "_partial_": True, "fractions": {"test": 0.3}, "seed": 1}
    corpus = {
        "_target_": "pixel_mm.data.corpora.manifest.Manifest",
        "root": str(tone_corpus / "manifest.csv"),
        "label_source": "mapped",
    }
    content = {"data": {"corpus": corpus}, "datamodule": {"split": split}}
    (tmp_path / "config.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    utterances = instantiate(corpus).read()
    trained_on = {utterances[row].speaker for row in instantiate(split)(utterances).train}
    clip = unheard_clip(RunFolder(tmp_path))
    assert clip.speaker not in trained_on
    assert clip.emotion == "anger"


def test_the_table_says_that_the_speech_is_synthetic(tmp_path: Path) -> None:
    entry = {"ua": 0.71, "accuracy": 0.7, "majority": 0.2, "ci95": [0.6, 0.8]}
    scores = dict.fromkeys(("arousal", "valence", "emotion"), entry)
    metrics = {
        "num_clips": 320,
        "num_speakers": 8,
        "folds": {"run": [0, 1, 2, 3], "of": 4},
        "scores": scores,
        "ccc": {"valence": 0.61, "arousal": 0.82, "dominance": None, "label_source": "mapped"},
        "baselines": {
            "majority": {name: {"ua": 0.2} for name in scores},
            "loudness_only": {
                "scores": {**dict.fromkeys(scores, entry), "emotion": None},
                "ccc": {"valence": 0.0, "arousal": None, "dominance": None},
            },
        },
    }
    report = tmp_path / "evaluation" / "report"
    report.mkdir(parents=True)
    (report / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    scored = {"model": {"synthetic": True}, "files": [{"scores": {"arousal": 0.81}, "emotion": "anger"}]}
    shown = StringIO()
    show(tmp_path, CLIP, scored, Cost(187.0, 1.26), Console(file=shown, width=200))
    text = shown.getvalue()
    for expected in (
        "synthetic speech: 320 clips, 8 speakers, 4 speaker-disjoint folds",
        "CCC, valence (mapped)",
        "nothing about people",
        "3 min 7 s in all; the largest process held 1.3 GiB",
        str(tmp_path / "model"),
    ):
        assert expected in text
    row = next(line for line in text.splitlines() if "arousal (0..1)" in line)
    assert [cell.strip() for cell in row.split("│")[2:4]] == ["0.810", "0.795"]


def test_a_folder_that_is_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path)])
    assert "has something in it" in capsys.readouterr().err


def test_the_exit_code_is_that_of_the_step_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "run_steps", lambda *_: run_command(["-c", "raise SystemExit(2)"], Console()))
    assert main(["--output", str(tmp_path / "new")]) == 2


@pytest.mark.slow
@pytest.mark.weights
def test_a_small_quickstart_runs_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The real steps with real weights on few synthetic clips; the second start finds the corpus and the states."""
    monkeypatch.chdir(tmp_path)
    corpus = ["data.corpus.clips=40", f"data.root={tmp_path / 'corpus'}", f"paths.cache={tmp_path / 'cache'}"]
    for folder in ("one", "two"):
        options = [*corpus, "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
        assert main(["--output", folder, *options]) == 0
        for path in ("train/config.yaml", "evaluation/report/report.md", "model/model.onnx"):
            assert (tmp_path / folder / path).is_file()
    text = capfd.readouterr().out
    assert text.count("$ python -m pixel_mm.") == 8
    assert text.count("synthetic speech: 40 clips, 8 speakers, 4 speaker-disjoint folds") == 2
    assert sys.executable not in text  # what is shown can be typed
