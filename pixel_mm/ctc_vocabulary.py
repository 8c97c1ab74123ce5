"""The characters that a CTC recogniser writes, saved with the model as `vocabulary.json`."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from pixel_mm.runs import atomic_path

BLANK = 0
"""Class of the blank (Graves et al., ICML 2006)."""


class VocabularyError(ValueError):
    """A text that a vocabulary cannot write, or a file that holds none."""


class CtcVocabulary:
    """Characters by class; class 0 is the blank.

    Attributes:
        characters: those of the classes from 1.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        """Take the characters in the order of their classes.

        Raises:
            VocabularyError: none, one twice, or one that is not a single character.
        """
        self.characters = tuple(characters)
        if not self.characters or len(set(self.characters)) < len(self.characters):
            raise VocabularyError(
                f"a vocabulary of {list(self.characters)}: each character has one class, one at least"
            )
        if wrong := [entry for entry in self.characters if len(entry) != 1]:
            raise VocabularyError(f"the vocabulary has '{wrong[0]}', which is not one character")
        self._classes = {character: number for number, character in enumerate(self.characters, start=1)}

    @classmethod
    def load(cls, path: str | Path) -> "CtcVocabulary":
        """Read what `save` wrote.

        Raises:
            VocabularyError: no such file, or not a list of characters; names the file.
        """
        try:
            entries = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise VocabularyError(f"{path} cannot be read as a vocabulary: {error}") from error
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise VocabularyError(f"{path} is no vocabulary: it has to be a JSON list of characters")
        return cls(entries)

    def save(self, path: str | Path) -> None:
        """Write it, whole or not at all."""
        with atomic_path(Path(path)) as aside:
            aside.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """Content of the file."""
        return json.dumps(self.characters, ensure_ascii=False) + "\n"

    @property
    def num_classes(self) -> int:
        """Characters and the blank."""
        return len(self.characters) + 1

    def encode(self, text: str) -> list[int]:
        """Classes of a text's characters.

        Args:
            text: is normalised first.

        Raises:
            VocabularyError: a character that is not in the vocabulary, by its name.
        """
        normalised = normalise(text)
        for character in normalised:
            if character not in self._classes:
                raise VocabularyError(
                    f"the vocabulary lacks {character!r} ({unicodedata.name(character, 'without a name')}) of "
                    f"'{text[:60]}'; train with a vocabulary of these texts, or leave the character out of them"
                )
        return [self._classes[character] for character in normalised]

    def decode(self, classes: Sequence[int]) -> str:
        """The text of the best class of each frame: repeats are one, blanks are none, spaces are single."""
        kept = [each for place, each in enumerate(classes) if place == 0 or each != classes[place - 1]]
        return " ".join("".join(self.characters[each - 1] for each in kept if each != BLANK).split())


def characters_of(texts: Iterable[str]) -> list[str]:
    """Those of the texts to train on, sorted, so that the order of the clips does not matter."""
    return sorted({character for text in texts for character in normalise(text)})


def normalise(text: str) -> str:
    """Small letters in composed form with single spaces; what differs otherwise differs for the recogniser too."""
    return " ".join(unicodedata.normalize("NFC", text.lower()).split())
