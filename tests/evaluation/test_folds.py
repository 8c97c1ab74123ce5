import dataclasses

import pytest

from pixel_mm.evaluation.folds import PREDICTIONS, EvaluationChangedError, claim, describe, fold_folder, run_folds
from pixel_mm.evaluation.protocols import LeaveOneSpeakerOut

CONFIG = {
    "seed": 1,
    "data": {"root": "/a", "label_source": "mapped"},
    "trainer": {"max_epochs": 3, "accelerator": "cpu"},
    "protocol": {"_target_": "x", "folds": None},
    "paths": {"run": "/r"},
    "seeds": [1],
    "callbacks": {"last": {"dirpath": "/r/checkpoints"}},
}


class Trainer:
    """Predicts a fold's test rows; stops as if killed when it comes to the fold `stop_at`."""

    def __init__(self, rows, make_table, stop_at=None):
        self.rows, self.make_table, self.stop_at, self.calls = rows, make_table, stop_at, []

    def __call__(self, fold, seed, folder):
        if (fold.number, seed) == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append((fold.number, seed))
        return self.make_table([self.rows[row] for row in fold.test], skill=0.5, seed=seed, fold=fold.number)


def test_interrupted_it_goes_on_with_the_folds_that_are_left(make_rows, make_table, tmp_path):
    rows = make_rows()
    folds = LeaveOneSpeakerOut().folds(rows)
    interrupted = Trainer(rows, make_table, stop_at=(2, 1))
    with pytest.raises(KeyboardInterrupt):
        run_folds(folds, [1, 2], tmp_path / "one", interrupted)
    again = Trainer(rows, make_table)
    table = run_folds(folds, [1, 2], tmp_path / "one", again)
    assert interrupted.calls == [(0, 1), (1, 1)]
    assert again.calls == [(2, 1), (3, 1), (0, 2), (1, 2), (2, 2), (3, 2)]
    straight = run_folds(folds, [1, 2], tmp_path / "other", Trainer(rows, make_table))
    assert (table.scores == straight.scores).all()
    assert (table.utterances, table.fold, table.seed) == (straight.utterances, straight.fold, straight.seed)


def test_a_full_disk_while_storing_leaves_no_half_fold(make_rows, make_table, tmp_path, monkeypatch):
    rows = make_rows()
    folds = LeaveOneSpeakerOut().folds(rows)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="space"):
            run_folds(folds, [1], tmp_path, Trainer(rows, make_table))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(run_folds(folds, [1], tmp_path, Trainer(rows, make_table)).utterances) == len(rows)


def test_some_folds_now_and_the_others_later(make_rows, make_table, tmp_path):
    rows = make_rows()
    folds = LeaveOneSpeakerOut().folds(rows)
    run_folds(folds[::3], [1], tmp_path, Trainer(rows, make_table))
    later = Trainer(rows, make_table)
    assert len(run_folds(folds, [1], tmp_path, later).utterances) == len(rows)
    assert later.calls == [(1, 1), (2, 1)]
    assert (fold_folder(tmp_path, folds[3], 1, 1) / PREDICTIONS).is_file()


def test_where_and_how_it_is_computed_does_not_matter(make_rows, tmp_path):
    claim(tmp_path, describe(CONFIG, make_rows()))
    elsewhere = {
        **CONFIG,
        "data": {"root": "/b", "label_source": "mapped"},
        "trainer": {"max_epochs": 3, "accelerator": "gpu"},
        "protocol": {"_target_": "x", "folds": [0, 3]},
        "paths": {"run": "/s"},
        "seeds": [1, 2],
        "callbacks": {"last": {"dirpath": "/s/checkpoints"}},
    }
    claim(tmp_path, describe(elsewhere, make_rows()))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"trainer": {"max_epochs": 4, "accelerator": "cpu"}}, r"trainer.max_epochs: 3 -> 4"),
        ({"callbacks": {"early": {"patience": 3}}}, r"callbacks.early.patience: None -> 3"),
        ({"seed": 2}, r"seed: 1 -> 2"),
        ({"adaptation": {"last": 2}}, r"adaptation.last: None -> 2"),
    ],
)
def test_another_configuration_is_refused_by_name(make_rows, tmp_path, change, what):
    claim(tmp_path, describe(CONFIG, make_rows()))
    with pytest.raises(EvaluationChangedError, match=what):
        claim(tmp_path, describe({**CONFIG, **change}, make_rows()))


def test_other_labels_are_refused(make_rows, tmp_path):
    rows = make_rows()
    claim(tmp_path, describe(CONFIG, rows))
    rows[0] = dataclasses.replace(rows[0], emotion="fear")
    with pytest.raises(EvaluationChangedError, match="other clips or labels"):
        claim(tmp_path, describe(CONFIG, rows))
