from pathlib import Path

from pixel_mm.data.corpora.nemo import Nemo
from tests.data.corpora.clips import write_clips, write_text


def test_table_gives_the_labels(tmp_path: Path) -> None:
    root = write_clips(tmp_path, ["samples/WR0_surprised_64.wav", "samples/EB0_neutral_13.wav"])
    write_text(
        root / "data.tsv",
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage",
        "WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\t        WR0\tmale\t23",
        "EB0_neutral_13.wav\tneutral\tInteresuje mnie historia.\tinteresuje mnie historia\t        EB0\tfemale\t27",
    )
    first, second = Nemo(root, allow_incomplete=True).read()
    assert (first.speaker, first.sex, first.emotion, first.language) == ("EB0", "female", "neutral", "pl")
    assert (second.speaker, second.sex, second.emotion) == ("WR0", "male", "surprise")
    assert second.transcript == "Ucho wykrywa dźwięki."
