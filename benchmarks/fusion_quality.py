"""What hearing is worth to a frozen language model: constructed pairs and answers, on speakers that it has never heard.

    python -m benchmarks.fusion_quality --output benchmarks/results/fusion_quality.json

  2  CCC of valence and arousal, on average, on constructed pairs of EmoDB voices and EmoBank sentences: fused against
     text only, audio only and prosody in words; with wrong voices, silence and none
  3  loss of answers with a wrong voice and with none above that with the right one

Beside them: masked distress, calibration, how well words are read, scores of crisis and bias. Speakers are held out in
folds that together test each of them once; intervals (95 %) are over speakers, of all folds together. For each fold an
emotion model is trained on the training speakers, then what is compared; nothing is chosen on the validation part, so
that two folds with the same training speakers are tested by one training.
Takes about an hour and 6 GiB on two cores; finished folds lie in --work and are not run again. --quick runs one fold of
one short epoch each. Options of pixel_mm.train experiment=fusion_reading may follow.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.emotion_accuracy import default_root
from benchmarks.fusion_agreement import Agreement, pooled
from benchmarks.fusion_bounds import bounds, known_of
from benchmarks.fusion_folds import BASELINES, HEARD, held_out_hate, judge_folds, train
from benchmarks.report import Measure, print_table, write_report
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.fusion.written_sets import CrisisSuite
from pixel_mm.data.splits import validating_fold
from pixel_mm.evaluation.fusion_scores import DISTRESSED_GROUPS, alarms
from pixel_mm.metrics.calibration import confidence_calibration
from pixel_mm.metrics.concordance import pearson
from pixel_mm.metrics.intervals import speaker_interval, speaker_totals
from pixel_mm.runs import write_json

EMOTION = ("callbacks.best=null",)  # the last weights
QUICK = (
    "trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=2",
    "data.corpus.allow_incomplete=true",
)  # fmt: skip
QUICK_EMOTION = ("augment.variants=1",)
_GIVEN = {"fused": "the right voice and the words", "wrong voice": "fused, a wrong voice", "silence": "fused, silence"}


def plan(num_folds: int) -> dict[int, dict[str, int]]:
    """Trainings that are needed, by the number of a fold: what is tested, and which fold's speakers these are.

    Folds that validate each other are trained on the same speakers, so that one training is tested on both.
    """
    done: set[int] = set()
    trainings = {}
    for number in (*range(1, num_folds, 2), 0):
        other = validating_fold(number, num_folds)
        if number not in done:
            trainings[number] = {"test": number} | ({} if other in done else {"validation": other})
            done |= {number, other}
    return trainings


def run_fold(number: int, given: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Train and judge what `plan` has by this number, or read what was judged before."""
    folder = work / f"fold_{number}"
    judged = folder / "judged.json"
    if judged.is_file():
        found: list[dict[str, Any]] = json.loads(judged.read_text(encoding="utf-8"))
        return found
    split = f"{{_target_: pixel_mm.data.splits.fold, _partial_: true, number: {number}, num_folds: {given.folds}}}"
    short = QUICK if given.quick else ()
    voices = ["data=emodb", f"data.root={given.emodb_root}", f"paths.cache={work / 'cache'}"]
    emotion = folder / "emotion"
    divided = ["~datamodule.split", f"+datamodule.split={split}"]  # options of the recipe's own split don't stay
    train(emotion, ["experiment=emotion", *voices, *EMOTION, *divided, *short, *(QUICK_EMOTION if given.quick else ())])
    fusion = [
        "experiment=fusion_reading", *voices, f"speaker_split={split}", f"emotion_run={emotion}",
        f"datamodule.sources.pairs.sentences.root={given.emobank_root}",
    ]  # fmt: skip
    if given.hatecheck_root is not None:
        bias = "fusion_data@datamodule.sources.bias=hatecheck_training"
        fusion += [bias, f"datamodule.sources.bias.root={given.hatecheck_root}"]
    runs = {}
    for name, options in {"fused": (), **BASELINES}.items():
        if name in given.without:
            continue
        runs[name] = folder / name.replace(" ", "_")
        train(runs[name], [*fusion, *options, *short, *given.options])
    found = judge_folds(runs, plan(given.folds)[number], given.folds, given.emobank_root, given.hatecheck_root)
    write_json(judged, found)
    return found


def pair_measures(folds: Sequence[Mapping[str, Any]], setting: str, judged: bool) -> list[Measure]:
    """Measure 2; targets are held against all folds alone."""
    every = Agreement(folds)
    measures = []
    for name in folds[0]["scores"]:
        given = _GIVEN.get(name, name)
        value, interval = every.mean(name)
        what = f"mean CCC of valence and arousal, {given}" + (f": {setting}" if name == "fused" else "")
        measures.append(Measure(f"2-{_id(name)}", what, value, "CCC", None, interval))
        for score in HEARD:
            value, interval = every.by_name(name, score)
            measures.append(Measure(f"2-{_id(name)}-{score}", f"CCC of {score}, {given}", value, "CCC", None, interval))
    for name in BASELINES:
        measures += _gain_measures(every, name, judged)
    if "text only" in folds[0]["scores"]:
        value, interval = every.gain("wrong voice", "text only")
        what = "fused with a wrong voice above text only, mean CCC; at 0 it falls back to the words"
        measures.append(Measure("2-fallback", what, value, "CCC", ">= -0.05" if judged else None, interval))
        measures += bounds(*known_of(every))
    if "audio only" in folds[0]["scores"]:
        both = Agreement(folds, [group == "both" for group in pooled(folds, "groups")])
        value, interval = both.gain("fused", "audio only")
        what = "fused above audio only, mean CCC, of the pairs alone in which both count (the voice decides the others)"
        measures.append(Measure("2-above-audio-only-both", what, value, "CCC", None, interval))
    return measures


def _gain_measures(every: Agreement, name: str, judged: bool) -> list[Measure]:
    """Fused above a baseline: the gain on the same draws, and how far the two intervals are apart."""
    if name not in every.folds[0]["scores"]:
        return [Measure(f"2-above-{_id(name)}", f"NOT RUN: fused above {name}, mean CCC", None, "CCC")]
    value, interval = every.gain("fused", name)
    goal = ">= 0.05" if judged else None
    measures = [Measure(f"2-above-{_id(name)}", f"fused above {name}, mean CCC", value, "CCC", goal, interval)]
    ours, other = every.mean("fused")[1], every.mean(name)[1]
    if ours and other:
        what = f"lower limit of fused above the upper one of {name}: the intervals don't overlap"
        goal = ">= 0" if judged else None
        measures.append(Measure(f"2-apart-{_id(name)}", what, ours[0] - other[1], "CCC", goal))
    return measures


def answer_measures(folds: Sequence[Mapping[str, Any]], judged: bool) -> list[Measure]:
    """Measure 3."""
    speakers, counts = pooled(folds, "answers", "speakers"), np.array(pooled(folds, "answers", "counts"))
    right = np.array(pooled(folds, "answers", "right"))
    measures = [Measure("3-right", f"loss of {len(right)} answers, right voice", right.sum() / counts.sum(), "nats")]
    for name, goal in (("wrong", ">= 0"), ("none", None)):
        above = np.array(pooled(folds, "answers", name)) - right
        totals = speaker_totals(np.stack([above, counts], axis=1), speakers)
        interval = speaker_interval(lambda sums: sums[:, 0] / sums[:, 1], totals)
        what = f"loss of answers with {'a wrong voice' if name == 'wrong' else 'no voice'} above the right one's"
        measures.append(Measure(f"3-{name}", what, above.sum() / counts.sum(), "nats/token", None, interval))
        if goal and interval:
            what = "lower limit of that: the interval excludes 0"
            measures.append(Measure("3-wrong-limit", what, interval[0], "nats/token", goal if judged else None))
    return measures


def further_measures(folds: Sequence[Mapping[str, Any]], hatecheck: Path | None) -> list[Measure]:
    """What stands beside the targets."""
    measures = _distress_measures(folds)
    tested = [fold for fold in folds if "confidence" in fold]
    found = confidence_calibration(pooled(tested, "confidence", "sure"), pooled(tested, "confidence", "right"))
    what = "expected calibration error of the overall confidence"
    measures.append(Measure("2-ece", what, 100 * found["ece"], "%"))
    what = "estimates within 0.15 on the mean of the dimensions"
    measures.append(Measure("2-right", what, 100 * found["accuracy"], "%"))
    reads = [pearson(fold["reading"]["said"], fold["reading"]["rated"]) for fold in tested]
    what = "Pearson's r of valence read from held-out sentences with ratings; mean, smallest and largest training"
    measures.append(Measure("2-reading", what, float(np.mean(reads)), "r", None, (min(reads), max(reads))))
    measures += _alarm_measures(tested, "crisis", CrisisSuite().read())
    if hatecheck is not None and "bias" in tested[0]:
        measures += _alarm_measures(tested, "bias", held_out_hate(hatecheck))
    return measures


def _distress_measures(folds: Sequence[Mapping[str, Any]]) -> list[Measure]:
    """Masked distress by variant."""
    groups = np.array(pooled(folds, "distress", "groups"))
    speakers = np.array(pooled(folds, "distress", "speakers"))
    truth = np.isin(groups, sorted(DISTRESSED_GROUPS))
    measures = []
    for name in folds[0]["distress"]["valence"]:
        right = (np.array(pooled(folds, "distress", "valence", name)) < 0.5) == truth
        for group in ("all", "masked", "reverse"):
            among = groups == group if group != "all" else np.ones(len(right), bool)
            totals = speaker_totals(np.stack([right[among], np.ones(among.sum())], axis=1), speakers[among].tolist())
            limits = speaker_interval(lambda sums: 100 * sums[:, 0] / sums[:, 1], totals)
            what = f"distress told from its absence, {group} texts, {name}"
            share = 100 * float(right[among].mean())
            measures.append(Measure(f"2-distress-{group}-{_id(name)}", what, share, "%", None, limits))
    return measures


def _alarm_measures(folds: Sequence[Mapping[str, Any]], score: str, rows: Sequence[FusionRow]) -> list[Measure]:
    """Recall and false alarms of a score; each text counts with its mean over the folds."""
    families = [row.key if score == "crisis" else row.speaker for row in rows]
    measures = []
    for given in folds[0][score]:
        said = np.mean([fold[score][given] for fold in folds], axis=0)
        found = alarms(said, rows, score, families=families)
        for key, name in (("recall", "recall"), ("false_alarms", "false alarms")):
            limits = found[f"{key}_ci95"]
            interval = None if limits is None else (100 * limits[0], 100 * limits[1])
            what = f"{name} of the {score} score, {len(rows)} texts, {given}, mean probability of the trainings"
            measures.append(Measure(f"5-{score}-{_id(key)}-{_id(given)}", what, 100 * found[key], "%", None, interval))
        what = f"area under the ROC curve of the {score} score, {given}, wherever the threshold is"
        area = float(roc_auc_score([row.scores[score] for row in rows], said))
        measures.append(Measure(f"5-{score}-auc-{_id(given)}", what, area, "AUC"))
    return measures


def _id(name: str) -> str:
    return name.replace(" ", "-").replace("_", "-")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    for name in ("emodb", "emobank", "hatecheck"):
        parser.add_argument(
            f"--{name}-root", type=Path, default=default_root(name), help="default: below PIXEL_MM_DATA"
        )
    parser.add_argument("--folds", type=int, default=5, help="of the speakers, 3 or more")
    parser.add_argument("--work", type=Path, help="default: runs/benchmarks/fusion_quality")
    parser.add_argument("--quick", action="store_true", help="smoke run; its numbers mean nothing")
    parser.add_argument("--only", help="numbers of the trainings to run, such as 1,3; others are left out")
    parser.add_argument("--without", nargs="*", default=[], choices=list(BASELINES), help="baselines to leave out")
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="of experiment=fusion_reading")
    given = parser.parse_args(arguments)
    for name in ("emodb", "emobank"):
        root = getattr(given, f"{name}_root")
        if root is None or not root.is_dir():
            parser.error(f"there is nothing to train on: give --{name}-root, or set PIXEL_MM_DATA")
    if given.hatecheck_root is not None and not given.hatecheck_root.is_dir():
        given.hatecheck_root = None
    work = given.work or Path("runs", "benchmarks", f"fusion_quality{'_quick' if given.quick else ''}")
    numbers = list(plan(given.folds))
    if given.only or given.quick:
        numbers = [int(number) for number in given.only.split(",")] if given.only else numbers[:1]
    judged = not given.quick and not given.without and len(numbers) == len(plan(given.folds))
    folds = [fold for number in numbers for fold in run_fold(number, given, work.absolute())]
    speakers = pooled(folds, "speakers")
    setting = (
        f"{len(speakers)} constructed pairs, {len(set(speakers))} speakers of EmoDB, {len(folds)} of {given.folds} "
        f"folds ({len(numbers)} trainings), 1 seed"
    )
    measures = [
        *pair_measures(folds, setting, judged),
        *answer_measures(folds, judged),
        *further_measures(folds, given.hatecheck_root),
    ]
    print_table(measures)
    write_report(given.output, "fusion_quality", measures, given.quick)


if __name__ == "__main__":
    main()
