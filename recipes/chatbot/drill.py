"""What the chatbot got wrong most often after finetuning, among as much of everything else.

    python recipes/chatbot/drill.py TEXTS TOKENIZER OUT.jsonl [--characters 6000000]

TEXTS is the folder that corpus.py wrote: chat.train.jsonl, and chat.plain.jsonl where it is there.
Four tenths of the characters are drill: the kinds of which `prefer.py MODEL --quiz` counted most
mistakes, and tables/drill.txt. The others are drawn from TEXTS, by chance, so that nothing else is
lost.

No message of first_hundred.txt, openings.txt or CLAPPER_WAYS is in it, and none that the quiz asks.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import finetune
import lessons
import tables
import talks
from lessons import Lesson
from report import lines

from pellucid.checkpoint import load_tokenizer
from pellucid.errors import PellucidError
from pellucid.tokenizer import Tokenizer

Exchange = tuple[str, str]

SEED = 2026
CHARACTERS = 6_000_000  # two million tokens
SHARE = 0.4  # of the characters: what is drilled
HARD = {  # how often, relative to each other: kinds of lessons
    "opposite": 22, "similar word": 0.7, "rhyme": 0.5,
    "which by size": 4, "which by speed": 2, "which by height": 2, "which by weight": 2.5,
    "which by heat": 1, "size?": 2, "speed?": 1.5, "height?": 1, "weight?": 1, "heat?": 0.7,
    "sum": 2.5, "sum in words": 1.5, "double": 1.2, "half": 0.8, "next number": 0.7,
    "number before": 0.7, "count": 0.7, "tokens of a word": 6, "unknown word": 4,
    "unknown person": 1.2, "color": 1, "color?": 1.5, "property?": 1, "why": 5, "how to": 3,
    "use": 3, "food": 1.2, "can fly": 0.8, "about animals": 0.7, "job": 0.7, "city": 0.7,
    "capital": 0.7, "next day": 0.6, "day before": 0.7, "next month": 1, "month before": 1,
    "season": 1, "length of month": 0.7, "next season": 0.3, "season before": 0.3, "kind?": 1,
}  # fmt: skip
MOST = 20  # of a sum that is drilled: larger ones need a larger model
MORE_ASKS = {  # by kind, of what a lesson is about
    "opposite": ("{} is the opposite of what?", "What do you call the opposite of {}?",
                 "I need the opposite of {}.", "The opposite of {}, please.", "not {} but?",
                 "What would be the opposite of {}?", "Give me the opposite of {}."),
    "tokens of a word": ("What tokens do you make of {}?", "Into what tokens is {} cut?",
                         "What are your tokens for {}?", "Cut {} into tokens.",
                         "Say the tokens of {}.", "How do you split {}?", "Split {} into tokens."),
    "how to": ("What are the steps to {}?", "Tell me in three steps how to {}.",
               "I would like to {}. Where do I begin?", "Three steps to {}, please."),
    "why": ("I want to know why {}.", "Please explain why {}."),
}  # fmt: skip
SECTIONS = {"no human": 6.0, "alone": 4.0, "seasons": 4.0, "not told": 4.0}  # of drill.txt
CLAPPER = 1.6  # the talk's own word, beside the other tokens
PIECES = {  # of another kind: about itself, and of more than one exchange
    "questions": 4.0, "shorter": 4.0, "remembered": 1.6, "joke": 1.2,
}  # fmt: skip
KIND_TOTAL = 0.6  # of the drilled pieces are lessons
CLAPPER_WAYS = (  # how it is asked for clapper's tokens when that is measured
    "show me the tokens of clapper", "How is clapper cut?", "Into which tokens do you cut clapper?",
    "What are your tokens for the word clapper?", "Which pieces do you see in the word clapper?",
    "clapper in tokens, please",
)  # fmt: skip
WRITTEN_SHORT = {  # as `finetune.bare` leaves it: what stands for it
    "what s": "what is", "whats": "what is", "who s": "who is", "where s": "where is",
    "how s": "how is", "it s": "it is", "i m": "i am", "colour": "color", "u": "you",
}  # fmt: skip
TURNS = 9  # exchanges between what the user told and the question for it, at most


def plain(text: str) -> str:
    """A message's words, whatever its capitals, punctuation and contractions."""
    bare = finetune.bare(text)
    for short, whole in WRITTEN_SHORT.items():
        bare = f" {bare} ".replace(f" {short} ", f" {whole} ").strip()
    return bare


def kept_apart(pools: Sequence[tuple[float, Sequence[Lesson]]]) -> set[str]:
    """Every message by which the chatbot is measured."""
    asked = [*finetune.first_hundred(), *lines("openings.txt"), *CLAPPER_WAYS]
    for _, pool in pools:
        for lesson in pool:
            if lessons.held_out(lesson):
                asked += lesson.asks
            elif (kept := lessons.kept_ask(lesson)) is not None:
                asked.append(lesson.asks[kept])
    return {plain(text) for text in asked}


class Drill:
    """Draws pieces of drill. apart: the messages that none may hold, as `plain` writes them."""

    def __init__(self, rng: random.Random, tokenizer: Tokenizer) -> None:
        self.rng = rng
        taught = list(talks.lesson_pools(tokenizer))
        self.apart = kept_apart(taught)
        entries = finetune.questions(tokenizer.n_vocab)
        self.weaver = talks.Weaver(rng, taught, entries)
        self.entries = entries
        self.kinds: dict[str, list[Lesson]] = {}
        for _, pool in taught:
            for lesson in pool:
                if lesson.kind == "sum" and int(lesson.brief) > MOST:
                    continue
                if lesson.kind in HARD and not lessons.held_out(lesson):
                    self.kinds.setdefault(lesson.kind, []).append(lesson)
        self.clapper = [
            each
            for each in self.kinds.get("tokens of a word", [])
            if each.key == "clapper"
        ]  # fmt: skip
        self.names = [name for name in HARD if name in self.kinds]
        self.weights = [HARD[name] for name in self.names]

    def lesson(self) -> Lesson:
        return self.rng.choice(self.kinds[self.rng.choices(self.names, self.weights)[0]])

    def ask(self, lesson: Lesson) -> Exchange:
        rng = self.rng
        said, answer = talks.ask(rng, lesson)
        more = MORE_ASKS.get(lesson.kind, ())
        if more and rng.random() < 0.35:
            said = tables.capital(rng.choice(more).format(lesson.key))
        return said, answer

    def asked(self) -> list[Exchange]:
        return [self.ask(self.lesson()) for _ in range(self.rng.choice((1, 1, 1, 2, 3)))]

    def told(self) -> list[Exchange]:
        """Of drill.txt."""
        section = self.rng.choices(list(SECTIONS), list(SECTIONS.values()))[0]
        return talks.talk(self.rng, self.rng.choice(talks.blocks("drill")[section]))

    def cut(self) -> list[Exchange]:
        return [self.ask(self.rng.choice(self.clapper))] if self.clapper else self.asked()

    def shorter(self) -> list[Exchange]:
        """Something said, and then said shorter, again, or in other words."""
        rng = self.rng
        if rng.random() < 0.4:
            entry = rng.choice(self.entries)
            said, answers = rng.choice(finetune.smalltalk.phrasings(entry)), entry["answers"]
            answer = rng.choice(answers)
            brief = answer.split(". ")[0].rstrip(".") + "."
        else:
            lesson = self.weaver.one_lesson()
            (said, answer), answers = self.ask(lesson), lesson.answers
            brief = tables.capital(lesson.brief).rstrip(".") + "." if lesson.brief else answer
        others = [each for each in answers if each != answer]
        roll = rng.random()
        if roll < 0.45 and brief != answer:
            follow = (rng.choice(talks.SHORTER), brief)
        elif roll < 0.7 and others:
            follow = (rng.choice(talks.OTHERWISE), rng.choice(others))
        else:
            follow = (rng.choice(talks.AGAIN), rng.choice((f"I said: {answer}", answer)))
        return [(said, answer), follow]

    def remembered(self) -> list[Exchange]:
        """A name is told, and asked for up to ten turns later."""
        rng = self.rng
        kind = rng.choice(("name", "name", "name", *talks.MEMORY))
        given = talks.remembered(rng, kind)
        said, answers, asked, later = talks.MEMORY[kind]
        out = [(talks.put(rng, said, given), talks.put(rng, answers, given))]
        for _ in range(rng.randint(1, TURNS)):
            out.append((self.weaver.talk() if rng.random() < 0.4 else self.asked())[0])
            if rng.random() < 0.1:
                mine = rng.choice(self.entries[:1])
                out.append(
                    (rng.choice(finetune.smalltalk.phrasings(mine)), rng.choice(mine["answers"]))
                )
        return [*out, (talks.put(rng, asked, given), talks.put(rng, later, given))]

    def piece(self) -> finetune.Turns | None:
        """A conversation; None where the drawn one holds a message that is kept apart."""
        makers: dict[Callable[[], list[Exchange]], float] = {
            self.shorter: PIECES["shorter"], self.remembered: PIECES["remembered"],
            lambda: talks.joke_piece(self.rng): PIECES["joke"], self.cut: CLAPPER,
            lambda: talks.question_piece(self.rng, self.entries): PIECES["questions"],
            self.told: sum(SECTIONS.values()) / 2,
        }  # fmt: skip
        lessons_weight = sum(makers.values()) * KIND_TOTAL / (1 - KIND_TOTAL)
        makers[self.asked] = lessons_weight
        make = self.rng.choices(list(makers), list(makers.values()))[0]
        turns = finetune.shorten(finetune.as_turns(talks.typed(self.rng, make())))
        return turns if turns and is_apart(turns, self.apart) else None


def is_apart(turns: finetune.Turns, apart: set[str]) -> bool:
    return apart.isdisjoint(plain(text) for role, text in turns if role == "user")


def documents(
    rng: random.Random, replayed: Sequence[dict[str, Any]], tokenizer: Tokenizer, characters: int
) -> Iterator[dict[str, Any]]:
    """Rows as corpus.py writes them, of about so many characters in all."""
    drill = Drill(rng, tokenizer)
    sizes: Counter[bool] = Counter()
    while sizes.total() < characters:
        drilled = sizes[True] <= SHARE * sizes.total()
        if drilled:
            if (turns := drill.piece()) is None:
                continue
            row: dict[str, Any] = {
                "source": "drill",
                "turns": [{"role": role, "text": text} for role, text in turns],
            }
        else:
            row = rng.choice(replayed)
            told = tuple((turn["role"], turn["text"]) for turn in row.get("turns", ()))
            if not is_apart(told, drill.apart):
                continue
        sizes[drilled] += len(row.get("text", "")) + sum(
            len(turn["text"]) for turn in row.get("turns", ())
        )
        yield row


def write(texts: Path, tokenizer: Tokenizer, out: Path, characters: int = CHARACTERS) -> None:
    replayed = [
        json.loads(line)
        for path in (texts / "chat.train.jsonl", texts / "chat.plain.jsonl")
        if path.exists()
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    made = documents(random.Random(SEED), replayed, tokenizer, characters)
    begun = out.with_suffix(".part")
    with begun.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    begun.replace(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--characters", type=int, default=CHARACTERS)
    given = parser.parse_args()
    write(given.texts, load_tokenizer(given.tokenizer), given.out, given.characters)


if __name__ == "__main__":
    try:
        main()
    except PellucidError as error:
        sys.exit(f"Error: {error}")
