"""recipes/chatgpt: what stands in no dialogue, and the rule by which replies are judged."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid.sampling import log_softmax

RECIPE = Path(__file__).parents[1] / "recipes" / "chatgpt"


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    return runpy.run_path(str(RECIPE / "world.py"))


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(RECIPE)
    return runpy.run_path(str(RECIPE / "make.py"))


def test_what_is_kept_apart_stands_in_no_dialogue(world: dict[str, Any]) -> None:
    texts, dialogues = world["texts"](), world["dialogues"]()
    questions = world["questions"]
    asked = {turns[0]["text"] for turns in dialogues}
    apart = [*questions(True, None), *questions(False, True)]
    assert not asked & {question.text for question in apart}
    said = " ".join(turn["text"] for turns in dialogues for turn in turns).split()
    names = {*world["KEPT_ANIMALS"], *world["KEPT_STRANGERS"]}
    assert not names & {word.strip(".?") for word in said}
    read = " ".join(texts)
    assert not any(question.text in read for question in questions(True, None))
    for question in questions(False, None):  # the texts say it, or nothing
        told = f"The {question.about} eats " in read
        assert told == (question.word is not None)
        assert question.sentence is None or question.sentence in read


def test_a_whole_right_sentence_is_good_and_an_invention_is_not(make: dict[str, Any]) -> None:
    question, good, right = make["Question"], make["good"], make["right"]
    known = question(text="What does the cat eat?", about="cat", relation="eats", word="honey")
    strange = question(text="What does the yak eat?", about="yak", relation="eats", word=None)
    for reply, is_good, is_right in (
        ("The cat eats honey.", True, True),
        ("Honey.", False, True),
        ("Honey, of course. Why do you ask?", False, True),
        ("The cat eats bread.", False, False),
        ("I do not know.", False, False),
    ):
        assert (good(known, reply), right(known, reply)) == (is_good, is_right), reply
    for reply, is_good in (("I do not know.", True), ("The yak eats honey.", False)):
        assert (good(strange, reply), right(strange, reply)) == (is_good, is_good), reply


def test_the_distance_is_of_the_replies_probabilities(make: dict[str, Any]) -> None:
    """Token by token, and none from itself."""
    gpt = pellucid.load("chat")
    question = make["Question"](text="Who are you?", about="", relation="eats", word=None)
    special = gpt.tokenizer.special_tokens
    begin = gpt.tokenizer.encode("<|user|>Who are you?<|end|><|assistant|>", special)
    reply = gpt.tokenizer.encode("I am<|end|>", special)
    expected = sum(
        float(log_softmax(gpt.logits([*begin, *reply[:at]])[-1])[token])
        for at, token in enumerate(reply)
    )
    np.testing.assert_allclose(make["likelihood"](gpt, begin, reply), expected, atol=1e-4)
    (said,) = make["answered"](gpt, [question], temperature=1)
    assert list(said.sequence.prompt) == begin
    other = pellucid.load("chat", dtype="float64", backend="numpy")
    assert abs(make["far"](gpt, other, [question])) < 1e-3
