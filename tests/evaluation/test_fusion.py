"""Fusion runs judged: what is compared with what, and what is refused. Networks are random and say nothing."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pixel_mm.data.batching import FrameBatchSampler
from pixel_mm.data.corpora.manifest import Manifest
from pixel_mm.data.fusion.bias_sets import SentencePair
from pixel_mm.data.fusion.datamodule import FusionDataModule
from pixel_mm.data.fusion.row import FusionRow
from pixel_mm.data.splits import SplitError
from pixel_mm.evaluation.fusion import as_divided, lose_answers, measure, tell_distress, wrong_feelings
from pixel_mm.evaluation.fusion_harm import ask, compare_sentences, raise_alarms
from pixel_mm.evaluation.fusion_models import JudgedModel, other_voices, silenced, unheard
from pixel_mm.evaluation.fusion_pictures import draw_pictures
from pixel_mm.evaluation.preparation import EvaluateError
from pixel_mm.models.fusion.losses import FusionLoss
from pixel_mm.models.fusion.module import FusionModule
from pixel_mm.models.fusion.network import FusionNetwork
from tests.data.fusion.voices import Given
from tests.models.fusion.tiny_fusion import fusion_network

SPLITS = {"t1": "train", "t2": "train", "t3": "test", "t4": "test"}


@pytest.fixture(scope="module")
def rows(tone_corpus: Path) -> list[FusionRow]:
    return [
        FusionRow(
            key=clip.key,
            speaker=clip.speaker,
            clip=clip,
            text=f"The letter {SPLITS[clip.speaker]}",
            response=f"That is {clip.emotion}",
            scores=dict(clip.ratings or {}),
            label_source="rated",
            group=clip.emotion,
            split=SPLITS[clip.speaker],
        )
        for clip in Manifest(tone_corpus / "manifest.csv").read()
        if clip.emotion in ("anger", "calm", "happiness", "sadness")
    ]


def judged(rows: list[FusionRow], trained: bool = True, **options) -> JudgedModel:
    network: FusionNetwork = fusion_network(trained=trained)
    batching = partial(FrameBatchSampler, max_frames_per_batch=24_000, max_clips_per_batch=8)
    data = FusionDataModule({"given": Given(rows)}, batching=batching, **options)
    data.use_tokenizer(network.backbone.tokenizer)
    module = FusionModule(network, FusionLoss(), torch.optim.AdamW)
    return JudgedModel(module.eval(), data, torch.device("cpu"))


@pytest.fixture(scope="module")
def model(rows: list[FusionRow]) -> JudgedModel:
    return judged(rows)


def test_scores_come_in_the_order_asked_for(model: JudgedModel) -> None:
    places = [9, 2, 5]
    one, other = model.judge(places), model.judge(places[::-1])
    assert np.allclose(one.scores["valence"], other.scores["valence"][::-1], atol=1e-5)
    assert len(set(one.scores["valence"].round(5))) == 3
    assert (one.answer_counts > 0).all()


def test_everything_is_measured(model: JudgedModel, rows: list[FusionRow]) -> None:
    metrics, curves = measure({"fused": model, "text only": judged(rows, hears=False)}, seed=0)
    assert (metrics["num_rows"], metrics["num_speakers"], metrics["label_source"]) == (8, 2, "rated")
    assert set(metrics["scores"]["arousal"]) == {"fused", "text only", "wrong voice", "silence"}
    assert set(metrics["gains"]["valence"]) == {"text only", "wrong voice", "silence"}
    assert set(metrics["confidence"]) == set(curves) == {"text", "audio", "overall"}
    assert set(metrics["response_loss"]) == {"right", "wrong", "none"}
    assert metrics["response_loss"]["wrong"]["ci95"] is not None


def test_what_changes_voices_changes_what_is_heard_and_nothing_else(model: JudgedModel) -> None:
    places = model.data.parts.test
    own = model.judge(places)
    for given in (
        model.judge(places, change=silenced),
        model.judge(places, change=unheard),
        model.judge(places, voice_of=other_voices(model.data.rows, places, 0)),
    ):
        assert not np.allclose(given.scores["valence"], own.scores["valence"])
        assert np.allclose(given.confidence["text"], own.confidence["text"], atol=1e-5)
    assert "audio" not in model.judge(places, change=unheard).confidence


def test_an_untrained_adapter_answers_as_the_bare_model(rows: list[FusionRow]) -> None:
    closed = judged(rows, trained=False)
    places = closed.data.parts.test
    bare = closed.judge(places, bare=True)
    assert np.array_equal(closed.judge(places).answer_sums, bare.answer_sums)
    trained = judged(rows)
    assert np.array_equal(trained.judge(places, change=unheard).answer_sums, bare.answer_sums)
    assert not np.allclose(trained.judge(places).answer_sums, bare.answer_sums)


def test_wrong_voices_are_others(rows: list[FusionRow]) -> None:
    places = [place for place, row in enumerate(rows) if row.split == "test"]
    voices = other_voices(rows, places, 0)
    assert sorted(voices) == places == sorted(voices.values())
    assert all(rows[place].clip != rows[other].clip for place, other in voices.items())
    wrong = wrong_feelings(rows, places, 0)
    assert all(rows[place].group != rows[other].group for place, other in wrong.items())
    assert all(rows[place].text == rows[other].text for place, other in wrong.items())


def test_answers_to_be_judged_are_no_part_of_the_loss(rows: list[FusionRow]) -> None:
    assert lose_answers(judged([replace(row, imitated=False) for row in rows]), 0) == {}


def test_distress_is_told_by_every_model_of_valence(model: JudgedModel, rows: list[FusionRow]) -> None:
    masked = [replace(row, key=f"m{n}", group="masked") for n, row in enumerate(rows) if row.split == "test"]
    found = tell_distress({"fused": model}, masked)
    assert found["fused"]["masked"]["num_rows"] == 8
    with pytest.raises(SplitError, match="speakers are in several parts"):
        tell_distress({"fused": model}, [replace(masked[0], speaker="t1")])


def test_other_clips_are_divided_as_the_rows_of_a_run(rows: list[FusionRow], tone_corpus: Path) -> None:
    clips = list(Manifest(tone_corpus / "manifest.csv").read())
    parts = as_divided([row for row in rows if row.speaker != "t2"])(clips)
    assert {clips[number].speaker for number in parts.train} == {"t1"}
    assert parts.validation == []
    assert {clips[number].speaker for number in parts.test} == {"t3", "t4"}
    assert len(parts.test) == sum(clip.speaker in {"t3", "t4"} for clip in clips)


def test_harm_is_asked_before_and_after(model: JudgedModel, rows: list[FusionRow]) -> None:
    voices = [row.clip for row in rows if row.split == "test" and row.clip is not None]
    texts = [
        FusionRow(f"c{n}", "author", text=f"Text {n}", scores={"crisis": float(n % 2)}, label_source="constructed",
                  group="stated", split="test")
        for n in range(4)
    ]  # fmt: skip
    found = ask(model, texts, "crisis", voices, 0)
    assert set(found) == {"before", "after", "after, with a voice", "its own score"}
    assert found["before"] == found["after"]
    assert found["before"]["largest_change"] == 0 < found["after, with a voice"]["largest_change"]
    alarmed = raise_alarms(model, texts, "crisis", voices, 0)
    assert set(alarmed) == {"words alone", "words in a voice"}
    assert alarmed["words in a voice"]["recall"] >= alarmed["words alone"]["recall"]
    with pytest.raises(SplitError, match="sentences are in several parts"):
        raise_alarms(model, [replace(texts[0], text="The letter train")], "crisis", voices, 0)
    pairs = [SentencePair(f"p{n}", f"They are {n}", f"We are {n}", "age") for n in range(3)]
    rates = compare_sentences(model, pairs, voices, 0)
    assert rates["before"] == rates["after"]
    assert rates["after, with a voice"]["age"]["num_pairs"] == 3


def test_pictures_are_of_different_clips_from_all_of_the_test_part(rows: list[FusionRow]) -> None:
    twice = [replace(row, key=f"{number} {row.key}") for row in rows for number in range(3)]
    model = judged(twice)
    titles = {count: [f.axes[0].get_title() for f in draw_pictures(model, count).values()][1:] for count in (3, 9)}
    assert {title.partition(":")[0] for title in titles[3]} == {"t3", "t4"}
    assert len(titles[9]) == len(set(titles[9])) == 8  # all clips, each once
    assert len(draw_pictures(judged(rows), 100)) == 1 + sum(SPLITS[row.speaker] == "test" for row in rows)


def test_pictures_show_gates_and_attention(model: JudgedModel) -> None:
    figures = draw_pictures(model, 2)
    assert list(figures) == ["Gates", "Attention 1", "Attention 2"]
    image = figures["Attention 1"].axes[0].get_images()[0].get_array()
    assert np.allclose(np.asarray(image).sum(axis=1), 1, atol=1e-5)
    assert not any(block._forward_hooks for block in model.module.network.adapter.by_layer().values())


def test_runs_that_cannot_be_compared_are_refused(model: JudgedModel, rows: list[FusionRow]) -> None:
    other = judged([replace(row, key=f"other {row.key}") for row in rows])
    with pytest.raises(EvaluateError, match="'text only' doesn't hold out 8 of 8 test rows"):
        measure({"fused": model, "text only": other}, 0)
    with pytest.raises(EvaluateError, match="no test row has a voice, words and ratings"):
        measure({"fused": judged([row for row in rows if row.split == "train"])}, 0)
