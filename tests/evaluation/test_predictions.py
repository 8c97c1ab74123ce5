import dataclasses

import numpy as np
import pytest

from pixel_mm.evaluation.predictions import Predictions, join


def test_a_table_is_read_back_to_the_last_bit(make_rows, make_table, tmp_path):
    rows = make_rows()
    rows[0] = dataclasses.replace(rows[0], start_seconds=1.5, end_seconds=2.25, sex=None)
    rows[1] = dataclasses.replace(rows[1], emotion=None, ratings={"valence": 0.1}, label_source="mapped")
    rows[2] = dataclasses.replace(rows[2], ratings=None, label_source=None)
    table = make_table(rows, skill=0.5)
    table.scores[:] = np.random.default_rng(0).random(table.scores.shape)
    table.write(tmp_path / "p.csv")
    read = Predictions.read(tmp_path / "p.csv")
    assert (read.scores == table.scores).all()
    assert (read.probabilities == table.probabilities).all()
    assert read.utterances == table.utterances
    assert (read.fold, read.seed, read.emotion_labels) == (table.fold, table.seed, table.emotion_labels)


def test_another_csv_is_refused(tmp_path):
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"p\.csv"):
        Predictions.read(tmp_path / "p.csv")


def test_rated_and_mapped_labels_are_never_in_one_table(make_rows, make_table):
    rows = make_rows()
    rows[0] = dataclasses.replace(rows[0], label_source="rated")
    with pytest.raises(ValueError, match="rated and mapped"):
        make_table(rows)
    rated = [dataclasses.replace(u, label_source="rated") for u in make_rows()]
    with pytest.raises(ValueError, match="rated and mapped"):
        join([make_table(make_rows()), make_table(rated, seed=2)])


def test_a_model_that_gave_nan_is_named(make_rows, make_table):
    table = make_table(make_rows())
    scores = table.scores.copy()
    scores[3, 1] = np.nan
    with pytest.raises(ValueError, match="s0_happiness_1"):
        dataclasses.replace(table, scores=scores)


def test_a_clip_predicted_twice_is_refused_but_not_by_two_seeds(make_rows, make_table):
    rows = make_rows()
    one, other = make_table(rows, seed=1), make_table(rows, seed=2)
    assert len(join([one, other]).utterances) == 2 * len(rows)
    with pytest.raises(ValueError, match="twice"):
        join([one, one])
    with pytest.raises(ValueError, match="none"):
        join([])


def test_columns_must_fit(make_rows, make_table):
    table = make_table(make_rows())
    with pytest.raises(ValueError, match="unequal"):
        dataclasses.replace(table, fold=table.fold[1:])
