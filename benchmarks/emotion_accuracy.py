"""How well the emotion recipe hears speakers that it has learnt nothing from, and how long that takes to find out.

    python -m benchmarks.emotion_accuracy --output benchmarks/results/emotion_accuracy.json

  1  UA of emotion, arousal and valence: EmoDB, leave one speaker out (10 folds); and, where --ravdess-root has it,
     RAVDESS, 6 speaker-disjoint folds, 8 emotions, with the recipe unchanged. Beside each: accuracy, majority rate,
     95 % interval over speakers, and what loudness alone gets
  2  wall time of the ten EmoDB folds from a cold trunk cache, from the start of the command to its report

Runs `python -m pixel_mm.evaluate experiment=emotion`. Takes up to an hour for EmoDB and some three for RAVDESS on two
cores, and about 4 GiB; --quick runs two folds of one epoch each, without augmentation. Interrupted, the same command
goes on with the folds that are left; its time then is the sum of all starts. Options of pixel_mm.evaluate may follow.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmarks.report import Measure, print_table, write_report
from pixel_mm.runs import write_json

QUICK = ("protocol.folds=[0,3]", "trainer.max_epochs=1", "augment=none")
_HEARTBEAT_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """A corpus, the protocol it is tested by, and what has to be reached.

    Attributes:
        name: of the corpus, as in `data=NAME`.
        protocol: options of pixel_mm.evaluate.
        targets: UA in percent to reach, by decision.
        published: what an emotion UA is to be compared with.
    """

    name: str
    protocol: tuple[str, ...]
    targets: Mapping[str, str]
    published: str


EMODB = Task(
    "emodb",
    ("protocol=leave_one_speaker_out",),
    {"emotion": ">= 95", "arousal": ">= 98", "valence": ">= 92"},
    "92.6 %, the best published figure with frozen features (a 317 M encoder)",
)
RAVDESS = Task(
    "ravdess",
    ("protocol=k_fold", "protocol.num_folds=6"),
    {"emotion": ">= 80"},
    "75.3 %, the best published figure with frozen features (a 635 M encoder)",
)


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave.

    Attributes:
        metrics: content of its report/metrics.json.
        encoder: published model that it starts from.
        seconds: wall time of all its starts together.
        starts: how often it was started.
    """

    metrics: Mapping[str, Any]
    encoder: str
    seconds: float
    starts: int


def evaluate(task: Task, root: Path, folder: Path, options: Sequence[str]) -> Outcome:
    """Run the evaluation's folds that are left, as a user would.

    Args:
        task: what to evaluate.
        root: of the corpus.
        folder: keeps folds, trunk cache and times between starts.
        options: further ones of pixel_mm.evaluate.

    Raises:
        SystemExit: the command failed; its message is on the terminal.
    """
    run = folder / "evaluation"
    places = [f"data.root={root}", f"paths.run={run}", f"paths.cache={folder / 'cache'}"]
    recipe = ["experiment=emotion", f"data={task.name}", *task.protocol, *places, "trainer.enable_progress_bar=false"]
    command = [sys.executable, "-m", "pixel_mm.evaluate", *recipe, *options]
    process = subprocess.Popen(command)
    clock = folder / "wall_seconds.json"
    try:
        seconds = timed(process.wait, clock)
    finally:
        process.terminate()
        process.wait()
    if process.returncode:
        raise SystemExit(process.returncode)
    metrics = json.loads((run / "report" / "metrics.json").read_text(encoding="utf-8"))
    encoder = OmegaConf.select(OmegaConf.load(run / "config.yaml"), "encoder.weights.hub")
    return Outcome(metrics, encoder or "random weights", sum(seconds), len(seconds))


def timed(wait: Callable[[float], object], clock: Path) -> list[float]:
    """Wait for a process, and write down every few seconds how long it has taken, so that a kill loses no time.

    Args:
        wait: returns when the process has ended, or raises `subprocess.TimeoutExpired` after so many seconds.
        clock: JSON file with the seconds of every start; the time of this one is added to it.

    Returns:
        Seconds of every start, this one last.
    """
    before = json.loads(clock.read_text(encoding="utf-8")) if clock.is_file() else []
    start, ended = time.monotonic(), False
    while not ended:
        try:
            wait(_HEARTBEAT_SECONDS)
            ended = True
        except subprocess.TimeoutExpired:
            pass
        write_json(clock, [*before, time.monotonic() - start])
    found: list[float] = json.loads(clock.read_text(encoding="utf-8"))
    return found


def accuracy_measures(task: Task, outcome: Outcome, quick: bool) -> list[Measure]:
    """Measure 1 of one corpus. Targets are held against whole protocols only."""
    metrics = outcome.metrics
    folds = metrics["folds"]
    judged = not quick and len(folds["run"]) == folds["of"]
    setting = (
        f"{metrics['corpus']}, {metrics['protocol']}, {len(folds['run'])} of {folds['of']} folds, "
        f"{metrics['num_clips']} clips, {metrics['num_speakers']} speakers, {len(metrics['seeds'])} seed(s), "
        f"{outcome.encoder} encoder"
    )
    loudness, guessing = metrics["baselines"]["loudness_only"]["scores"], metrics["baselines"]["majority"]
    measures = []
    for name in ("emotion", "arousal", "valence"):
        entry, start = metrics["scores"][name], f"1-{task.name}-{name}"
        what = f"{name} ({len(metrics['per_class'])} classes)" if name == "emotion" else name
        measures += [
            Measure(
                f"{start}-ua",
                f"UA of {what}: {setting}",
                _percent(entry["ua"]),
                "%",
                task.targets.get(name) if judged else None,
                tuple(_percent(limit) for limit in entry["ci95"]) if entry["ci95"] else None,  # type: ignore[arg-type]  # two
                task.published if name == "emotion" else None,
            ),
            Measure(f"{start}-accuracy", f"accuracy of {what}", _percent(entry["accuracy"]), "%"),
            Measure(f"{start}-majority", f"majority rate of {what}", _percent(entry["majority"]), "%"),
            Measure(f"{start}-guessing", f"UA of {what}, always the same answer", _percent(guessing[name]["ua"]), "%"),
            Measure(f"{start}-loudness", f"UA of {what}, from loudness alone", _percent(loudness[name]["ua"]), "%"),
        ]
    source = metrics["ccc"]["label_source"]
    return measures + [
        Measure(f"1-{task.name}-ccc-{name}", f"CCC of {name}, {source} labels", value, "CCC")
        for name, value in metrics["ccc"].items()
        if name != "label_source"
    ]


def _percent(share: float) -> float:
    return round(100 * share, 2)


def time_measure(outcome: Outcome, quick: bool) -> Measure:
    """Measure 2."""
    folds = outcome.metrics["folds"]
    whole = not quick and len(folds["run"]) == folds["of"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    starts = "" if outcome.starts == 1 else f", sum of {outcome.starts} starts"
    what = (
        f"wall time of {len(folds['run'])} of {folds['of']} EmoDB folds from a cold trunk cache, from the start of the "
        f"command to its report, {cores} cores{starts}"
    )
    return Measure("2", what, round(outcome.seconds / 60, 2), "min", "<= 60" if whole else None)


def not_run(task: Task) -> Measure:
    """Says that a corpus was not at hand."""
    target = f"target: emotion UA {task.targets['emotion']} %"
    what = f"NOT RUN here, for lack of the recordings ({target}); --{task.name}-root=DIR runs it"
    return Measure(f"1-{task.name}-emotion-ua", what, None, "%", None, None, task.published)


def default_root(name: str) -> Path | None:
    """Folder of a corpus below PIXEL_MM_DATA, if that is set."""
    data = os.environ.get("PIXEL_MM_DATA")
    return Path(data) / name if data else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    below = "default: below PIXEL_MM_DATA"
    parser.add_argument("--emodb-root", type=Path, default=default_root("emodb"), help=below)
    parser.add_argument("--ravdess-root", type=Path, default=default_root("ravdess"), help=below)
    parser.add_argument("--work-dir", type=Path, help="default: runs/benchmarks/emotion_accuracy")
    parser.add_argument("--quick", action="store_true", help="smoke run; its numbers mean nothing")
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="of pixel_mm.evaluate")
    given = parser.parse_args(arguments)
    work = given.work_dir or Path("runs", "benchmarks", f"emotion_accuracy{'_quick' if given.quick else ''}")
    roots = ((EMODB, given.emodb_root), (RAVDESS, given.ravdess_root))
    measures: list[Measure] = []
    for task, root in roots:
        if root is None or not root.is_dir():
            measures.append(not_run(task))
            continue
        outcome = evaluate(task, root, work / task.name, [*(QUICK if given.quick else ()), *given.options])
        measures += accuracy_measures(task, outcome, given.quick)
        measures += [time_measure(outcome, given.quick)] if task is EMODB else []
    if all(measure.value is None for measure in measures):
        parser.error("there is nothing to measure on: give --emodb-root or --ravdess-root, or set PIXEL_MM_DATA")
    print_table(measures)
    write_report(given.output, "emotion_accuracy", measures, given.quick)


if __name__ == "__main__":
    main()
