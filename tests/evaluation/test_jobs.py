"""Folds in several processes: the numbers of one, and a stop that loses only what was running."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from pixel_mm.evaluate import evaluate, train_network
from pixel_mm.evaluation.folds import PREDICTIONS
from pixel_mm.evaluation.jobs import processes
from pixel_mm.evaluation.predictions import Predictions
from pixel_mm.evaluation.preparation import EvaluateError
from tests.test_evaluate import SHORT, compose_evaluate
from tests.tone_corpus import write_tone_corpus
from tests.training_runs import tiny_overrides


def refuse_fold_2(cfg, data):
    """A trainer that fails on one fold."""
    if Path(cfg.paths.run).name == "02":
        raise RuntimeError("fold 2 broke")
    return train_network(cfg, data)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_tone_corpus(tmp_path_factory.mktemp("tones") / "corpus", clips_per_emotion=2)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(corpus, tmp_path):
    tables = []
    for jobs in (1, 2):
        cfg = compose_evaluate(*tiny_overrides(corpus, tmp_path / f"jobs{jobs}"), *SHORT, f"jobs={jobs}")
        evaluate(cfg, train_network)
        tables.append(Predictions.read(Path(cfg.paths.run) / "report" / "predictions.csv"))
    assert tables[0].utterances == tables[1].utterances
    np.testing.assert_allclose(tables[0].probabilities, tables[1].probabilities, atol=1e-5)
    np.testing.assert_allclose(tables[0].scores, tables[1].scores, atol=1e-5)


@pytest.mark.slow
def test_a_fold_that_breaks_keeps_those_that_are_done(corpus, tmp_path):
    cfg = compose_evaluate(*tiny_overrides(corpus, tmp_path), *SHORT, "jobs=2")
    with pytest.raises(RuntimeError, match="fold 2 broke"):
        evaluate(cfg, refuse_fold_2)
    done = {path.parent.name for path in Path(cfg.paths.run).rglob(f"folds/*/{PREDICTIONS}")}
    assert done
    assert "02" not in done
    evaluate(OmegaConf.merge(cfg, {"jobs": 1}), train_network)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_processes_end_when_their_parent_is_killed():
    """SIGKILL leaves the parent no time to end them."""
    code = (
        "import os, time\n"
        "from pixel_mm.evaluation.jobs import processes\n"
        "if __name__ == '__main__':\n"
        "    with processes(2) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 600)\n"
        "        time.sleep(600)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "parent.py")
        script.write_text(code)
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 30
        while alive(worker) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not alive(worker)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_job_is_refused():
    with pytest.raises(EvaluateError, match="jobs is 0"), processes(0):
        pass
