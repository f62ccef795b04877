"""recipes/chatbot: what is taught from tables, and the rules by which replies are judged."""

from __future__ import annotations

import importlib
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.checkpoint import load_tokenizer

SCRIPTS = Path(__file__).parents[1] / "recipes" / "chatbot"
NAMES = ("lessons", "talks", "tales", "judge", "prefer", "finetune", "tables", "drill", "make")


@pytest.fixture(scope="module")
def recipe() -> Iterator[Any]:
    sys.path.insert(0, str(SCRIPTS))
    before = set(sys.modules)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", "") and "chatbot" in str(
                sys.modules[name].__file__
            ):
                del sys.modules[name]


@pytest.fixture(scope="module")
def every(recipe: Any) -> list[Any]:
    return [lesson for _, pool in recipe.lessons.all_lessons() for lesson in pool]


@pytest.fixture
def weaver(recipe: Any) -> Any:
    taught = recipe.lessons.all_lessons()
    return recipe.talks.Weaver(random.Random(1), taught, recipe.finetune.questions(8192))


def test_a_right_answer_is_told_from_another(every: list[Any]) -> None:
    assert len(every) > 20_000
    kinds: dict[str, list[Any]] = {}
    for lesson in every:
        assert lesson.asks
        assert all(lesson.is_right(answer) for answer in lesson.answers), lesson
        assert not re.search(r"[{}|;~]", " ".join(lesson.asks + lesson.answers)), lesson
        kinds.setdefault(lesson.kind, []).append(lesson)
    for kind in ("opposite", "sum", "color", "what is", "how to", "capital", "home", "use"):
        for one, other in zip(kinds[kind], kinds[kind][7:], strict=False):
            if other.brief != one.brief and not one.is_right(other.answers[0]):
                break
        else:
            raise AssertionError(f"{kind}: anything is right")


def test_sums_are_what_they_come_to(every: list[Any]) -> None:
    signs = {"plus": int.__add__, "minus": int.__sub__, "times": int.__mul__}
    checked = 0
    for lesson in every:
        if found := re.fullmatch(r"(\d+) (plus|minus|times) (\d+) is (\d+)\.", lesson.answers[0]):
            assert signs[found[2]](int(found[1]), int(found[3])) == int(found[4])
            assert not lesson.is_right(f"It is {int(found[4]) + 1}.")
            checked += 1
    assert checked > 500


def test_what_is_bigger_has_the_greater_size(recipe: Any, every: list[Any]) -> None:
    sizes = {thing.name: thing.size for thing in recipe.lessons.things() if thing.size}
    for row in recipe.tables.table("animals"):
        sizes[recipe.tables.article(row[0])] = float(row[9])
    checked = 0
    for lesson in every:
        found = re.fullmatch(r"(.*) is (bigger|smaller) than (.*)\.", lesson.answers[0])
        if lesson.kind == "which by size" and found:
            one, other = (sizes[x[0].lower() + x[1:]] for x in (found[1], found[3]))
            assert (one > other) == (found[2] == "bigger"), lesson
            checked += 1
    assert checked > 1_000


def test_no_kept_item_is_taught(recipe: Any, weaver: Any, every: list[Any]) -> None:
    kept = {lesson.answers[0] for lesson in every if recipe.lessons.held_out(lesson)}
    taught = {lesson.answers[0] for lesson in every if not recipe.lessons.held_out(lesson)}
    kept -= taught
    assert len(kept) > 500
    told = {answer for _ in range(3_000) for _, answer in weaver.single()}
    assert not kept & told


def test_conversations_are_whole(weaver: Any) -> None:
    for _ in range(400):
        for said, answer in weaver.conversation():
            assert said.strip()
            assert answer[-1] in '.!?"Z', answer
            assert not re.search(r"[{}|]|\( |  ", said + answer), (said, answer)


def test_what_was_told_is_known_ten_turns_later(weaver: Any) -> None:
    checked, furthest = 0, 0
    for _ in range(600):
        talk = weaver.conversation()
        names = [
            (at, found[1])
            for at, (_, answer) in enumerate(talk)
            if (
                found := re.match(r"(?:Your name is|You told me that your name is) (\w+)\.", answer)
            )
        ]
        for at, name in names:
            first = min(i for i, (said, _) in enumerate(talk) if name.lower() in said.lower())
            assert first < at, talk
            checked, furthest = checked + 1, max(furthest, at - first)
    assert checked > 20
    assert furthest >= 8


def test_what_is_measured_is_not_drilled(recipe: Any) -> None:
    drill, tokenizer = recipe.drill, load_tokenizer("chat")
    taught = list(recipe.talks.lesson_pools(tokenizer))
    apart = drill.kept_apart(taught)
    asked = [prompt.said for prompt in recipe.judge.quiz(random.Random(1), taught, 20)]
    asked += [*recipe.finetune.first_hundred(), *drill.CLAPPER_WAYS]
    assert len(asked) > 1_000
    assert all(drill.plain(said) in apart for said in asked)
    assert drill.plain("Whats the Opposite of hot") == drill.plain("What is the opposite of hot?")
    mixed = (*asked[:50], *(f"Something else, {n}." for n in range(50)))
    told = [{"source": "told", "turns": [{"role": "user", "text": said}]} for said in mixed]
    rows = list(drill.documents(random.Random(1), told, tokenizer, 80_000))
    drilled = [row for row in rows if row["source"] == "drill"]
    said = {
        drill.plain(row["turns"][at]["text"])
        for row in rows
        for at in range(0, len(row["turns"]), 2)
    }
    assert not said & apart
    sizes = [sum(len(x["text"]) for row in some for x in row["turns"]) for some in (drilled, rows)]
    assert 0.35 < sizes[0] / sizes[1] < 0.45
    answers = [turn["text"] for row in drilled for turn in row["turns"][1::2]]
    assert any("clapper" in answer and "cl, app and er" in answer for answer in answers)
    assert not any(re.search(r"[{}|]|\( |  ", answer) for answer in answers)


def test_what_is_shipped_lies_between_the_weights_before_and_after(
    recipe: Any, tmp_path: Path
) -> None:
    before = checkpoint.load("talk")
    drilled = {name: np.asarray(x) + 1 for name, x in before.tensors.items()}
    folder = tmp_path / "run-drill" / "model"
    checkpoint.save(folder, before.hparams, drilled, before.tokenizer)
    mixed = recipe.make.drilled(tmp_path, "talk", 0.25)
    for name, x in before.tensors.items():
        np.testing.assert_allclose(mixed.tensors[name], np.asarray(x) + 0.25, atol=1e-6)


def test_tales_keep_their_hero(recipe: Any) -> None:
    rng = random.Random(2)
    for _ in range(300):
        tale = recipe.tales.tale(rng)
        assert tale.hero in tale.text[len(tale.text) // 2 :], tale
        assert not re.search(r"[{}|()]", tale.text + tale.after)
        assert len(re.findall(r"[.!?]", tale.text)) >= 4


def test_a_word_is_cut_as_the_tokenizer_cuts_it(recipe: Any) -> None:
    tokenizer = load_tokenizer("chat")
    found = {x.key: x for x in recipe.lessons.tokens(tokenizer) if x.kind == "tokens of a word"}
    pieces = [tokenizer.decode([i]).strip() for i in tokenizer.encode(" clapper")]
    assert len(found) > 400
    assert found["clapper"].is_right(f"I read it as {', '.join(pieces[:-1])} and {pieces[-1]}.")
    assert not found["clapper"].is_right("It is cut into clap and per.")


@pytest.mark.parametrize(
    ("prompt", "reply", "wrong"),
    [
        ({}, "I am fine, thank you!", None),
        ({}, "", "empty"),
        ({}, "I am a teacher, and you?", "speaks as a person"),
        ({}, "That is nice! My wife likes it, too.", "speaks as a person"),
        ({}, "My name is Bob.", "another name"),
        ({}, "My name is Pellucid.", None),
        ({}, "It is so. " * 2, "looping"),
        ({}, "word and other " * 30, "looping"),
        ({}, " ".join(f"word{i}" for i in range(70)) + ".", "too long"),
        ({"right": r"\bcold\b"}, "The opposite of hot is hot.", "wrong"),
        ({"right": r"\bcold\b"}, "It is cold.", None),
        ({"section": "greetings"}, "You are welcome!", None),
        ({"section": "feelings"}, "You are welcome!", "off topic"),
        ({"section": "questions"}, "You are welcome!", "off topic"),
        ({"section": "bad"}, "How nice! When was it?", "off topic"),
        ({"section": "good"}, "I am sorry to hear it.", "off topic"),
        ({"section": "bad"}, "I am sorry to hear it.", None),
        ({"story": "dog"}, "A dog ran.", "no story"),
        ({"story": "dog"}, " ".join(f"cat{i}" for i in range(40)) + ".", "another hero"),
    ],
)
def test_rules(recipe: Any, prompt: dict[str, str], reply: str, wrong: str | None) -> None:
    asked = recipe.judge.Prompt("talk", (), "Hello!", **prompt)
    assert recipe.judge.fault(asked, reply, "stop token") == wrong


def test_a_story_that_loses_its_hero(recipe: Any) -> None:
    asked = recipe.judge.Prompt("story", (), "Tell me a story about a dog.", story="dog")
    begin = "Once there was a dog named Max who lived on a farm and liked to run over the hills."
    lost = "The cat sat down. " + " ".join(f"It saw {i} birds fly by{i}." for i in range(9))
    assert recipe.judge.fault(asked, f"{begin} {lost}", "stop token") == "loses its hero"
    assert recipe.judge.fault(asked, f"{begin} {lost} Max laughed.", "stop token") is None


def test_pairs_prefer_what_breaks_no_rule(recipe: Any) -> None:
    hot = recipe.judge.Prompt("opposite", (), "Opposite of hot?", "It is cold.", r"\bcold\b")
    hello = recipe.judge.Prompt("talk", (), "Hello!", "Hi! How are you?")
    opening = recipe.judge.Prompt("opening", (), "Yo")
    end = "stop token"
    found, faults = recipe.prefer.pairs(
        [hot, hello, opening],
        [
            [("Hot.", end), ("Cold.", end)],
            [("Hello there!", end), ("I am a nurse.", end)],
            [("I am a man.", end), ("I am a man!", end)],
        ],
    )
    assert [(row["chosen"], row["rejected"]) for row in found] == [
        ("Cold.", "Hot."),
        ("Hi! How are you?", "I am a nurse."),
    ]
    assert found[0]["prompt"] == [{"role": "user", "content": "Opposite of hot?"}]
    assert faults["opposite: wrong"] == 1


def test_prompts_are_answered_side_by_side(recipe: Any, chat: Any) -> None:
    asked = [recipe.judge.Prompt("talk", (), text) for text in ("Hello!", "Thank you!", "Bye!")]
    answered = recipe.prefer.answer(chat, asked, 2, {"greedy": True})
    from pellucid.chat import Conversation

    for prompt, (one, two) in zip(asked, answered, strict=True):
        said = Conversation(chat, max_tokens=60, greedy=True).say(prompt.said)
        assert one == two == ("".join(step.text for step in said).strip(), "stop token")
