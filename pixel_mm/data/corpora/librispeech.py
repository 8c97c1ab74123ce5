"""LibriSpeech (Panayotov et al., ICASSP 2015): 1,000 hours of read English audio books, with transcripts."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pixel_mm.data.corpora.corpus import FolderCorpus
from pixel_mm.data.utterance import Sex, Split, Utterance

_SPEAKERS = "SPEAKERS.TXT"
_SPLITS: Mapping[str, Split] = {"train": "train", "dev": "validation", "test": "test"}


class LibriSpeech(FolderCorpus):
    """The parts that lie in the folder, e.g. `train-clean-100`, `dev-other`, `test-other`; or one part alone.

    A clip without a line in a transcript file is unlabelled speech: it has no transcript.
    """

    title = "LibriSpeech"
    url = "https://www.openslr.org/12"
    licence = "CC BY 4.0"
    language = "en"
    expected = "PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac and SPEAKER-CHAPTER.trans.txt, or one PART's content"

    def __init__(self, root: str | Path, part: str | None = None, allow_incomplete: bool = False) -> None:
        """Take the corpus's folder.

        Args:
            root: the folder that `expected` describes.
            part: read this one alone, e.g. "test-other"; None reads all that are there.
            allow_incomplete: see `FolderCorpus`.
        """
        super().__init__(root, allow_incomplete)
        self.part = part

    def utterances(self) -> Iterator[Utterance]:
        """See `FolderCorpus.utterances`."""
        root = self.require(self.part) if self.part else self.root
        transcripts = dict(line for path in sorted(root.glob("**/*.trans.txt")) for line in _read(path))
        sexes = self._sexes()
        found = {path.stem: path for path in root.glob("**/*.flac")}
        for name in sorted(transcripts.keys() | found.keys()):
            speaker, chapter, _ = name.split("-")
            path = found.get(name) or self._place(root, speaker, chapter) / f"{name}.flac"
            yield Utterance(
                path=path,
                speaker=speaker,
                sex=sexes.get(speaker),
                language=self.language,
                transcript=transcripts.get(name),
                split=_split(path),
            )

    def _sexes(self) -> dict[str, Sex]:
        """Of the speakers, by number; of none where the publisher's table was not copied too."""
        tables = [folder / _SPEAKERS for folder in (self.root, self.root.parent)]
        table = next((table for table in tables if table.is_file()), None)
        lines = table.read_text(encoding="utf-8").splitlines() if table else []
        columns = [[cell.strip() for cell in line.split("|")] for line in lines if not line.startswith(";")]
        return {cells[0]: "female" if cells[1] == "F" else "male" for cells in columns if len(cells) > 1}

    def _place(self, root: Path, speaker: str, chapter: str) -> Path:
        """Where the audio of a transcript should be that is not there."""
        folder = next(root.glob(f"**/{speaker}/{chapter}"), None)
        return folder or root / speaker / chapter


def _read(path: Path) -> Iterator[tuple[str, str]]:
    """Names and transcripts of a file's lines, `NAME WORDS`."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, words = line.partition(" ")
        if name.count("-") != 2 or not words.strip():
            raise ValueError(f"{path}, line {number}: '{line[:60]}' is not NAME WORDS")
        yield name, words.strip()


def _split(path: Path) -> Split | None:
    """The publisher's split, which the name of the part begins with."""
    for parent in path.parents:
        if (split := _SPLITS.get(parent.name.partition("-")[0])) and "-" in parent.name:
            return split
    return None
