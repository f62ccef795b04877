"""Is a reply any good? Rules, in the order of README.md; what breaks none may still be dull.

A prompt is a conversation up to the reply, and what a good reply must hold.
"""

# ruff: noqa: E501 (phrases stay whole)

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lessons
import smalltalk
import tables
import talks
from lessons import Lesson
from report import lines, wrong_with
from tales import heroes, poem, tale

Exchange = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """kind: what is asked. before: earlier exchanges. said: the message that is answered.
    reference: a good reply, or "". right: a pattern that a good reply has, in small letters, or "".
    story: a story is wanted, and this is its hero. section: of talk.txt, or the mood of an event.
    most: words of a reply that are enough."""

    kind: str
    before: tuple[Exchange, ...]
    said: str
    reference: str = ""
    right: str = ""
    story: str = ""
    section: str = ""
    most: int = 60

    @property
    def turns(self) -> list[dict[str, str]]:
        """As a row of `pellucid data` holds them."""
        told = [
            turn for pair in self.before for turn in zip(("user", "assistant"), pair, strict=True)
        ]
        return [{"role": role, "content": text} for role, text in (*told, ("user", self.said))]


_PERSON = re.compile(
    r"\bI(?: am|'m) (?:an? )?(?:human|person|man|woman|boy|girl|student|teacher|doctor|nurse|engineer|"
    r"lawyer|mother|father|mom|dad|\d+ years old|married|single)\b|"
    r"\b[Mm]y (?:wife|husband|kids|children|son|daughter|mother|mom|father|dad|brother|sister|dog|cat|job|"
    r"house|car|boyfriend|girlfriend|parents|family)\b|"
    r"\bI (?:live in (?!a computer|your computer|this computer)|work (?:at|as|in|for)|ate|drank|grew up|"
    r"was born|went to|slept|have (?:a dog|a cat|two|three|kids|children))\b"
)
_NAMED = re.compile(r"\b[Mm]y name is ([A-Z]\w+)|\b[Ii] am called ([A-Z]\w+)")


def fault(prompt: Prompt, reply: str, reason: str) -> str | None:
    """What is wrong with a reply, or None. reason: why it ended, as `Generation` says it."""
    if wrong := wrong_with(reply, reason):
        return wrong
    if len(reply.split()) > (200 if prompt.story else prompt.most):
        return "too long"
    outside = re.sub(r'"[^"]*"', "", reply)  # a story's people may say anything
    if not prompt.story and _PERSON.search(outside):
        return "speaks as a person"
    for name in _NAMED.finditer(outside):
        if not prompt.story and (name[1] or name[2]) != "Pellucid":
            return "another name"
    if prompt.section and reply != prompt.reference and _answers_something_else(prompt, reply):
        return "off topic"
    if prompt.right and not re.search(prompt.right, reply.lower()):
        return "wrong"
    if prompt.story:
        if len(reply.split()) < 30:
            return "no story"
        if prompt.story.lower() not in reply.lower()[: len(reply) // 2]:
            return "another hero"
        named = re.search(r"\b(?:named|called) ([A-Z]\w+)", reply[:200])
        if named and named[1] not in reply[len(reply) // 2 :]:
            return "loses its hero"
    return None


_GLAD = re.compile(r"(?i)how nice|i am glad|great|wonderful|good news|lovely|exciting|hooray|interesting|"
                   r"congratulations|well done|sounds good|like to hear")  # fmt: skip
_SORRY = re.compile(r"(?i)\bsorry\b|oh no|that is hard|sounds hard|must hurt|bad luck")


def _answers_something_else(prompt: Prompt, reply: str) -> bool:
    """It is, word by word, what is said in other sections and not in this one; or gladness about
    something bad, sorrow about something good."""
    if prompt.section == "bad" and _GLAD.match(reply):
        return True
    if prompt.section in ("good", "plain") and _SORRY.search(reply):
        return True
    known = talks.answers_to()
    if prompt.section == "questions":
        return any(reply in answers for answers in known.values())
    kin = {"bad": ("feelings", "life"), "good": ("feelings", "life"), "plain": ("life", "feelings"),
           "life": ("plain", "good", "bad", "feelings"), "feelings": ("bad", "good", "life")}  # fmt: skip
    own = (prompt.section, "more", *kin.get(prompt.section, ()))
    if any(reply in known[section] for section in own):
        return False
    return any(reply in answers for answers in known.values())


# ---------------------------------------------------------------------------------------------
# What is asked


def of_lesson(rng: random.Random, lesson: Lesson, said: str | None = None) -> Prompt:
    said, answer = (said, lesson.answers[0]) if said else talks.ask(rng, lesson)
    said = talks.typed(rng, [(said, "")])[0][0]
    return Prompt(lesson.kind, (), said, answer, lesson.right)


def remembered(rng: random.Random, weaver: talks.Weaver) -> Prompt:
    kind = rng.choice(list(talks.MEMORY))
    given = talks.remembered(rng, kind)
    said, answers, asked, later = talks.MEMORY[kind]
    before = [(talks.put(rng, said, given), talks.put(rng, answers, given))]
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        before += weaver.talk() if rng.random() < 0.5 else weaver.lesson()
    right = lessons.has(given["x"])
    return Prompt(
        "memory", tuple(before), talks.put(rng, asked, given), talks.put(rng, later, given), right
    )


def prompts(
    rng: random.Random,
    taught: Sequence[tuple[float, Sequence[Lesson]]],
    entries: Sequence[dict[str, Any]],
    n: int,
) -> Iterator[Prompt]:
    """About n of them, of every kind; the openings of openings.txt besides."""
    weaver = talks.Weaver(rng, taught, entries)
    for _ in range(n * 45 // 100):
        yield of_lesson(rng, weaver.one_lesson())
    for _ in range(n * 17 // 100):
        section, exchanges = weaver.talk_of_section()
        (said, answer), *_ = talks.typed(rng, exchanges)
        yield Prompt("talk", (), said, answer, section=section)
    for _ in range(n * 8 // 100):
        mood = rng.choice(("bad", "good", "plain"))
        (said, answer), *_ = talks.typed(rng, [talks.event(rng, mood)])
        yield Prompt("event", (), said, answer, section=mood)
    for _ in range(n * 8 // 100):
        made = tale(rng)
        said = rng.choice(talks.STORY_ASKS).format(rng.choice(made.about[:5]))
        yield Prompt("story", (), said, made.text, story=made.kind)
    for _ in range(n * 3 // 100):
        hero = rng.choice(heroes())
        said = rng.choice(talks.POEM_ASKS).format(tables.article(hero))
        yield Prompt(
            "poem", (), said, poem(rng, tables.article(hero), f"the {hero}"), re.escape(hero)
        )
    for _ in range(n * 6 // 100):
        yield remembered(rng, weaver)
    for _ in range(n * 5 // 100):
        made_talk = weaver.conversation(900)
        at = rng.randrange(len(made_talk))
        if made_talk[at][1].count(" ") < 60:
            yield Prompt("conversation", tuple(made_talk[:at]), *made_talk[at])
    for _ in range(n * 8 // 100):
        entry = rng.choice(list(entries))
        said, answer = rng.choice(smalltalk.phrasings(entry)), rng.choice(entry["answers"])
        yield Prompt("question", (), said, answer, section="questions")
    for opening in lines("openings.txt"):
        yield Prompt("opening", (), opening, most=200 if "story" in opening else 60)


def quiz(
    rng: random.Random, pools: Sequence[tuple[float, Sequence[Lesson]]], most: int
) -> Iterator[Prompt]:
    """What was kept apart from learning: whole items of the systematic kinds, a way to ask of the
    others; at most so many of a kind."""
    found: dict[str, list[Prompt]] = {}
    for _, pool in pools:
        for lesson in pool:
            kept = lessons.kept_ask(lesson)
            if lessons.held_out(lesson):
                said = rng.choice(lesson.asks)
            elif kept is not None:
                said = lesson.asks[kept]
            else:
                continue
            prompt = Prompt(lesson.kind, (), said, lesson.answers[0], lesson.right)
            found.setdefault(lesson.kind, []).append(prompt)
    for of_kind in found.values():
        yield from rng.sample(of_kind, min(most, len(of_kind)))
