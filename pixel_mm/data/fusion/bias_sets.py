"""Published sets of texts that show bias: HateCheck (what is hateful) and CrowS-Pairs (what is taken for likelier)."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.fusion.row import FusionRow, sentence_key
from pixel_mm.data.splits import SplitError
from pixel_mm.data.utterance import Split


@dataclass(frozen=True)
class HateCheck:
    """HateCheck (Röttger et al., ACL 2021): 3,728 functional tests of what is hateful and what only looks like it.

    Attributes:
        root: folder with `test_suite_cases.csv`.
        fractions: None: all of it is for testing, and `speaker` is the group spoken of. Else "validation" and "test",
            the share of the texts that each keeps, and the rest is trained on. Families stay whole: texts of one
            template, of those that were made from it (negated, misspelt, turned around), and equal texts; `speaker`
            is the family.
        seed: of the families' draw.
    """

    root: str | Path
    fractions: Mapping[str, float] | None = None
    seed: int = 0

    def read(self) -> list[FusionRow]:
        """Rows of text alone: `bias` is 1 where the publisher says hateful; `group` is the functionality.

        Raises:
            CorpusError: there is no such file, or a row is broken.
            SplitError: fractions that leave nothing to train on.
        """
        file = _file(self.root, "test_suite_cases.csv", "HateCheck", "https://github.com/paul-rottger/hatecheck-data")
        columns = ("functionality", "case_id", "test_case", "label_gold", "target_ident")
        templates = () if self.fractions is None else ("templ_id", "ref_templ_id")
        records = [record for where, record in _records(file, *columns, *templates) if _is_labelled(where, record)]
        if self.fractions is None:
            return [_hate_row(record, record["target_ident"] or "no group", "test") for record in records]
        families = _families(records)
        parts = _divide(families, self.fractions, self.seed)
        return [
            _hate_row(record, f"hatecheck family {family}", parts[family])
            for record, family in zip(records, families, strict=True)
        ]


def _is_labelled(where: str, record: Mapping[str, str]) -> bool:
    if record["label_gold"] not in ("hateful", "non-hateful"):
        raise CorpusError(f"{where}: label_gold is '{record['label_gold']}'; it is hateful or non-hateful")
    return True


def _hate_row(record: Mapping[str, str], speaker: str, split: Split) -> FusionRow:
    return FusionRow(
        key=f"hatecheck:{record['case_id']}",
        speaker=speaker,
        text=record["test_case"].strip(),
        scores={"bias": float(record["label_gold"] == "hateful")},
        label_source="rated",
        group=record["functionality"],
        split=split,
    )


def _families(records: Sequence[Mapping[str, str]]) -> list[str]:
    """Name of each text's family: templates that were made from each other, or that give the same text."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            name = parents[name]
        return name

    for record in records:
        own = root(record["templ_id"])
        for other in (record["ref_templ_id"], sentence_key(record["test_case"])):
            if other:
                parents[root(other)] = own
    return [root(record["templ_id"]) for record in records]


def _divide(families: Sequence[str], fractions: Mapping[str, float], seed: int) -> dict[str, Split]:
    """Part of each family; a part gets drawn families until it has its share of the texts."""
    wanted = {name: fractions.get(name, 0.0) * len(families) for name in ("test", "validation")}
    if set(fractions) - wanted.keys() or min(wanted.values()) < 0 or sum(wanted.values()) >= len(families):
        raise SplitError(f"fractions {dict(fractions)}; give 'validation' and 'test', together less than 1")
    sizes = Counter(families)
    names = sorted(sizes)
    parts: dict[str, Split] = {}
    for name in (names[number] for number in np.random.default_rng(seed).permutation(len(names))):
        part: Split = "test" if wanted["test"] > 0 else "validation" if wanted["validation"] > 0 else "train"
        parts[name] = part
        if part != "train":
            wanted[part] -= sizes[name]
    return parts


@dataclass(frozen=True)
class SentencePair:
    """Two sentences that differ in the group they speak of.

    Attributes:
        key: name of the pair.
        stereotyped: the one that says more of a stereotype.
        other: the one that says less of it.
        bias_type: what kind of groups they are about, e.g. "age".
    """

    key: str
    stereotyped: str
    other: str
    bias_type: str


@dataclass(frozen=True)
class CrowSPairs:
    """CrowS-Pairs (Nangia et al., EMNLP 2020): 1,508 sentence pairs; an even-handed model prefers either as often.

    Errors were found in it (Blodgett et al., ACL 2021): compare a model with itself, before and after, rather than
    with a perfect score.

    Attributes:
        root: folder with `crows_pairs_anonymized.csv`.
    """

    root: str | Path

    def read(self) -> list[SentencePair]:
        """Every pair, in the publisher's order.

        Raises:
            CorpusError: there is no such file, or a row is broken.
        """
        file = _file(self.root, "crows_pairs_anonymized.csv", "CrowS-Pairs", "https://github.com/nyu-mll/crows-pairs")
        pairs = []
        for number, (where, record) in enumerate(_records(file, "sent_more", "sent_less", "bias_type")):
            if not record["sent_more"].strip() or not record["sent_less"].strip():
                raise CorpusError(f"{where}: a sentence of the pair is missing")
            pairs.append(SentencePair(f"crows:{number}", record["sent_more"], record["sent_less"], record["bias_type"]))
        return pairs


def _file(root: str | Path, name: str, title: str, url: str) -> Path:
    file = Path(root).expanduser() / name
    if not file.is_file():
        raise CorpusError(f"{title}: {file} is missing\n  source:   {url}")
    return file


def _records(file: Path, *columns: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Places and rows of a table that has all of these columns in each of them."""
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        for record in reader:
            where = f"{file}, line {reader.line_num}"
            lacking = [name for name in columns if record.get(name) is None]
            if lacking:
                raise CorpusError(f"{where}: has no {' and no '.join(lacking)}")
            yield where, record
