import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import emotion_accuracy
from benchmarks.emotion_accuracy import EMODB, RAVDESS, Outcome, accuracy_measures, main, not_run, time_measure, timed

ENTRY = {"ua": 0.953, "accuracy": 0.951, "majority": 0.237, "ci95": [0.921, 0.973]}
GUESS = {"ua": 0.143, "accuracy": 0.237}
SCORES = dict.fromkeys(("emotion", "arousal", "valence"), ENTRY)


def outcome(folds_run: int = 10, starts: int = 1) -> Outcome:
    metrics = {
        "protocol": "leave_one_speaker_out",
        "corpus": "EmoDB",
        "num_clips": 535,
        "num_speakers": 10,
        "seeds": [1],
        "folds": {"run": list(range(folds_run)), "of": 10},
        "scores": SCORES,
        "ccc": {"valence": 0.8, "arousal": 0.9, "dominance": 0.7, "label_source": "mapped"},
        "baselines": {"majority": dict.fromkeys(SCORES, GUESS), "loudness_only": {"scores": SCORES}},
        "per_class": {"anger": {}, "boredom": {}},
    }
    return Outcome(metrics, "openai/whisper-base", 3000.0, starts)


def test_the_whole_protocol_is_held_against_its_targets() -> None:
    by_id = {measure.id: measure for measure in accuracy_measures(EMODB, outcome(), quick=False)}
    ua = by_id["1-emodb-emotion-ua"]
    assert (ua.value, ua.unit, ua.target, ua.interval, ua.reached) == (95.3, "%", ">= 95", (92.1, 97.3), True)
    assert "10 of 10 folds, 535 clips, 10 speakers, 1 seed(s), openai/whisper-base encoder" in ua.what
    assert by_id["1-emodb-arousal-ua"].reached is False
    assert by_id["1-emodb-emotion-majority"].value == 23.7
    assert by_id["1-emodb-emotion-loudness"].value == 95.3
    assert "mapped" in by_id["1-emodb-ccc-valence"].what
    assert time_measure(outcome(), quick=False).reached is True


@pytest.mark.parametrize(("folds", "quick"), [(9, False), (10, True)])
def test_some_folds_or_a_smoke_run_reach_no_target(folds: int, quick: bool) -> None:
    measures = [*accuracy_measures(EMODB, outcome(folds), quick), time_measure(outcome(folds), quick)]
    assert {measure.target for measure in measures} == {None}


def test_a_corpus_that_is_not_there_is_named_as_not_run() -> None:
    measure = not_run(RAVDESS)
    assert (measure.value, measure.reached) == (None, None)
    assert "NOT RUN" in measure.what
    assert "--ravdess-root" in measure.what


def test_the_time_of_a_killed_start_counts(tmp_path: Path) -> None:
    clock = tmp_path / "clock.json"
    waits = iter([subprocess.TimeoutExpired("x", 1), KeyboardInterrupt()])

    def killed(_: float) -> None:
        raise next(waits)

    with pytest.raises(KeyboardInterrupt):
        timed(killed, clock)
    assert len(json.loads(clock.read_text())) == 1
    assert len(timed(lambda _: None, clock)) == 2


def test_nothing_to_measure_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path / "r.json"), "--emodb-root", str(tmp_path / "a"), "--ravdess-root", "b"])
    assert "nothing to measure on" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.data
def test_a_smoke_run_on_real_recordings_is_resumed(few_emodb: Path, tmp_path: Path) -> None:
    """Tiny network, two folds; the second start finds them done."""
    tiny = ["encoder=whisper_micro_random", "encoder.num_layers=6", "trainer.accelerator=cpu"]  # the recipe names six
    tiny += ["data.corpus.allow_incomplete=true"]
    arguments = ["--quick", "--output", str(tmp_path / "r.json"), "--work-dir", str(tmp_path / "work"), *tiny]
    arguments += ["--emodb-root", str(few_emodb), "--ravdess-root", str(tmp_path / "absent")]
    for starts in (1, 2):
        main(arguments)
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["quick"] is True
        by_id = {measure["id"]: measure for measure in report["measures"]}
        assert by_id["1-emodb-emotion-ua"]["value"] > 0
        assert "2 of 10 folds" in by_id["1-emodb-emotion-ua"]["what"]
        assert ("sum of 2 starts" in by_id["2"]["what"]) == (starts == 2)


def test_the_recipe_is_the_same_for_both_corpora(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands = []

    class Stopped:
        returncode = 2

        def __init__(self, command: list[str]) -> None:
            commands.append(command)

        def wait(self, timeout: float | None = None) -> int:
            return 2

        def terminate(self) -> None:
            pass

    monkeypatch.setattr(subprocess, "Popen", Stopped)
    for task in (EMODB, RAVDESS):
        with pytest.raises(SystemExit):
            emotion_accuracy.evaluate(task, tmp_path, tmp_path / task.name, ["jobs=2"])
    both = [[word for word in command if not word.startswith(("data", "paths", "protocol"))] for command in commands]
    assert both[0] == both[1]
    assert both[0][-1] == "jobs=2"
