"""Every `conf/fusion_data/*.yaml` makes the source that its comment promises, and the guide lists it."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from pixel_mm.data.corpora.corpus import CorpusError

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "conf/fusion_data").glob("*.yaml"))
OURS = {"empathy_answers"}  # written for the project and shipped with it: nothing to be missing


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_config_makes_its_source(file: Path, tmp_path: Path) -> None:
    settings = OmegaConf.load(file)
    nowhere = str(tmp_path / "nowhere")
    voices = {"_target_": "pixel_mm.data.corpora.emodb.EmoDB", "root": nowhere}
    config = OmegaConf.create({"data": {"corpus": voices}, "fusion_data": settings})
    for key in OmegaConf.missing_keys(config):
        OmegaConf.update(config, key, nowhere)
    source = instantiate(config.fusion_data)
    if file.stem in OURS:
        assert source.read()
        return
    with pytest.raises(CorpusError, match="nowhere"):
        source.read()


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_guide_lists_it(file: Path) -> None:
    assert f"| `{file.stem}` |" in (ROOT / "docs/fusion_data.md").read_text(encoding="utf-8")
