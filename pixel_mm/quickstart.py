"""From nothing to a scored clip in a few minutes: the commands of the project, one after the other.

    make quickstart
    python -m pixel_mm.quickstart                           # where it is installed already
    python -m pixel_mm.quickstart trainer.max_epochs=5      # options go to training and evaluation

Trains the emotion regressor from real Whisper tiny.en weights on the embedded synthetic corpus, evaluates the recipe on
speakers it has not heard, exports the model and scores a clip with it. Every command is printed before it is run.
Needs the `offline` extra and about 4 GiB; every start writes a folder of its own below `runs/quickstart`.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pixel_mm.data.utterance import Utterance
from pixel_mm.runs import RunFolder

PROTOCOL = ("protocol=k_fold", "protocol.num_folds=4")


class QuickstartError(Exception):
    """A step that failed; its own message is on the terminal already."""

    def __init__(self, command: Sequence[str], code: int) -> None:
        """Say which command failed.

        Args:
            command: as it was shown.
            code: that it left with.
        """
        super().__init__(f"{shlex.join(command)}\nended with exit code {code}; its message is above")
        self.code = code


@dataclass(frozen=True)
class Cost:
    """What the steps took.

    Attributes:
        wall_seconds: from the first command to the end of the last.
        peak_gib: resident memory of the largest process, GiB.
    """

    wall_seconds: float
    peak_gib: float


def run_command(arguments: Sequence[str], console: Console, capture: bool = False) -> str:
    """Show a `python -m pixel_mm...` command, then run it with this interpreter.

    Args:
        arguments: what follows `python`.
        console: where it is shown.
        capture: return what it prints instead of letting it through.

    Raises:
        QuickstartError: it failed.
    """
    shown = ["python", *arguments]
    _line(console, f"\n$ {shlex.join(shown)}", "bold")
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE if capture else None, text=True)
    if done.returncode:
        raise QuickstartError(shown, done.returncode)
    return done.stdout or ""


def unheard_clip(run: RunFolder) -> Utterance:
    """A clip of a speaker whom a run's model was not trained on: the first angry one, else the first.

    Args:
        run: folder of a finished training.
    """
    from hydra.utils import instantiate

    config = run.load_config()
    utterances: list[Utterance] = instantiate(config.data.corpus).read()
    unheard = [utterances[row] for row in instantiate(config.datamodule.split)(utterances).test]
    return next((utterance for utterance in unheard if utterance.emotion == "anger"), unheard[0])


def run_steps(folder: Path, options: Sequence[str], console: Console) -> tuple[Utterance, Mapping[str, Any], Cost]:
    """Train, evaluate, export and score.

    Args:
        folder: to write into; not there yet.
        options: Hydra overrides for training and evaluation.
        console: where the commands are shown.

    Returns:
        The clip, what the scoring command says, and what it all took.

    Raises:
        QuickstartError: a step failed.
    """
    train, evaluation, model = (str(folder / name) for name in ("train", "evaluation", "model"))
    recipe = ["experiment=quickstart", *options]
    start = time.monotonic()
    run_command(["-m", "pixel_mm.train", *recipe, f"paths.run={train}"], console)
    run_command(["-m", "pixel_mm.evaluate", *recipe, *PROTOCOL, f"paths.run={evaluation}"], console)
    run_command(["-m", "pixel_mm.export", f"run={train}", f"output={model}"], console)
    clip = unheard_clip(RunFolder(Path(train)))
    score = ["-m", "pixel_mm.inference.audio_emotion_recognition", model, str(clip.path), "--json"]
    text = run_command(score, console, capture=True)
    _line(console, text)
    cost = Cost(time.monotonic() - start, _peak_gib())
    return clip, json.loads(text), cost


def _peak_gib() -> float:
    """Largest resident size of any process that was run so far, GiB. Linux counts in KiB, macOS in bytes."""
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return largest * (1 if sys.platform == "darwin" else 1024) / 2**30


def show(folder: Path, clip: Utterance, scored: Mapping[str, Any], cost: Cost, console: Console) -> None:
    """Print what came out and where it lies."""
    metrics = json.loads((folder / "evaluation" / "report" / "metrics.json").read_text(encoding="utf-8"))
    speech = "synthetic speech" if scored["model"]["synthetic"] else "speech"
    counts = (f"{metrics[f'num_{what}']} {what}" for what in ("clips", "speakers"))
    console.rule()
    _line(console, f"Tested on {speech}: {', '.join(counts)}, {metrics['folds']['of']} speaker-disjoint folds", "bold")
    console.print(_accuracy_table(metrics))
    _line(console, f"{clip.path.name}: {speech} by {clip.speaker}, whom the model has not heard", "bold")
    console.print(_clip_table(clip, scored["files"][0]))
    if scored["model"]["synthetic"]:
        _line(console, "Synthetic: nobody spoke and nobody felt anything. These numbers say that the software works on")
        _line(console, "this machine, nothing about people. README.md has the same commands for real recordings.")
    minutes, seconds = divmod(round(cost.wall_seconds), 60)
    _line(console, f"{minutes} min {seconds} s in all; the largest process held {cost.peak_gib:.1f} GiB. Written:\n")
    for path, what in (
        (folder / "train", "run folder: configuration, checkpoints, metrics, learning curves"),
        (folder / "evaluation" / "report" / "report.md", "the evaluation's report, with figures"),
        (folder / "model", "model folder: model.onnx, model.pt, model.yaml, parity.json, model card"),
        (clip.path, "the clip that was scored"),
    ):
        _line(console, f"  {path}  {what}")


def _line(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: paths are not to be cut, nor names in brackets taken for styles."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _accuracy_table(metrics: Mapping[str, Any]) -> Table:
    """UA of each decision and CCC of each dimension, with what guessing and loudness alone would get."""
    table = Table("measure", "value", "loudness alone", "guessing")
    baselines = metrics["baselines"]
    for name, entry in metrics["scores"].items():
        if entry:
            loud = baselines["loudness_only"]["scores"][name]
            guess = baselines["majority"][name]["ua"]
            table.add_row(f"UA, {name}", f"{entry['ua']:.3f}", f"{loud['ua']:.3f}" if loud else "-", f"{guess:.3f}")
    source = metrics["ccc"]["label_source"]
    for name, value in metrics["ccc"].items():
        if name != "label_source" and value is not None:
            loud = baselines["loudness_only"]["ccc"][name]
            table.add_row(f"CCC, {name} ({source})", f"{value:.3f}", "-" if loud is None else f"{loud:.3f}", "0")
    return table


def _clip_table(clip: Utterance, result: Mapping[str, Any]) -> Table:
    """Scores of the clip by name, beside the label it was made or recorded with."""
    table = Table("score", "model says", "label")
    for name, value in result["scores"].items():
        label = (clip.ratings or {}).get(name)
        table.add_row(f"{name} (0..1)", f"{value:.3f}", "-" if label is None else f"{label:.3f}")
    table.add_row("emotion", result["emotion"] or "-", clip.emotion or "-")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps.

    Returns:
        Exit code: 0, or that of the step that failed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="new folder (default: runs/quickstart/DATE_TIME)")
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="of training and evaluation")
    given = parser.parse_args(arguments)
    folder = given.output or Path("runs", "quickstart", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} has something in it; name a folder that does not exist")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of libraries: a newcomer can do nothing about them
    console = Console()
    try:
        clip, scored, cost = run_steps(folder, given.options, console)
    except QuickstartError as error:
        Console(stderr=True).print(f"quickstart: {error}", markup=False, soft_wrap=True)
        return error.code
    show(folder, clip, scored, cost, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
