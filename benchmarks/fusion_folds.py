"""Folds of `benchmarks.fusion_quality`: trains what is compared, writes down what each says of held-out rows."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.data.fusion.bias_sets import HateCheck
from pixel_mm.data.fusion.constructed_pairs import stretched
from pixel_mm.data.fusion.emobank import EmoBank
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.fusion.written_sets import CrisisSuite, MaskedDistress
from pixel_mm.data.splits import fold
from pixel_mm.evaluation.fusion import wrong_feelings
from pixel_mm.evaluation.fusion_models import JudgedModel, RowScores, other_voices, silenced, unheard
from pixel_mm.runs import RunFolder
from pixel_mm.training.fusion_task import load_fusion_network
from pixel_mm.training.hidden_states import first_layer, use_hidden_states

HEARD = ("valence", "arousal")
WRONG_VOICES = 5  # draws; a single one moves the CCC of valence by 0.04 either way
# Baselines are judged by scores of the person: they are spared the answers, which their heads read nothing from.
_NO_ANSWERS = ("datamodule.sources.answers=null", "datamodule.sources.empathy=null")
BASELINES: Mapping[str, Sequence[str]] = {
    "text only": ("model=fusion_text_only", "datamodule.hears=false", *_NO_ANSWERS),
    "audio only": ("model=fusion_audio_only", "datamodule.reads=false", *_NO_ANSWERS),
    "prosody in words": ("model=fusion_text_only", "datamodule.hears=false", "datamodule.describes=true", *_NO_ANSWERS),
}


def train(folder: Path, options: Sequence[str]) -> None:
    """Train a run as a user would, unless the folder has it finished.

    Raises:
        SystemExit: the command failed; its message is on the terminal.
    """
    if (folder / "metrics.json").is_file():
        return
    command = [sys.executable, "-m", "pixel_mm.train", *options, f"paths.run={folder}", "test=false"]
    if code := subprocess.run([*command, "trainer.enable_progress_bar=false"], check=False).returncode:
        raise SystemExit(code)


class FoldModel:
    """A finished run that reads hidden states from the disk, whatever rows it is given.

    Its last weights are taken: the validation part has chosen nothing then, and may be tested on like the test part.
    """

    def __init__(self, folder: Path) -> None:
        """Load the run and its rows."""
        run = RunFolder(folder)
        self.config: DictConfig = run.load_config()
        self.network = load_fusion_network(run, "last", lowest=first_layer(self.config))
        self.data = instantiate(self.config.datamodule)
        self.data.setup()
        self.data.use_tokenizer(self.network.backbone.tokenizer)
        self.module = instantiate(self.config.module, network=self.network).eval()

    def of(self, rows: Sequence[FusionRow]) -> JudgedModel:
        """The model over some rows, in their order."""
        device = torch.device("cpu")
        data = self.data.with_rows(rows)
        use_hidden_states(self.config, self.network, data, device)
        return JudgedModel(self.module, data, device)


@dataclass(frozen=True)
class HeldOut:
    """Rows of speakers that nobody has learnt from.

    Attributes:
        part: "test" or "validation".
        pairs: constructed pairs.
        masked: masked distress, in voices of the same speakers.
        answers: with the voices that they are given to.
    """

    part: str
    pairs: list[FusionRow]
    masked: list[FusionRow]
    answers: list[FusionRow]


def held_out(model: FoldModel, part: str, number: int, num_folds: int) -> HeldOut:
    """The rows of a part, whose speakers are those that fold `number` tests."""
    rows = [row for row in model.data.rows if row.split == part and row.clip is not None]
    voices = instantiate(model.config.data.corpus)
    masked = MaskedDistress(voices, split=partial(fold, number=number, num_folds=num_folds)).read()
    pairs = [row for row in rows if set(HEARD) <= row.scores.keys()]
    assert {row.speaker for row in masked} <= {row.speaker for row in pairs}
    return HeldOut(part, pairs, masked, [row for row in rows if row.response is not None])


def judge_folds(
    runs: Mapping[str, Path], parts: Mapping[str, int], num_folds: int, emobank: Path, hatecheck: Path | None
) -> list[dict[str, Any]]:
    """What runs of the same training speakers say of held-out ones, part by part, and of texts, in plain types.

    Args:
        runs: folders by variant; "fused" and `BASELINES`.
        parts: "test", and "validation" if it is tested on, too; by part, the fold whose test part its speakers are.
        num_folds: of the speakers.
        emobank: root of EmoBank.
        hatecheck: root of HateCheck, or None.
    """
    fused = FoldModel(runs["fused"])
    held = [held_out(fused, part, number, num_folds) for part, number in parts.items()]
    rated = {row.text: row.scores["valence"] for row in EmoBank(emobank, 4, 30).read()}
    found: list[dict[str, Any]] = [_truth(each, rated) for each in held]
    for name, folder in runs.items():
        model = fused if name == "fused" else FoldModel(folder)
        for each, entry in zip(held, found, strict=True):
            _note(entry, name, model.of(each.pairs).judge(range(len(each.pairs))))
            told = model.of(each.masked).judge(range(len(each.masked)))
            entry["distress"]["valence"][name] = told.scores["valence"].tolist()
    for each, entry in zip(held, found, strict=True):
        judged, places = fused.of(each.pairs), range(len(each.pairs))
        drawn = [other_voices(judged.data.rows, places, seed) for seed in range(WRONG_VOICES)]
        _note(entry, "wrong voice", *(judged.judge(places, voice_of=voices) for voices in drawn))
        _note(entry, "silence", judged.judge(places, change=silenced))
        _note(entry, "no voice", judged.judge(places, change=unheard))
        entry["answers"] = _answers(fused, each.answers)
    # Confidence is calibrated on the validation part: it is measured on the test part alone.
    said = fused.of(held[0].pairs).judge(range(len(held[0].pairs)))
    found[0]["confidence"] = {"sure": said.confidence["overall"].tolist(), "right": said.right["overall"].tolist()}
    found[0] |= _texts(fused, [row.clip for row in held[0].pairs], emobank, hatecheck)
    return found


def _truth(held: HeldOut, rated: Mapping[str | None, float]) -> dict[str, Any]:
    distress = {"groups": [row.group for row in held.masked], "speakers": [row.speaker for row in held.masked]}
    return {
        "speakers": [row.speaker for row in held.pairs],
        "groups": [row.group for row in held.pairs],
        "targets": {name: [row.scores[name] for row in held.pairs] for name in HEARD},
        "texts": [row.text for row in held.pairs],
        "clips": [row.clip.key for row in held.pairs if row.clip is not None],
        "voices": {name: [_voice(row)[name] for row in held.pairs] for name in HEARD},
        "words": [stretched(rated[row.text]) for row in held.pairs],
        "scores": {},
        "distress": {**distress, "valence": {}},
    }


def _voice(row: FusionRow) -> Mapping[str, float]:
    """Ratings of a pair's voice."""
    assert row.clip is not None
    assert row.clip.ratings is not None
    return row.clip.ratings


def _note(entry: dict[str, Any], variant: str, *draws: RowScores) -> None:
    """What a variant says: for each row a list with one number per draw."""
    entry["scores"][variant] = {
        score: np.stack([said.scores[score] for said in draws], axis=1).tolist() for score in HEARD
    }


def _texts(model: FoldModel, clips: Sequence[Any], emobank: Path, hatecheck: Path | None) -> dict[str, Any]:
    """What is said of texts: valence of held-out sentences, crisis of the suite, bias of held-out HateCheck."""
    rated = [row for row in EmoBank(emobank, 4, 30).read() if row.split == "test"]
    read = model.of([replace(row, speaker=row.key) for row in rated]).judge(range(len(rated)))
    found: dict[str, Any] = {
        "reading": {"said": read.scores["valence"].tolist(), "rated": [row.scores["valence"] for row in rated]},
        "crisis": _crisis(model, clips),
    }
    if hatecheck is not None:
        texts = held_out_hate(hatecheck)
        found["bias"] = {"words alone": model.of(texts).judge(range(len(texts))).scores["bias"].tolist()}
    return found


def held_out_hate(root: Path) -> list[FusionRow]:
    """HateCheck's texts that `hatecheck_training` holds out."""
    return [row for row in HateCheck(root, {"validation": 0.1, "test": 0.3}).read() if row.split == "test"]


def _answers(model: FoldModel, rows: Sequence[FusionRow]) -> dict[str, Any]:
    """Sums of the loss on each answer with the right voice, one that feels otherwise, and none."""
    judged, places = model.of(rows), range(len(rows))
    right = judged.judge(places)
    wrong = judged.judge(places, voice_of=wrong_feelings(judged.data.rows, places, 0))
    none = judged.judge(places, change=unheard)
    return {
        "speakers": [row.speaker for row in rows],
        "counts": right.answer_counts.tolist(),
        **{n: s.answer_sums.tolist() for n, s in (("right", right), ("wrong", wrong), ("none", none))},
    }


def _crisis(model: FoldModel, clips: Sequence[Any]) -> dict[str, list[float]]:
    """Crisis of the suite's texts, alone and in a voice that is drawn without a look at the words."""
    rows = CrisisSuite().read()
    drawn = np.random.default_rng(0).integers(len(clips), size=len(rows))
    spoken = [replace(row, clip=clips[number]) for row, number in zip(rows, drawn, strict=True)]
    return {
        given: model.of(asked).judge(range(len(asked))).scores["crisis"].tolist()
        for given, asked in (("words alone", rows), ("words in a voice", spoken))
    }
