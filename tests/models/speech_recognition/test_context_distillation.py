from pathlib import Path

import pytest
import torch

from pixel_mm.models.speech_recognition.context_distillation import (
    ContextLoss,
    Teacher,
    frame_error,
    token_divergence,
)
from pixel_mm.models.speech_recognition.decoding import DecodingOptions
from pixel_mm.models.speech_recognition.lessons import LessonStore
from pixel_mm.whisper_tokens import TokenizerError
from tests.models.tiny_networks import speech
from tests.tiny_recognition import PUBLISHED, tiny_recognizer, tiny_tokenizer

OPTIONS = DecodingOptions(max_tokens=8)


def test_the_frame_error_is_a_share_of_the_energy_at_the_frames_there_are() -> None:
    teacher = torch.ones(2, 4, 3)
    student = teacher.clone()
    student[0] *= 1.5
    student[1, 2:] = 1e6  # beyond the second clip's end
    assert frame_error(student, teacher, torch.tensor([4, 2])).item() == pytest.approx(4 * 0.25 / 6)


def test_equals_do_not_diverge() -> None:
    teacher = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    assert token_divergence(teacher.clone(), teacher).item() == pytest.approx(0, abs=1e-6)
    assert token_divergence(teacher + torch.arange(7.0), teacher).item() > 0.1
    assert token_divergence(teacher[:0], teacher[:0]).item() == 0


def test_a_student_learns_its_lessons() -> None:
    teacher = Teacher(tiny_recognizer("full"), tiny_tokenizer(), OPTIONS)
    student = tiny_recognizer("short")
    with torch.no_grad():  # a student that hears otherwise than its teacher
        for weight in student.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    waveform, num_samples = speech(20_000, 9_001)
    lessons = teacher.lessons(waveform, num_samples, ["a", "b"])
    lessons.scored[:, 1] = True  # an untrained teacher seldom ends
    loss, optimizer = ContextLoss(), torch.optim.Adam(student.parameters(), 1e-3)
    seen = []
    for _ in range(10):
        losses = loss(student, teacher, lessons, waveform, num_samples)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        seen.append(losses)
    assert seen[-1].frames < seen[0].frames
    assert seen[-1].total < 0.8 * seen[0].total


def test_a_student_of_full_context_has_nothing_to_learn() -> None:
    teacher = Teacher(tiny_recognizer("full"), tiny_tokenizer(), OPTIONS)
    waveform, num_samples = speech(20_000, 9_001)
    lessons = teacher.lessons(waveform, num_samples, ["a", "b"])
    network = tiny_recognizer("full")
    frames, _ = network.hear(waveform, num_samples)
    hidden = network.decoder.logits(lessons.hidden)
    logits = network.teach(lessons.tokens, frames, torch.tensor([1500, 1500]))
    real = lessons.hidden.abs().sum(dim=2) > 0
    assert torch.allclose(hidden[real], logits[real], atol=2e-3)  # kept in float16
    assert frame_error(frames[:, : lessons.frames.shape[1]], lessons.frames, lessons.num_frames) < 1e-5


def test_a_lesson_that_is_kept_is_not_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform, num_samples = speech(20_000, 9_001)
    first = Teacher(tiny_recognizer("full"), tiny_tokenizer(), OPTIONS, LessonStore(tmp_path))
    given = first.lessons(waveform, num_samples, ["a", "b"])
    again = Teacher(tiny_recognizer("full"), tiny_tokenizer(), OPTIONS, LessonStore(tmp_path))
    other = Teacher(tiny_recognizer("full", seed=3), tiny_tokenizer(), OPTIONS, LessonStore(tmp_path))
    assert again.key == first.key != other.key
    monkeypatch.setattr(Teacher, "_give", None)
    kept = again.lessons(waveform[[1, 0]], num_samples[[1, 0]], ["b", "a"])
    assert torch.equal(kept.frames[[1, 0]], given.frames)
    assert torch.equal(kept.scored[[1, 0]], given.scored)
    with pytest.raises(TypeError):  # of another network nothing is kept
        other.lessons(waveform, num_samples, ["a", "b"])


def test_a_teacher_is_of_full_context_and_stays_as_it_is() -> None:
    for network, language in ((tiny_recognizer("short"), "en"), (tiny_recognizer("full"), None)):
        with pytest.raises(ValueError, match="it needs full context and a language"):
            Teacher(network, tiny_tokenizer(), DecodingOptions(language=language))
    teacher = Teacher(tiny_recognizer("full"), tiny_tokenizer(), OPTIONS).train()
    assert not any(part.training for part in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    with pytest.raises(ValueError, match=r"losses\.frame_weight is 0 .* not both 0"):
        ContextLoss(0, 0)


@pytest.mark.weights
def test_a_tokenizer_of_other_weights_is_refused() -> None:
    from pixel_mm.pretrained import wheel_file
    from pixel_mm.whisper_tokens import WhisperTokenizer

    tokenizer = WhisperTokenizer.load(wheel_file(**PUBLISHED["tiny.en"].tokenizer))
    with pytest.raises(TokenizerError):
        Teacher(tiny_recognizer("full"), tokenizer, OPTIONS)
