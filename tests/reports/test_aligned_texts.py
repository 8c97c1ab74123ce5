"""The aligned listing, on texts whose alignment is plain to see."""

from pixel_mm.reports.aligned_texts import aligned_texts


def test_each_error_has_its_mark_under_it() -> None:
    shown = aligned_texts("he hoped there would be stew", "he there would ever be stool")
    assert shown.split("\n") == [
        "said:  he hoped there would *    be stew",
        "heard: he *     there would ever be stool",
        "          D                 I       S",
    ]


def test_empty_texts_are_shown() -> None:
    assert aligned_texts("", "thank you").split("\n") == ["said:  *     *", "heard: thank you", "       I     I"]
    assert aligned_texts("yes", " ").split("\n") == ["said:  yes", "heard: *", "       D"]
    assert aligned_texts("", "").split("\n") == ["said:", "heard:", ""]


def test_a_long_text_goes_on_in_further_lines() -> None:
    words = "one two three four five six seven eight nine ten"
    lines = aligned_texts(words, words, width=30).split("\n")
    assert all(len(line) <= 30 for line in lines)
    said = [line.removeprefix("said:  ") for line in lines if line.startswith("said:")]
    assert len(said) > 1
    assert " ".join(said) == words
    assert aligned_texts("w" * 50, "w" * 50, width=30).split("\n")[0] == "said:  " + "w" * 50


def test_wide_letters_keep_the_columns() -> None:
    said, heard, marks = aligned_texts("東京 is far", "tokyo is fare").split("\n")
    assert said == "said:  東京  is far"
    assert heard == "heard: tokyo is fare"
    assert marks == "       S        S"
