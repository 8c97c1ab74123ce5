"""From an evaluation's configuration to what it is done on: corpus, protocol, and a data module for each seed."""

from functools import lru_cache

from hydra.utils import instantiate
from omegaconf import DictConfig

from pixel_mm.data.corpora.corpus import Corpus
from pixel_mm.data.datamodule import SpeechDataModule
from pixel_mm.evaluation.cross_corpus import PairedCorpus
from pixel_mm.evaluation.protocols import CrossCorpus, Protocol


class EvaluateError(ValueError):
    """A configuration that cannot be evaluated."""


class Preparation:
    """What is evaluated on.

    Attributes:
        protocol: who trains, who tests.
        corpus: for the cross-corpus protocol both of them as one.
    """

    def __init__(self, cfg: DictConfig) -> None:
        """Instantiate; the corpus is read by the first data module.

        Raises:
            EvaluateError: the protocol and `test_data` don't fit together.
        """
        self.protocol: Protocol = instantiate(cfg.protocol)
        self.corpus = _build_corpus(cfg, self.protocol)
        self._cfg = cfg
        # One seed after the other; each seed mixes and augments the clips in its own way.
        self.data = lru_cache(maxsize=1)(self._make_data)

    @property
    def title(self) -> str:
        """What reports call the corpus."""
        if isinstance(self.corpus, PairedCorpus):
            return f"{self.corpus.train.title} (trained on), {self.corpus.test.title} (tested on)"
        return self.corpus.title

    def _make_data(self, seed: int) -> SpeechDataModule:
        seeded = self._cfg.copy()
        seeded.seed = seed
        made: SpeechDataModule = instantiate(seeded.datamodule, corpus=self.corpus)
        made.setup()
        return made


def _build_corpus(cfg: DictConfig, protocol: Protocol) -> Corpus:
    corpus: Corpus = instantiate(cfg.data.corpus)
    test_data = cfg.get("test_data")
    if isinstance(protocol, CrossCorpus) != (test_data is not None):
        raise EvaluateError(
            "protocol=cross_corpus and data@test_data=NAME test_data.root=DIR go together; give both or neither"
        )
    return corpus if test_data is None else PairedCorpus(corpus, instantiate(test_data.corpus))
