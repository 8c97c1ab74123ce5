"""Published sets of texts that show bias: HateCheck (what is hateful) and CrowS-Pairs (what is taken for likelier)."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pixel_mm.data.corpora.corpus import CorpusError
from pixel_mm.data.fusion.row import FusionRow


@dataclass(frozen=True)
class HateCheck:
    """HateCheck (Röttger et al., ACL 2021): 3,728 functional tests of what is hateful and what only looks like it.

    Attributes:
        root: folder with `test_suite_cases.csv`.
    """

    root: str | Path

    def read(self) -> list[FusionRow]:
        """Rows of text alone, for testing: `bias` is 1 where the publisher says hateful; `group` is the functionality.

        Raises:
            CorpusError: there is no such file, or a row is broken.
        """
        file = _file(self.root, "test_suite_cases.csv", "HateCheck", "https://github.com/paul-rottger/hatecheck-data")
        rows = []
        for where, record in _records(file, "functionality", "case_id", "test_case", "label_gold", "target_ident"):
            if record["label_gold"] not in ("hateful", "non-hateful"):
                raise CorpusError(f"{where}: label_gold is '{record['label_gold']}'; it is hateful or non-hateful")
            rows.append(
                FusionRow(
                    key=f"hatecheck:{record['case_id']}",
                    speaker=record["target_ident"] or "no group",
                    text=record["test_case"].strip(),
                    scores={"bias": float(record["label_gold"] == "hateful")},
                    label_source="rated",
                    group=record["functionality"],
                    split="test",
                )
            )
        return rows


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
