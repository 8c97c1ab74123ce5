from pathlib import Path

from pixel_mm.data.corpora.tess import Tess
from tests.data.corpora.clips import write_clips


def test_both_talkers_flat_and_in_folders(tmp_path: Path) -> None:
    names = ["OAF_back_angry.wav", "YAF_Pleasant_surprised/YAF_youth_ps.wav", "OAF_neutral/OA_bite_neutral.wav"]
    clips = Tess(write_clips(tmp_path, [*names, "OAF_back_puzzled.wav"]), allow_incomplete=True).read()
    assert {clip.path.name: (clip.speaker, clip.emotion, clip.transcript) for clip in clips} == {
        "OAF_back_angry.wav": ("OAF", "anger", "Say the word back."),
        "YAF_youth_ps.wav": ("YAF", "surprise", "Say the word youth."),
        "OA_bite_neutral.wav": ("OAF", "neutral", "Say the word bite."),
    }
    assert {clip.sex for clip in clips} == {"female"}
