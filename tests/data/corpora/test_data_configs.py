"""Every `conf/data/*.yaml` makes the reader that its comment promises."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from pixel_mm.data.corpora.corpus import Corpus, CorpusError
from pixel_mm.data.emotions import MAPPED_RATINGS

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "conf" / "data").glob("*.yaml"))
FOLDERS = [file for file in CONFIGS if file.stem not in ("synthetic", "hub")]


@pytest.mark.parametrize("file", FOLDERS, ids=lambda file: file.stem)
def test_config_makes_its_reader(file: Path, tmp_path: Path) -> None:
    data = OmegaConf.load(file)
    data.root = str(tmp_path / "nowhere")
    corpus = instantiate(OmegaConf.create({"data": data}).data).corpus
    assert isinstance(corpus, Corpus)
    assert data.label_source in ("rated", "mapped", None)
    with pytest.raises(CorpusError, match="nowhere"):
        corpus.read()


def test_hub_config_hands_on_its_map(tmp_path: Path) -> None:
    data = OmegaConf.load(next(file for file in CONFIGS if file.stem == "hub"))
    data.merge_with({"root": str(tmp_path), "dataset": "x/y", "columns": {"audio": "a", "speaker": "s"}})
    corpus = instantiate(OmegaConf.create({"data": data}).data).corpus
    assert (corpus.dataset, corpus.columns, corpus.splits) == (
        "x/y",
        {"audio": "a", "speaker": "s"},
        {"train": "train"},
    )


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_reader_says_where_its_corpus_comes_from(file: Path) -> None:
    reader = get_class(OmegaConf.load(file).corpus._target_)
    for name in ("title", "url", "licence", "expected"):
        assert getattr(reader, name)
    assert hasattr(reader, "language")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_docs_list_every_corpus(file: Path) -> None:
    assert f"| `{file.stem}` |" in (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("emotion", MAPPED_RATINGS)
def test_docs_have_the_mapped_ratings_that_the_code_has(emotion: str) -> None:
    row = next(
        line
        for line in (ROOT / "docs" / "labels.md").read_text("utf-8").splitlines()
        if line.startswith(f"| {emotion} |")
    )
    assert row.endswith(f"| {', '.join(f'{value:.3f}' for value in MAPPED_RATINGS[emotion].values())} |")


def test_maps_can_be_given_on_the_command_line() -> None:
    hub = _compose(
        "data=hub",
        "data.dataset=x/y",
        "data.columns={audio:a,speaker:s,emotion:e}",
        "data.emotions={surprised:surprise}",
        "data.corpus.splits={train:train,dev:validation}",
    )
    assert hub.columns == {"audio": "a", "speaker": "s", "emotion": "e"}
    assert hub.splits == {"train": "train", "dev": "validation"}
    assert hub.records.emotions == {"surprised": "surprise"}
    manifest = _compose("data=manifest", "data.corpus.rating_range=[1,7]", "data.corpus.emotions={joy:happiness}")
    assert (manifest.records.low, manifest.records.high) == (1, 7)
    assert manifest.records.emotions == {"joy": "happiness"}
    podcast = _compose("data=msp_podcast", "data.corpus.partitions=[Train]", "data.label_source=mapped")
    assert (podcast.partitions, podcast.label_source) == (("Train",), "mapped")


def _compose(*overrides: str) -> Any:
    """The reader that the data group alone gives under these overrides."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(overrides=[f"+{overrides[0]}", *overrides[1:], "data.root=anywhere"])
    return instantiate(config.data).corpus
