"""Questions with one right answer, each with many ways to ask: what the chatbot is taught to know.

A lesson says how it is asked, what is answered, and what a right answer must say, so that the same
table teaches, measures (`held_out`) and judges (prefer.py). The words are in tables/*.txt.
"""

# ruff: noqa: E501 (phrases stay whole)

from __future__ import annotations

import hashlib
import random
import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

from tables import article, capital, parts, plural, table, words

from pellucid.tokenizer import Tokenizer

NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
]
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
SPEEDS = {  # km/h
    "a car": 130, "a bus": 80, "a train": 200, "a bicycle": 20, "a plane": 900, "a rocket": 28000,
    "a ship": 40, "a motorcycle": 140, "a truck": 85, "a helicopter": 250, "a tractor": 30,
    "a child": 12, "a baby": 1, "a sailboat": 15,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lesson:
    """kind: what is taught. key: about what. asks: ways to ask. answers: right answers, the first
    a whole sentence. right: a pattern that every right answer has, in small letters. follow: what
    stands after "And" where the same is asked of another; brief: the answer in a word or two."""

    kind: str
    key: str
    asks: tuple[str, ...]
    answers: tuple[str, ...]
    right: str
    follow: str = ""
    brief: str = ""

    def is_right(self, reply: str) -> bool:
        return re.search(self.right, reply.lower()) is not None


def hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def has(*said: str) -> str:
    """A pattern: one of these, as whole words."""
    return r"(?<!\w)(?:" + "|".join(re.escape(text.lower()) for text in said) + r")(?!\w)"


# ---------------------------------------------------------------------------------------------
# Words


def opposites() -> Iterator[Lesson]:
    both: dict[str, list[str]] = {}
    for one, other in parts("pairs")["opposites"]:
        both.setdefault(one, []).append(other)
        if one not in both.get(other, []):
            both.setdefault(other, []).append(one)
    for word, others in both.items():
        best = others[0]
        yield Lesson(
            "opposite", word,
            (f"What is the opposite of {word}?", f"What's the opposite of {word}?",
             f"Opposite of {word}?", f"Tell me the opposite of {word}.",
             f"What is the opposite of the word {word}?", f"Do you know the opposite of {word}?",
             f"Which word means the opposite of {word}?", f'What is the opposite of "{word}"?',
             f"the opposite of {word} is", f"What is not {word}, but the opposite?",
             f"{capital(word)} and its opposite?", f"If it is not {word}, what is it?",
             f"What is the reverse of {word}?", f"Say the opposite of {word}."),
            (f"The opposite of {word} is {best}.", f"It is {best}.", f"{capital(best)}.",
             f"{capital(best)} is the opposite of {word}."),
            has(*others), word, best,
        )  # fmt: skip


def similar() -> Iterator[Lesson]:
    for word, other in parts("pairs")["similar"]:
        yield Lesson(
            "similar word", word,
            (f"What is another word for {word}?", f"Another word for {word}?",
             f"Tell me a word that means the same as {word}.", f"What is a synonym of {word}?",
             f"Which word is like {word}?"),
            (f"Another word for {word} is {other}.", f"You can say {other}.", f"{capital(other)}."),
            has(other), word, other,
        )  # fmt: skip


def rhymes() -> Iterator[Lesson]:
    for one, other in parts("pairs")["rhymes"]:
        for word, rhyme in ((one, other), (other, one)):
            yield Lesson(
                "rhyme", word,
                (f"What rhymes with {word}?", f"Which word rhymes with {word}?",
                 f"Tell me a rhyme for {word}.", f"A rhyme for {word}?",
                 f"Do you know a word that rhymes with {word}?"),
                (f"{capital(rhyme)} rhymes with {word}.", f"{capital(rhyme)}.", f"For example {rhyme}."),
                has(rhyme), word, rhyme,
            )  # fmt: skip


def forms() -> Iterator[Lesson]:
    for one, many in parts("pairs")["plurals"]:
        yield Lesson(
            "plural", one,
            (f"What is the plural of {one}?", f"Plural of {one}?", f"One {one}, two what?"),
            (f"The plural of {one} is {many}.", f"One {one}, two {many}."), has(many), one, many,
        )  # fmt: skip
    for now, past in parts("pairs")["past"]:
        yield Lesson(
            "past", now,
            (f"What is the past of {now}?", f"What is the past tense of {now}?",
             f"Past tense of {now}?"),
            (f"The past of {now} is {past}.", f"It is {past}."), has(past), now, past,
        )  # fmt: skip


def common_words() -> list[str]:
    """Single words of the tables, each once."""
    found = [
        row[0].lstrip("~").rstrip("*") for row in table("things") if not row[0].startswith("=")
    ]
    found += [row[0] for row in table("animals")] + [row[0] for row in table("jobs")]
    found += [word for pair in parts("pairs")["opposites"] for word in pair]
    found += [word for kind in table("kinds") for word in kind[2].split(", ")]
    found += [word for pair in parts("pairs")["past"] + parts("pairs")["rhymes"] for word in pair]
    return sorted({word for word in found if word.isalpha() and word.islower()})


def letters() -> Iterator[Lesson]:
    for word in common_words():
        if len(word) > 8:
            continue
        spelled = "-".join(word.upper())
        yield Lesson(
            "spelling", word,
            (f"How do you spell {word}?", f"Spell {word}.", f"Can you spell {word}?",
             f"Spell the word {word}."),
            (f"{spelled}.", f"You spell it {spelled}."), has(spelled), word, spelled,
        )  # fmt: skip
        yield Lesson(
            "first letter", word,
            (f"What is the first letter of {word}?", f"Which letter does {word} begin with?",
             f"What letter does the word {word} start with?"),
            (f"{capital(word)} begins with {word[0].upper()}.",
             f"The first letter of {word} is {word[0].upper()}."),
            rf"(begins with|is) {word[0]}\b", word, word[0].upper(),
        )  # fmt: skip
        n = len(word)
        if n <= 6:
            yield Lesson(
                "letters", word,
                (f"How many letters are in {word}?", f"How many letters does {word} have?",
                 f"How many letters has the word {word}?"),
                (f"{capital(word)} has {NUMBERS[n]} letters.",
                 f"The word {word} has {NUMBERS[n]} letters: {', '.join(word)}."),
                has(NUMBERS[n], str(n)), word, NUMBERS[n],
            )  # fmt: skip


GREETINGS = ("hello", "thank you", "goodbye", "yes", "no")


def foreign() -> Iterator[Lesson]:
    for language, *said in parts("pairs")["first words"]:
        for word, there in zip(GREETINGS, said, strict=True):
            yield Lesson(
                "foreign word", f"{word} {language}",
                (f"How do you say {word} in {language}?", f"What is {word} in {language}?",
                 f"Say {word} in {language}.", f"What does {there} mean?",
                 f"Translate {word} into {language}."),
                (f"In {language}, {word} is {there}.",), has(there), language, there,
            )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Numbers


def sums() -> Iterator[Lesson]:
    for a in range(21):
        for b in range(21):
            for sign, word, value in (("+", "plus", a + b), ("-", "minus", a - b)):
                if value >= 0:
                    yield _sum(a, b, sign, word, value)
            if a <= 10 and b <= 10:
                yield _sum(a, b, "x", "times", a * b)


def _sum(a: int, b: int, sign: str, word: str, value: int) -> Lesson:
    asks = [f"What is {a} {word} {b}?", f"What is {a} {sign} {b}?", f"{a} {sign} {b}",
            f"{a}{sign}{b}", f"How much is {a} {word} {b}?", f"{a} {sign} {b} = ?",
            f"{a} {word} {b}?", f"What's {a} {sign} {b}?", f"Calculate {a} {sign} {b}.",
            f"What does {a} {word} {b} make?", f"Can you tell me what {a} {word} {b} is?",
            f"whats {a}{sign}{b}", f"{a} {sign} {b} is"]  # fmt: skip
    if word == "plus":
        asks += [
            f"How much is {a} and {b}?",
            f"What is the sum of {a} and {b}?",
            f"Add {a} and {b}.",
        ]
    if word == "minus":
        asks += [f"What is {a} less {b}?", f"Take {b} away from {a}."]
    if word == "times":
        asks += [f"Multiply {a} by {b}.", f"What is {a} * {b}?", f"{a}*{b}"]
    answers = [f"{a} {word} {b} is {value}.", f"It is {value}.", f"That makes {value}."]
    said = [str(value)]
    if max(a, b, value) <= 20:
        one, two, three = NUMBERS[a], NUMBERS[b], NUMBERS[value]
        said.append(three)
        asks += [f"What is {one} {word} {two}?", f"How much is {one} {word} {two}?",
                 f"{one} {word} {two}?", f"What's {one} {word} {two}?"]  # fmt: skip
    return Lesson("sum", f"{a}{sign}{b}", tuple(asks), tuple(answers), has(*said), brief=str(value))


OBJECTS = [
    "apples",
    "cookies",
    "balls",
    "books",
    "pencils",
    "cats",
    "dogs",
    "flowers",
    "cards",
    "candles",
    "stones",
    "eggs",
    "cars",
    "coins",
]


def stories_of_sums() -> Iterator[Lesson]:
    for a in range(2, 13):
        for b in range(1, 11):
            what = OBJECTS[(a * 7 + b) % len(OBJECTS)]
            total = a + b
            yield Lesson(
                "sum in words", f"{a}+{b}",
                (f"I have {a} {what} and get {b} more. How many do I have?",
                 f"There are {a} {what} and then {b} more. How many are there?",
                 f"If I have {a} {what} and you give me {b}, how many do I have?",
                 f"I had {a} {what} and found {b}. How many have I now?",
                 f"Tom has {a} {what}. He buys {b} more. How many {what} does Tom have?",
                 f"Anna has {a} {what} and Ben has {b}. How many do they have together?"),
                (f"You have {total} {what}, because {a} plus {b} is {total}.", f"{total} {what}."),
                has(str(total)), brief=str(total),
            )  # fmt: skip
            if b < a:
                left = a - b
                yield Lesson(
                    "sum in words", f"{a}-{b}",
                    (f"I have {a} {what} and give away {b}. How many are left?",
                     f"There were {a} {what}, and {b} are gone. How many are left?",
                     f"If I lose {b} of my {a} {what}, how many do I have?",
                     f"I had {a} {what} and used {b}. How many do I still have?",
                     f"Lily has {a} {what} and sells {b}. How many {what} are left?",
                     f"There are {a} {what}. I take {b} away. How many are there now?"),
                    (f"{left} {what if left > 1 else what[:-1]} {'are' if left > 1 else 'is'} left, "
                     f"because {a} minus {b} is {left}.",
                     f"You have {left} left."), has(str(left)), brief=str(left),
                )  # fmt: skip


def halves() -> Iterator[Lesson]:
    for a in range(1, 31):
        double = 2 * a
        yield Lesson(
            "double", str(a),
            (f"What is the double of {a}?", f"Double of {a}?", f"What is twice {a}?",
             f"Double {a}.", f"What do you get when you double {a}?", f"What is two times {a}?"),
            (f"The double of {a} is {double}.", f"Twice {a} is {double}.", f"It is {double}."),
            has(str(double)), str(a), str(double),
        )  # fmt: skip
        yield Lesson(
            "half", str(double),
            (f"What is half of {double}?", f"Half of {double}?", f"What is the half of {double}?",
             f"How much is half of {double}?", f"What is {double} divided by 2?"),
            (f"Half of {double} is {a}.", f"It is {a}."), has(str(a)), str(double), str(a),
        )  # fmt: skip


def order() -> Iterator[Lesson]:
    for a in range(101):
        yield Lesson(
            "next number", str(a),
            (f"What comes after {a}?", f"Which number comes after {a}?", f"What number is after {a}?",
             f"What is one more than {a}?"),
            (f"After {a} comes {a + 1}.", f"It is {a + 1}."), has(str(a + 1)), str(a), str(a + 1),
        )  # fmt: skip
        yield Lesson(
            "number before", str(a + 1),
            (f"What comes before {a + 1}?", f"Which number comes before {a + 1}?",
             f"What is one less than {a + 1}?"),
            (f"Before {a + 1} comes {a}.", f"It is {a}."), has(str(a)), str(a + 1), str(a),
        )  # fmt: skip
        for b in {hashed(f"{a} order {i}") % 101 for i in range(12)} - {a}:
            more, less = max(a, b), min(a, b)
            yield Lesson(
                "bigger number", f"{a} {b}",
                (f"Which is bigger, {a} or {b}?", f"What is more, {a} or {b}?",
                 f"Which number is bigger: {a} or {b}?", f"Is {a} or {b} bigger?"),
                (f"{more} is bigger than {less}.", f"{more} is more than {less}."),
                rf"{more} is (bigger|more)", brief=str(more),
            )  # fmt: skip
            yes = a > b
            yield Lesson(
                "bigger number?", f"{a} {b}",
                (f"Is {a} bigger than {b}?", f"Is {a} more than {b}?"),
                (f"Yes, {a} is bigger than {b}.",) if yes else (f"No, {a} is smaller than {b}.",),
                "^yes" if yes else "^no",
            )  # fmt: skip


def counting() -> Iterator[Lesson]:
    def row(*ends: int) -> str:
        return ", ".join(map(str, range(*ends))) + "."

    for n in range(3, 21):
        said = (f"Count to {n}.", f"Can you count to {n}?", f"Count to {NUMBERS[n]}.",
                f"Please count to {NUMBERS[n]}.",
            f"Count from one to {NUMBERS[n]}.", f"Count from 1 to {n}.", f"count up to {n}")  # fmt: skip
        yield Lesson("count", f"to {n}", said, (row(1, n + 1),), re.escape(row(1, n + 1)))
        if n <= 12:
            down = (f"Count down from {n}.", f"Count backward from {n}.", f"Count from {n} to 1.",
                    f"Count down from {NUMBERS[n]}.")  # fmt: skip
            yield Lesson("count", f"down {n}", down, (row(n, 0, -1),), re.escape(row(n, 0, -1)))
        for low in range(2, n - 2):
            between = (f"Count from {low} to {n}.",)
            yield Lesson(
                "count", f"{low} {n}", between, (row(low, n + 1),), re.escape(row(low, n + 1))
            )


# ---------------------------------------------------------------------------------------------
# Days and months


def calendar() -> Iterator[Lesson]:
    for names, kind in ((DAYS, "day"), (MONTHS, "month")):
        for i, this in enumerate(names):
            after, before = names[(i + 1) % len(names)], names[i - 1]
            asks = [f"What comes after {this}?", f"Which {kind} comes after {this}?",
                    f"What {kind} comes after {this}?", f"Which {kind} follows {this}?",
                    f"What is the {kind} after {this}?"]  # fmt: skip
            if kind == "day":
                asks += [
                    f"If today is {this}, what day is tomorrow?",
                    f"Today is {this}. What is tomorrow?",
                ]
            yield Lesson(
                f"next {kind}", this, tuple(asks),
                (f"After {this} comes {after}.", f"{after} comes after {this}.", f"It is {after}."),
                has(after), this, after,
            )  # fmt: skip
            asks = [f"What comes before {this}?", f"Which {kind} comes before {this}?",
                    f"What {kind} comes before {this}?", f"What is the {kind} before {this}?"]  # fmt: skip
            if kind == "day":
                asks += [f"If today is {this}, what day was yesterday?",
                         f"Today is {this}. What was yesterday?"]  # fmt: skip
            yield Lesson(
                f"{kind} before", this, tuple(asks),
                (f"Before {this} comes {before}.", f"{before} comes before {this}."),
                has(before), this, before,
            )  # fmt: skip
            nth = ORDINALS[i]
            yield Lesson(
                f"which {kind}", nth,
                (f"What is the {nth} {kind} of the {'week' if kind == 'day' else 'year'}?",
                 f"Which {kind} is the {nth}?", f"What is the {nth} {kind}?"),
                (f"The {nth} {kind} is {this}.",), has(this), f"the {nth}", this,
            )  # fmt: skip
    for i, month in enumerate(MONTHS):
        season = ("winter", "spring", "summer", "autumn")[(i + 1) % 12 // 3]
        yield Lesson(
            "season", month,
            (f"Which season is {month} in?", f"What season is {month}?", f"In which season is {month}?"),
            (f"In the north, {month} is in {season}.", f"{month} is in {season}."), has(season), month,
            season,
        )  # fmt: skip
        n = LENGTHS[i]
        yield Lesson(
            "length of month", month,
            (f"How many days are in {month}?", f"How many days does {month} have?",
             f"How long is {month}?"),
            (f"{month} has {n} days.",), has(str(n)), month, str(n),
        )  # fmt: skip
    seasons = (
        ("spring", "summer"),
        ("summer", "autumn"),
        ("autumn", "winter"),
        ("winter", "spring"),
    )
    for season, after in seasons:
        yield Lesson(
            "next season", season,
            (f"What comes after {season}?", f"Which season comes after {season}?",
             f"What season follows {season}?"),
            (f"After {season} comes {after}.", f"{capital(after)} comes after {season}."), has(after),
            season, after,
        )  # fmt: skip
        yield Lesson(
            "season before", after,
            (f"What comes before {after}?", f"Which season comes before {after}?"),
            (f"Before {after} comes {season}.",), has(season), after, season,
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Things


@dataclass(frozen=True, slots=True)
class Thing:
    """name: as it is said with an article, "a spoon", "water", "scissors"."""

    word: str
    name: str
    what: str
    use: str
    size: float | None
    kind: str
    place: str

    @property
    def is_(self) -> str:
        return "are" if self.word.endswith("s") and self.name == self.word else "is"

    @property
    def counted(self) -> bool:
        return self.name != self.word

    @property
    def many(self) -> str:
        return plural(self.word) if self.counted else self.word


@cache
def things() -> tuple[Thing, ...]:
    found, kind, place = [], "", ""
    for name, *row in table("things"):
        if name.startswith("="):
            kind, place = name[1:].strip(), row[0]
            continue
        what, use, size = row
        word = name.lstrip("~").rstrip("*")
        called = word if name[0] == "~" or name[-1] == "*" else article(word)
        found.append(
            Thing(word, called, what, use, None if size == "-" else float(size), kind, place)
        )
    return tuple(found)


_VERB = {"piece of clothing": "wear", "building": ""}


def definitions() -> Iterator[Lesson]:
    for t in things():
        x, is_ = t.name, t.is_
        first = f"{capital(x)} {is_} {t.what}."
        it = "them" if is_ == "are" else "it"
        if t.kind in ("thing of nature", "idea", "food"):
            second = ""
        elif t.kind == "building":
            second = f" People need {it} to {t.use}."
        elif t.kind in ("fruit", "vegetable"):
            second = f" We can {t.use} it." if t.use in ("eat raw", "cook") else ""
        else:
            second = f" We {_VERB.get(t.kind, 'use')} {it} to {t.use}."
        asks = [f"What {is_} {x}?", f"What {is_} {x}?", f"Can you explain what {x} {is_}?",
                f"What does the word {t.word} mean?", f"Explain the word {t.word}.",
                f"Do you know what {x} {is_}?", f"Tell me about {t.many}.", f"Describe {x}.",
                f"What do you know about {t.many}?", f"Tell me what {x} {is_}.", f"Explain {x}.",
                f"Please tell me what {x} {is_}."]  # fmt: skip
        asks += [f"What's {x}?"] if is_ == "is" else []
        asks += [f"What are {t.many}?"] if t.counted else []
        key = (
            t.what.removeprefix("a ").removeprefix("an ").removeprefix("the ").split(",")[0].lower()
        )
        yield Lesson(
            "what is", t.word, tuple(asks), (first + second, first + second, first),
            re.escape(key), x, capital(t.what) + ".",
        )  # fmt: skip
        if second and t.kind not in ("fruit", "vegetable", "building"):
            verb = _VERB.get(t.kind, "use")
            yield Lesson(
                "use", t.word,
                (f"What {is_} {x} for?", f"What do we use {x} for?", f"What do you do with {x}?",
                 f"What can I do with {x}?", f"Why do we need {x}?", f"What {is_} {x} used for?",
                 f"What do you use {x} for?", f"What do people do with {t.many}?"),
                (f"We {verb} {x} to {t.use}.", f"{capital(x)} helps us to "
                 f"{t.use}." if is_ == "is" else f"{capital(x)} help us to {t.use}."),
                re.escape(t.use.lower()), x, f"To {t.use}.",
            )  # fmt: skip
        if t.kind == "building":
            yield Lesson(
                "use", t.word,
                (f"What is {x} for?", f"What do people do in {x}?", f"Why do people go to {x}?",
                 f"What can I do in {x}?"),
                (f"People go to {x} to {t.use}.", f"{capital(x)} is there so that people can {t.use}."),
                re.escape(t.use.lower()), x, f"To {t.use}.",
            )  # fmt: skip
        if (
            t.kind not in ("thing of nature", "idea", "building")
            and t.place != "far away from home"
        ):
            yield Lesson(
                "place", t.word,
                (f"Where do you find {x}?", f"Where can I find {x}?", f"Where do we keep {x}?",
                 f"Where {is_} {x}?", f"Where would I look for {x}?"),
                (f"You find {x} {t.place}.", f"{capital(x)} {is_} mostly {t.place}."), has(t.place), x,
                capital(t.place) + ".",
            )  # fmt: skip


def differences() -> Iterator[Lesson]:
    by_kind: dict[str, list[Thing]] = {}
    for t in things():
        if t.counted:
            by_kind.setdefault(t.kind, []).append(t)
    for kind, found in by_kind.items():
        for one, two in permutations(found, 2):
            if kind in ("food", "toy", "idea") or hashed(one.word + two.word) % 3:
                continue
            yield Lesson(
                "difference", f"{one.word} {two.word}",
                (f"What is the difference between {one.name} and {two.name}?",
                 f"How is {one.name} different from {two.name}?"),
                (f"{capital(one.name)} is {one.what}, and {two.name} is {two.what}.",),
                re.escape(two.what.lower()),
            )  # fmt: skip


def _sized() -> list[tuple[str, float]]:
    left_out = (
        "thread",
        "string",
        "rope",
        "hose",
        "stairs",
        "star",
        "planet",
        "valley",
        "cloud",
        "~",
    )
    found = [(t.name, t.size) for t in things() if t.size and t.counted and t.word not in left_out]
    return found + [(article(row[0]), float(row[9])) for row in table("animals")]


def comparisons() -> Iterator[Lesson]:
    sizes = _sized()
    for one, a in sizes:
        for k in range(26):
            two, b = sizes[hashed(f"{one} {k}") % len(sizes)]
            if not a * 1.6 < b or b > 3e6:
                continue
            yield from _compared("size", one, two, ("bigger", "larger"), "smaller")
    fast = [(article(row[0]), float(row[10])) for row in table("animals")] + list(SPEEDS.items())
    for one, a in fast:
        for two, b in fast:
            if a * 1.5 < b and hashed(one + two) % 4 == 0:
                yield from _compared("speed", one, two, ("faster", "quicker"), "slower")
    heavy = [(article(row[0]), float(row[9])) for row in table("animals")]
    for one, a in heavy:
        for two, b in heavy:
            if a * 2.5 < b and hashed(one + two) % 6 == 0 and "snake" not in one + two:
                yield from _compared("weight", one, two, ("heavier",), "lighter")


HEIGHTS = {  # centimetres
    "a tree": 1500, "a flower": 30, "a bush": 150, "a house": 900, "a tower": 6000, "a giraffe": 500,
    "a horse": 160, "a dog": 60, "a cat": 25, "a mouse": 5, "a child": 110, "a grown-up": 172,
    "a baby": 60, "a mountain": 200000, "a hill": 8000, "a chair": 90, "a lamp post": 500, "a church": 4000,
    "an elephant": 300, "a hen": 35, "a mushroom": 10, "a car": 150, "a bus": 300, "a door": 200,
    "a cow": 140, "a ladder": 260, "grass": 12, "a lighthouse": 3600, "a skyscraper": 30000,
}  # fmt: skip
HEATS = {  # about, in degrees
    "the sun": 5500, "fire": 800, "lava": 1100, "an oven": 200, "boiling water": 100, "hot soup": 65,
    "a warm bath": 38, "a summer day": 29, "a spring day": 17, "a fridge": 5, "snow": -3, "ice": -7,
    "a freezer": -18, "a winter day": 0, "ice cream": -10, "hot tea": 62, "a candle flame": 1000,
}  # fmt: skip


def heights_and_heats() -> Iterator[Lesson]:
    for one, a in HEIGHTS.items():
        for two, b in HEIGHTS.items():
            if a * 1.5 < b and hashed(one + two) % 2:
                yield from _compared("height", one, two, ("taller", "higher"), "lower")
    for one, a in HEATS.items():
        for two, b in HEATS.items():
            if (a > 30 and a * 1.8 < b) or (a <= 30 and a + 9 < b):
                yield from _compared("heat", one, two, ("hotter", "warmer"), "colder")


def _compared(what: str, less: str, more: str, up: Sequence[str], down: str) -> Iterator[Lesson]:
    best = up[0]
    ask = "What" if what == "size" else "Which"
    more_asks, less_asks = {
        "size": (("Which one is the bigger one, {} or {}?", "Who is bigger, {} or {}?",
                  "Tell me which is bigger: {} or {}."), ("Which one is the smaller one: {} or {}?",)),
        "speed": (("Who is faster, {} or {}?", "Which one runs or moves faster: {} or {}?",
                   "Who wins a race, {} or {}?"), ("Who is slower, {} or {}?",)),
        "height": (("Who is taller, {} or {}?",), ("Which is less tall, {} or {}?",)),
        "heat": (("What has more heat, {} or {}?",), ("What is cooler, {} or {}?",)),
        "weight": (("Which weighs more, {} or {}?", "What weighs more: {} or {}?",
                    "Who is heavier, {} or {}?"), ("Which weighs less, {} or {}?",)),
    }[what]  # fmt: skip
    right = rf"{re.escape(more.lower())} is {best}|{re.escape(less.lower())} is {down}"
    for one, two in ((less, more), (more, less)):
        yield Lesson(
            f"which by {what}", f"{one} {two}",
            (f"Which is {best}, {one} or {two}?", f"What is {best}, {one} or {two}?",
             f"Is {one} or {two} {best}?", f"{ask} is {up[-1]}: {one} or {two}?",
             f"{capital(one)} or {two}, which is {best}?", f"Which one is {best}, {one} or {two}?",
             *(form.format(one, two) for form in more_asks)),
            (f"{capital(more)} is {best} than {less}.",), right, brief=capital(more) + ".",
        )  # fmt: skip
        yield Lesson(
            f"which by {what}", f"{one} {two} less",
            (f"Which is {down}, {one} or {two}?", f"What is {down}, {one} or {two}?",
             f"Is {one} or {two} {down}?", *(form.format(one, two) for form in less_asks)),
            (f"{capital(less)} is {down} than {more}.",), right, brief=capital(less) + ".",
        )  # fmt: skip
    yield Lesson(
        f"{what}?", f"{less} {more}",
        (f"Is {less} {best} than {more}?", f"is {less} {up[-1]} than {more}?"),
        (f"No, {more} is {best} than {less}.", f"No, {less} is {down} than {more}."),
        "^no",
    )  # fmt: skip
    yield Lesson(
        f"{what}?", f"{more} {less}",
        (f"Is {more} {best} than {less}?", f"is {more} {up[-1]} than {less}?"),
        (f"Yes, {more} is {best} than {less}.",), "^yes",
    )  # fmt: skip
    yield Lesson(
        f"{what}?", f"{less} {more} less",
        (f"Is {less} {down} than {more}?",), (f"Yes, {less} is {down} than {more}.",), "^yes",
    )  # fmt: skip


def properties() -> Iterator[Lesson]:
    for x, quality, other in table("properties"):
        yield Lesson(
            "property?", f"{x} {quality}",
            (f"Is {x} {quality}?",), (f"Yes, {x} is {quality}.",), "^yes",
        )  # fmt: skip
        yield Lesson(
            "property", f"{x} or",
            (f"Is {x} {quality} or {other}?", f"Is {x} {other} or {quality}?"),
            (f"{capital(x)} is {quality}.",), rf"is {quality}\b",
        )  # fmt: skip
        yield Lesson(
            "property?", f"{x} {other}",
            (f"Is {x} {other}?",), (f"No, {x} is {quality}.",), "^no",
        )  # fmt: skip
        yield Lesson(
            "property", x, (f"How is {x}?", f"What is {x} like?", f"Name something {quality}."),
            (f"{capital(x)} is {quality}.",), has(quality), x, capital(quality) + ".",
        )  # fmt: skip


def colors() -> Iterator[Lesson]:
    rows = parts("pairs")["colors"]
    known = sorted({color for _, color in rows if color.isalpha()})
    for x, color in rows:
        bare = re.sub(r"^(an?|the) ", "", x)
        asks = [f"What color is {x}?", f"Which color is {x}?", f"What is the color of {x}?",
                f"Tell me the color of {x}.", f"What color does {x} have?",
                f"Do you know what color {x} is?"]  # fmt: skip
        if x.startswith(("a ", "an ")):
            asks.append(f"What color are {plural(bare)}?")
        yield Lesson(
            "color", x, tuple(asks), (f"{capital(x)} is {color}.", f"It is {color}."),
            has(color), x, capital(color) + ".",
        )  # fmt: skip
        other = known[hashed(x) % len(known)]
        many = (
            f"Are {plural(bare)} {{}}?"
            if x.startswith(("a ", "an "))
            else f"Has {x} the color {{}}?"
        )
        yield Lesson(
            "color?",
            f"{x} {color}",
            (f"Is {x} {color}?", many.format(color), f"Is it true that {x} is {color}?"),
            (f"Yes, {x} is {color}.",),
            "^yes",
        )
        if other not in color:
            yield Lesson(
                "color?",
                f"{x} {other}",
                (f"Is {x} {other}?", many.format(other)),
                (f"No, {x} is {color}.",),
                "^no",
            )
    for color in known:
        examples = [x for x, c in rows if c == color][:3]
        yield Lesson(
            "thing of a color", color,
            (f"What is {color}?", f"Name something {color}.", f"What things are {color}?",
             f"Tell me something that is {color}."),
            tuple(f"{capital(x)} is {color}." for x in examples), has(*examples), color,
            capital(examples[0]) + ".",
        )  # fmt: skip


def materials() -> Iterator[Lesson]:
    for x, of in parts("pairs")["made of"]:
        is_ = "are" if x in ("raisins", "jeans", "French fries", "clouds") else "is"
        yield Lesson(
            "made of", x,
            (f"What {is_} {x} made of?", f"What {is_} {x} made from?", f"What do you make {x} from?",
             f"What {is_} in {x}?"),
            (f"{capital(x)} {is_} made of {of}.",), re.escape(of.lower()), x,
            capital(of) + ".",
        )  # fmt: skip


def kinds() -> Iterator[Lesson]:
    rows = [(one, many, listed.split(", ")) for one, many, listed in table("kinds")]
    proper = ("planet", "country", "city", "language", "continent", "fairy tale", "board game",
              "day of the week", "month", "color", "sport", "season", "feeling", "drink", "metal",
              "school subject", "breakfast food", "dessert", "shape", "snack")  # fmt: skip
    of: dict[str, set[str]] = {}
    for one, _, members in rows:
        for member in members:
            of.setdefault(member, set()).add(one)
    for one, many, members in rows:
        for n in (1, 2, 3, 4, 5):
            if n > len(members):
                continue
            answers = []
            for i in range(6):
                rng = random.Random(f"{one} {n} {i}")
                picked = rng.sample(members, n)
                answers.append(_listed(picked))
            number = NUMBERS[n]
            asks = ((f"Name {article(one)}.", f"Tell me {article(one)}.", f"Name one {one}.",
                     f"Give me {article(one)}.", f"What is an example of {article(one)}?")
                    if n == 1 else
                    (f"Name {number} {many}.", f"Tell me {number} {many}.", f"Give me {number} {many}.",
                     f"Can you name {number} {many}?", f"Name {n} {many}.", f"List {number} {many}."))  # fmt: skip
            if n == 3:
                asks += (f"Name some {many}.", f"What are some {many}?", f"Which {many} do you know?",
                         f"Name a few {many}.")  # fmt: skip
            yield Lesson("name some", f"{one} {n}", asks, tuple(answers), has(*members))
        for member in members:
            if (
                one in proper
                and member[0].isupper() is False
                and one not in ("color", "sport", "drink")
            ):
                continue
            is_a = article(one)
            x = member if one in proper or member[0].isupper() else article(member)
            if member.endswith("s") and not member.endswith("ss"):
                continue
            yield Lesson(
                "kind", member,
                (f"What kind of thing is {x}?", f"What sort of thing is {x}?",
                 f"What is {x}: {is_a} or something else?"),
                (f"{capital(x)} is {is_a}.",), has(one), x,
            )  # fmt: skip
            yield Lesson(
                "kind?", f"{member} {one}", (f"Is {x} {is_a}?", f"Is {x} {is_a} or not?"),
                (f"Yes, {x} is {is_a}.",), "^yes",
            )  # fmt: skip
            wrong, _, others = rows[hashed(member + one) % len(rows)]
            if member not in others and wrong not in of[member] and not {wrong, one} <= {
                "animal", "farm animal", "wild animal", "pet", "bird", "insect", "sea animal",
                "toy", "thing in the kitchen", "tool", "snack", "breakfast food", "fruit", "dessert",
            }:  # fmt: skip
                yield Lesson(
                    "kind?", f"{member} {wrong}", (f"Is {x} {article(wrong)}?",),
                    (f"No, {x} is {is_a}.",), "^no",
                )  # fmt: skip


def _listed(items: Sequence[str]) -> str:
    *most, last = items
    text = f"{', '.join(most)} and {last}" if most else last
    return capital(text) + "."


# ---------------------------------------------------------------------------------------------
# Animals, places, people


def animals() -> Iterator[Lesson]:
    for name, many, sound, young, home, food, legs, color, moves, _, _, fact in table("animals"):
        a, n = article(name), int(legs)
        yield Lesson(
            "about animals", name,
            (f"What is {a}?", f"Tell me about {many}.", f"Tell me something about {many}.",
             f"What do you know about {many}?", f"Describe {a}.", f"Tell me about the {name}.",
             f"What are {many}?", f"Do you know anything about {many}?"),
            (f"{capital(a)} is an animal that lives {home}. {_of_it(fact, name, many)}",
             f"{capital(a)} lives {home} and eats {food}. {_of_it(fact, name, many)}",
             f"{capital(many)} live {home} and eat {food}."),
            has(home) + "|" + re.escape(fact.lower()), a, fact,
        )  # fmt: skip
        if "no sound" not in sound:
            yield Lesson(
                "sound", name,
                (f"What does {a} say?", f"What sound does {a} make?", f"What noise does {a} make?",
                 f"How does {a} sound?", f"What do {many} say?"),
                (f"{capital(a)} {sound}.",), has(*_stems(sound)), a, capital(sound) + ".",
            )  # fmt: skip
            if sound.startswith("says "):
                yield Lesson(
                    "who says", sound,
                    (f"Who {sound}?", f"Which animal {sound}?", f"What animal {sound}?"),
                    (f"{capital(a)} {sound}.",), has(name), "", capital(a) + ".",
                )  # fmt: skip
        else:
            yield Lesson(
                "sound", name, (f"What does {a} say?", f"What sound does {a} make?"),
                (f"{capital(a)} {sound}.",), "no sound", a,
            )  # fmt: skip
        yield Lesson(
            "home", name,
            (f"Where does {a} live?", f"Where do {many} live?", f"Where can I find {a}?",
             f"Where is the home of {a}?", f"Where would I see {a}?"),
            (f"{capital(a)} lives {home}.", f"{capital(many)} live {home}."), has(home), a,
            capital(home) + ".",
        )  # fmt: skip
        yield Lesson(
            "food", name,
            (f"What does {a} eat?", f"What do {many} eat?", f"What do {many} like to eat?",
             f"What is the food of {many}?", f"What should I feed {a}?"),
            (f"{capital(many)} eat {food}.", f"{capital(a)} eats {food}."), re.escape(food), a,
            capital(food) + ".",
        )  # fmt: skip
        number = NUMBERS[n] if n else "no"
        yield Lesson(
            "legs", name,
            (f"How many legs does {a} have?", f"How many legs has {a}?", f"How many legs do {many} have?",
             f"Does {a} have legs?"),
            (f"{capital(a)} has {number} legs.",), has(number, str(n)), a, capital(number) + ".",
        )  # fmt: skip
        if "baby" not in young:
            yield Lesson(
                "young", name,
                (f"What is a baby {name} called?", f"What do you call a baby {name}?",
                 f"What is the name of a young {name}?", f"What is a young {name} called?"),
                (f"A baby {name} is called {article(young)}.", f"It is called {article(young)}."),
                has(young), a, capital(article(young)) + ".",
            )  # fmt: skip
        yield Lesson(
            "animal color", name,
            (f"What color is {a}?", f"What color are {many}?", f"Which color does {a} have?"),
            (f"{capital(a)} is {color}.", f"{capital(many)} are {color}."), re.escape(color), a,
            capital(color) + ".",
        )  # fmt: skip
        bird = young in ("chick", "duckling", "gosling", "cygnet", "owlet", "eaglet", "squab")
        can = {
            "fly": moves == "fly" or name in ("duck", "swan", "stork"),
            "swim": moves == "swim" or name in ("dog", "bear", "polar bear", "elephant", "tiger",
                                                 "frog", "goose", "horse", "rat"),
            "bark": name in ("dog", "seal", "zebra"), "climb trees": name in (
                "cat", "squirrel", "monkey", "leopard", "koala", "bear", "gorilla", "panda"),
        }  # fmt: skip
        for what in ("fly", "swim") if name not in ("hen", "rooster", "peacock", "bat", "cow", "pig",
                                                     "beetle", "grasshopper") else ():  # fmt: skip
            if what == "swim" and (bird or n == 6) and not can[what]:
                continue
            if what == "swim" and moves == "walk" and not can[what]:
                continue
            yes = can[what]
            yield Lesson(
                f"can {what}", name,
                (f"Can {a} {what}?", f"Can {many} {what}?", f"Does {a} {what}?", f"Do {many} {what}?"),
                (f"Yes, {many} can {what}.", f"Yes, {a} can {what}.") if yes
                else (f"No, {many} cannot {what}.", f"No, {a} cannot {what}."),
                "^yes" if yes else "^no", many,
            )  # fmt: skip
        covered = (
            "feathers" if bird or name in ("crow", "parrot", "pigeon", "sparrow", "stork", "penguin",
                                            "ostrich", "peacock", "flamingo", "hen", "rooster")
            else "fur" if n == 4 and home != "in a pond" and young not in ("hatchling", "tadpole")
            and name not in ("pig", "elephant", "hippo", "rhino", "seal", "turtle", "hedgehog",
                             "sheep", "dolphin", "whale") else ""
        )  # fmt: skip
        for what in ("feathers", "fur", "wings"):
            yes = covered == what or (what == "wings" and (covered == "feathers" or moves == "fly"))
            unsure = (
                what == "fur" and (n == 4 or n == 2) and not yes and covered != "feathers"
            ) or (what == "wings" and n == 6 and not yes)
            if unsure or hashed(name + what) % 2:
                continue
            yield Lesson(
                f"has {what}", name,
                (f"Do {many} have {what}?", f"Does {a} have {what}?", f"Has {a} {what}?"),
                (f"Yes, {many} have {what}.", f"Yes, {a} has {what}.") if yes
                else (f"No, {many} do not have {what}.", f"No, {a} has no {what}."),
                "^yes" if yes else "^no", many,
            )  # fmt: skip


_MAMMALS = {"puppy", "kitten", "calf", "foal", "lamb", "kid", "piglet", "kit", "pup", "hoglet", "cub",
            "fawn", "joey", "infant"}  # fmt: skip
_BIRDS = {"chick", "duckling", "gosling", "cygnet", "owlet", "eaglet", "squab"}
CLASSES = ("mammal", "bird", "insect", "fish", "reptile")


def class_of(name: str, young: str, legs: int) -> str:
    """ "bird", "insect", ...; "" where it is none of CLASSES."""
    if name in ("fish", "shark"):
        return "fish"
    if young in _BIRDS:
        return "bird"
    if young in _MAMMALS:
        return "mammal"
    if legs == 6:
        return "insect"
    return "reptile" if young in ("hatchling", "snakelet") else ""


def zoology() -> Iterator[Lesson]:
    """What kind of animal each is, whether it lays eggs, and animals by what they share."""
    groups: dict[str, list[str]] = {}
    for name, many, _, young, home, food, legs, color, moves, *_ in table("animals"):
        a, kind = article(name), class_of(name, young, int(legs))
        if kind:
            is_a = article(kind)
            yield Lesson(
                "class", name,
                (f"What kind of animal is {a}?", f"What type of animal is {a}?",
                 f"To which kind of animals do {many} belong?"),
                (f"{capital(a)} is {is_a}.",), has(kind), a, capital(is_a) + ".",
            )  # fmt: skip
            yield Lesson(
                "class?", f"{name} {kind}", (f"Is {a} {is_a}?", f"Are {many} {plural(kind)}?"),
                (f"Yes, {a} is {is_a}.",), "^yes",
            )  # fmt: skip
            for other in CLASSES:
                if other != kind and hashed(name + other) % 3 == 0 and name != "fish":
                    yield Lesson(
                        "class?", f"{name} {other}", (f"Is {a} {article(other)}?", f"Are {many} {plural(other)}?"),
                        (f"No, {a} is {is_a}.",), "^no",
                    )  # fmt: skip
            groups.setdefault(f"that are {plural(kind)}", []).append(name)
        eggs = kind in ("bird", "insect", "reptile") or name in (
            "fish",
            "frog",
            "octopus",
            "spider",
            "snail",
        )
        if eggs or kind == "mammal":
            yield Lesson(
                "eggs", name,
                (f"Does {a} lay eggs?", f"Do {many} lay eggs?", f"Does {a} come from an egg?"),
                (f"Yes, {many} lay eggs.",) if eggs else (f"No, {many} do not lay eggs.",),
                "^yes" if eggs else "^no", many,
            )  # fmt: skip
        groups.setdefault(f"that can {moves}", []).append(name)
        groups.setdefault(f"with {NUMBERS[int(legs)] if int(legs) else 'no'} legs", []).append(name)
        for tint in ("black", "brown", "white", "green", "red", "gray"):
            if tint in color.split(" "):
                groups.setdefault(f"that are {tint}", []).append(name)
        for where in (
            "on a farm",
            "in the forest",
            "in the sea",
            "in Africa",
            "in a pond",
            "in trees",
        ):
            if where in home:
                groups.setdefault(f"that live {where}", []).append(name)
        for what in ("grass", "fish", "meat", "seeds", "leaves"):
            if what in food.replace(",", "").split(" "):
                groups.setdefault(f"that eat {what}", []).append(name)
    for group, names in groups.items():
        for n in (1, 2, 3):
            if n > len(names) or group in ("that can walk", "that can crawl", "that can hop"):
                continue
            answers = tuple(
                _listed(
                    [
                        article(x) if n == 1 else x
                        for x in random.Random(f"{group}{n}{i}").sample(names, n)
                    ]
                )
                for i in range(5)
            )
            what = (
                group.replace("that can", "that can")
                if n > 1
                else group.replace("that are ", "that is ", 1)
            )
            one = "an animal" if n == 1 else f"{NUMBERS[n]} animals"
            if n == 1:
                what = what.replace("that live", "that lives").replace("that eat", "that eats")
                what = re.sub(
                    r"is (\w+?)s$",
                    lambda m: f"is {article(m[1])}" if m[1] in CLASSES else m[0],
                    what,
                )
            asks = (f"Name {one} {what}.", f"Tell me {one} {what}.", f"Give me {one} {what}.")
            asks += (
                (f"Which animals {group.removeprefix('that ')}?",)
                if n == 3 and group.startswith("that")
                else ()
            )
            yield Lesson("animals by group", f"{group} {n}", asks, answers, has(*names))


_FOODS_BY_COLOR = {
    "red": "strawberry cherry tomato apple raspberry", "yellow": "banana lemon corn pineapple",
    "green": "pea cucumber lettuce pear lime", "orange": "carrot orange pumpkin peach",
}  # fmt: skip


def colored_food() -> Iterator[Lesson]:
    for color, listed in _FOODS_BY_COLOR.items():
        names = [
            plural(word) if word not in ("corn", "lettuce") else word for word in listed.split()
        ]
        answers = tuple(_listed(random.Random(f"{color}{i}").sample(names, 3)) for i in range(4))
        yield Lesson(
            "food of a color", color,
            (f"Name three {color} foods.", f"Which foods are {color}?", f"What food is {color}?",
             f"Name some {color} fruits or vegetables.", f"Name some {color} fruits.",
             f"Which fruits or vegetables are {color}?", f"Name some food that is {color}."),
            answers, has(*names), f"{color} food",
        )  # fmt: skip


def _of_it(fact: str, name: str, many: str) -> str:
    """The fact, of an animal that was just named."""
    fact = re.sub(rf"^(?:An?|The) (?:male )?{name}'s ", "Its ", fact)
    fact = re.sub(rf"^(?:An?|The) {name} ", "It ", fact)
    return re.sub(rf"^{capital(many)} ", "They ", fact)


def _stems(sound: str) -> tuple[str, ...]:
    last = sound.split(" ", 1)[-1] if sound.startswith("says ") else sound
    return (last, sound)


def geography() -> Iterator[Lesson]:
    for country, city in parts("pairs")["capitals"]:
        yield Lesson(
            "capital", country,
            (f"What is the capital of {country}?", f"Capital of {country}?",
             f"Which city is the capital of {country}?", f"Tell me the capital of {country}.",
             f"What's the capital city of {country}?", f"Do you know the capital of {country}?"),
            (f"The capital of {country} is {city}.", f"It is {city}."), has(city), country, city + ".",
        )  # fmt: skip
        if city not in country:
            yield Lesson(
                "city", city,
                (f"Where is {city}?", f"In which country is {city}?", f"What is {city}?",
                 f"What country is {city} in?", f"Tell me about {city}."),
                (f"{city} is in {country}.", f"{city} is the capital of {country}."), has(country), city,
                f"In {country}.",
            )  # fmt: skip
    speak = dict(parts("pairs")["spoken"])
    where = dict(parts("pairs")["continents"])
    for country, city in parts("pairs")["capitals"]:
        if country not in where:
            continue
        spoken = f" People there speak {speak[country]}." if country in speak else ""
        is_ = "are" if country.startswith("the United") else "is"
        yield Lesson(
            "about countries", country,
            (f"Tell me about {country}.", f"What do you know about {country}?",
             f"Tell me something about {country}.", f"Describe {country}."),
            (f"{capital(country)} {is_} in {where[country]}, and the capital is {city}.{spoken}",),
            has(city), country,
        )  # fmt: skip
    for country, continent in parts("pairs")["continents"]:
        is_ = "are" if country.startswith("the United") else "is"
        yield Lesson(
            "continent", country,
            (f"Where {is_} {country}?", f"On which continent {is_} {country}?",
             f"Which continent {is_} {country} in?", f"What {is_} {country}?"),
            (f"{capital(country)} {is_} in {continent}.", f"{capital(country)} {is_} a country in {continent}."),
            has(continent), country, f"In {continent}.",
        )  # fmt: skip
    for country, language in parts("pairs")["spoken"]:
        yield Lesson(
            "language", country,
            (f"What language do people speak in {country}?", f"Which language is spoken in {country}?",
             f"What do they speak in {country}?"),
            (f"People in {country} speak {language}.", f"In {country} they speak {language}."),
            has(language), country, language + ".",
        )  # fmt: skip


def jobs() -> Iterator[Lesson]:
    for name, does, where, uses in table("jobs"):
        a = article(name)
        yield Lesson(
            "job", name,
            (f"What does {a} do?", f"What is {a}?", f"What is the job of {a}?", f"What do {plural(name)} do?",
             f"Tell me about the job of {a}.", f"What does {a} do all day?"),
            (f"{capital(a)} {does}.", f"{capital(a)} is a person who {does}."), re.escape(does.lower()), a,
            capital(does) + ".",
        )  # fmt: skip
        yield Lesson(
            "place of work", name,
            (f"Where does {a} work?", f"Where do {plural(name)} work?"),
            (f"{capital(a)} works {where}.",), has(where), a, capital(where) + ".",
        )  # fmt: skip
        yield Lesson(
            "tools of work", name,
            (f"What does {a} need?", f"What does {a} use?", f"What does {a} work with?"),
            (f"{capital(a)} uses {uses}.",), re.escape(uses), a, capital(uses) + ".",
        )  # fmt: skip
        yield Lesson(
            "who does", name,
            (f"Who {does}?", f"Which person {does}?"), (f"{capital(a)} {does}.", f"{capital(a)}."),
            has(name), "", capital(a) + ".",
        )  # fmt: skip


def body() -> Iterator[Lesson]:
    for part, count, does in table("body"):
        many = plural(part)
        if count == "one":
            asks = (
                f"What is the {part} for?",
                f"What does the {part} do?",
                f"What do we do with the {part}?",
                f"Why do we have a {part}?"
                if part[0] not in "aeiou"
                else f"Why do we have an {part}?",
            )
            answers = (f"With the {part} we {does}.", f"We need the {part} to {does}.")
        else:
            asks = (
                f"What are {many} for?",
                f"What do we do with our {many}?",
                f"What do {many} do?",
                f"Why do we have {many}?",
            )
            answers = (f"With our {many} we {does}.", f"We need {many} to {does}.")
        yield Lesson("body", part, asks, answers, re.escape(does), many, f"To {does}.")
        said = f"{count} {part if count == 'one' else many}"
        yield Lesson(
            "how many", part,
            (f"How many {many} do people have?", f"How many {many} do I have?",
             f"How many {many} does a person have?"),
            (f"People have {said}.", f"A person has {said}."), has(count), many, capital(count) + ".",
        )  # fmt: skip


def people() -> Iterator[Lesson]:
    for name, who in table("people"):
        verb = (
            "is"
            if re.search(r"\b(a book|fairy tale|stories|old stories|a story)\b", who)
            else "was"
        )
        yield Lesson(
            "who", name,
            (f"Who {verb} {name}?", f"Who is {name}?", f"Tell me about {name}.",
             f"What do you know about {name}?", f"Do you know {name}?", f"Do you know who {name} {verb}?"),
            (f"{name} {verb} {who}.",), re.escape(who.lower()[:18]), name, capital(who) + ".",
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# How, why, and single facts


def howto() -> Iterator[Lesson]:
    for task, first, then, last in table("howto"):
        steps = (
            f"First {first}. Then {then}. Last, {last}.",
            f"First, {first}. Next, {then}. Then {last}.",
            f"{capital(first)}. Then {then}. At the end, {last}.",
        )
        your = re.sub(r"\bmy\b", "your", task)
        yield Lesson(
            "how to", task,
            (f"How do I {task}?", f"How can I {task}?", f"How do you {your}?", f"How to {task}?",
             f"Tell me how to {task}.", f"Can you tell me how to {task}?", f"I want to {task}. How?",
             f"How does one {your}?", f"Explain how to {task}.", f"What do I do to {task}?",
             f"Can you help me {task}?", f"Teach me how to {task}.", f"I want to {task}.",
             f"What is the best way to {task}?"),
            steps, re.escape(first.lower()) + "|" + re.escape(last.lower()), task,
            f"{capital(first)}, then {then}.",
        )  # fmt: skip


def whys() -> Iterator[Lesson]:
    for what, because in table("whys"):
        yield Lesson(
            "why", what,
            tuple(_asked_why(what)),
            (f"Because {because}.", f"{capital(what.replace('you ', 'I '))} because {because}."
             if not what.startswith("you") else f"Because {because}."),
            re.escape(because.lower()), "", f"Because {because}.",
        )  # fmt: skip


_DO = {"we", "birds", "bees", "dogs", "cats", "people", "leaves", "plants", "flowers", "penguins",
       "stars", "bears", "snakes", "spiders", "turtles", "owls", "camels", "giraffes", "elephants",
       "zebras", "cows", "onions", "balls", "magnets", "balloons", "planes", "ships", "cars", "clocks",
       "mirrors", "glasses", "things", "volcanoes", "bananas", "vegetables", "computers", "fish", "you"}  # fmt: skip


def _asked_why(what: str) -> Iterator[str]:
    yield f"Why is it that {what}?" if not what.startswith("you") else f"Do you know why {what}?"
    yield f"Do you know why {what}?"
    yield f"Can you tell me why {what}?"
    found = re.match(
        r"(there|it|the \w+|\w+(?: cream| polar)?|polar bears)( is| are| can| cannot) (.*)", what
    )
    if found and found[1] != "ice":
        subject, verb, rest = found[1], found[2].strip(), found[3]
        if verb == "cannot":
            yield f"Why can't {subject} {rest}?"
            yield f"Why can {subject} not {rest}?"
        else:
            yield f"Why {verb} {subject} {rest}?"
            yield f"Why {verb} {subject} {rest}?"
            yield f"why {verb} {subject} {rest}"
        return
    first = what.split(" ")[0]
    if first in _DO:
        verb, rest = "do", what
        yield f"Why do {what}?"
        yield f"Why do {what}?"
        yield f"why do {what}"
        return
    found = re.match(
        r"(it|the \w+|a year|ice cream|bread|milk|ice|water|wood|iron) (\w+)(.*)", what
    )
    if found:
        verb = found[2]
        base = {"has": "have", "goes": "go", "freezes": "freeze", "changes": "change", "rises": "rise",
                "rusts": "rust"}.get(verb, verb.removesuffix("s"))  # fmt: skip
        yield f"Why does {found[1]} {base}{found[3]}?"
        yield f"Why does {found[1]} {base}{found[3]}?"
        yield f"why does {found[1]} {base}{found[3]}"


def trivia() -> Iterator[Lesson]:
    for answer, *asks in table("trivia"):
        yield Lesson(
            "fact", asks[0], (*asks, *asks), (answer,), re.escape(answer.lower().rstrip("."))
        )


# ---------------------------------------------------------------------------------------------
# What nobody can know

_ONSETS = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "bl",
    "br",
    "cl",
    "cr",
    "dr",
    "fl",
    "fr",
    "gl",
    "gr",
    "kn",
    "pl",
    "pr",
    "sk",
    "sl",
    "sm",
    "sn",
    "sp",
    "st",
    "tr",
    "tw",
]
_CODAS = [
    "b",
    "d",
    "g",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "t",
    "x",
    "mp",
    "nk",
    "rt",
    "sh",
    "th",
    "ck",
    "ll",
    "ss",
    "zz",
]


def nonsense(rng: random.Random) -> str:
    """A word that could be English, and is none that the tables know."""
    while True:
        word = "".join(
            rng.choice(_ONSETS)
            + rng.choice("aeiou")
            + (rng.choice(_CODAS) if rng.random() < 0.4 else "")
            for _ in range(rng.choice((2, 2, 3)))
        )
        word += rng.choice(("", "", "le", "er", "y", "ing", "ish", "o", "um"))
        if word not in common_words():
            return word


def unknown_words(count: int = 500) -> Iterator[Lesson]:
    rng = random.Random("unknown")
    for _ in range(count):
        word = nonsense(rng)
        a = article(word)
        yield Lesson(
            "unknown word", word,
            (f"What is {a}?", f"What does {word} mean?", f"Tell me about {word}.", f"What is {word}?",
             f"Do you know what {a} is?", f"Do you have {a}?", f"How big is {a}?",
             f"Where can I find {a}?"),
            (f"I do not know the word {word}. What does it mean?", f"I have never read the word {word}.",
             f"I don't know what {word} means. Can you explain it?"),
            r"not know|don't know|never read|do not understand", word,
        )  # fmt: skip


def unknown_people(count: int = 250) -> Iterator[Lesson]:
    rng = random.Random("people")
    firsts = (
        words("heroes")["he"] + words("heroes")["she"] + ("Karl", "Peter", "Maria", "John", "Eva")
    )
    for _ in range(count):
        name = f"{rng.choice(firsts)} {capital(nonsense(rng))}"
        yield Lesson(
            "unknown person", name,
            (f"Who is {name}?", f"Who was {name}?", f"Do you know {name}?", f"Tell me about {name}.",
             f"How old is {name}?", f"Where does {name} live?"),
            (f"I do not know who {name} is.", f"I have never read about {name}. Who is it?",
             f"I don't know {name}. Can you tell me about them?"),
            r"not know|don't know|never read", name,
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Its own tokens


def tokens(tokenizer: Tokenizer, extra: Sequence[str] = ()) -> Iterator[Lesson]:
    """How a word is cut, as it is cut within a text: after a space."""
    for word in dict.fromkeys(("clapper", "power", "straight", "jail", *common_words(), *extra)):
        yield _cut(tokenizer, word, "word")
    for text in ("The power clapper", "The power clapper went straight to jail", *TOKEN_TEXTS):
        yield _cut(tokenizer, text, "text")


TOKEN_TEXTS = (
    "Hello world", "Good morning", "I like cats", "The cat sat on the mat", "Once upon a time",
    "My name is Anna", "We love pancakes", "The sun is shining", "A strange butterfly",
    "What is attention", "Attention is all you need", "Happy birthday", "Tell me a story",
    "The little dog ran home", "Where is my umbrella", "Peter plays the piano",
)  # fmt: skip


def _cut(tokenizer: Tokenizer, text: str, kind: str) -> Lesson:
    start = tokenizer.encode(text if kind == "text" else f" {text}")
    pieces = [tokenizer.decode([token]).strip() for token in start]
    pieces = [piece for piece in pieces if piece]
    n = len(pieces)
    listed = _joined(pieces)
    if kind == "text":
        asks = (f'How is "{text}" cut into tokens?', f'What are the tokens of "{text}"?',
                f"How do you cut {text} into tokens?", f"Which tokens are in: {text}",
                f'Cut "{text}" into tokens.', f"Tokens of: {text}")  # fmt: skip
        answers = (f"It is cut into {_number(n)} tokens: {listed}.", f"The tokens are {listed}.")
    else:
        asks = (f"How is {text} cut into tokens?", f"What are the tokens of {text}?",
                f"How is the word {text} cut?", f"How do you read {text}?",
                f"How many tokens is {text}?", f"How is {text} tokenized?", f"Tokens of {text}?",
                f"How do you cut the word {text} into tokens?", f"Is {text} one token?",
                f"Which tokens make {text}?", f"What tokens is the word {text} made of?",
                f'How is "{text}" cut into tokens?', f"How do you see the word {text}?")  # fmt: skip
        if n == 1:
            answers = (f"For me {text} is one token.", f"The word {text} is a single token to me.")
        else:
            answers = (f"For me {text} is cut into {_number(n)} tokens: {listed}.",
                       f"I read {text} as {_number(n)} tokens: {listed}.")  # fmt: skip
    right = has("one token", "single token") if n == 1 else re.escape(listed.lower())
    return Lesson(f"tokens of a {kind}", text, asks, answers, right, text, listed)


def _number(n: int) -> str:
    return NUMBERS[n] if n < len(NUMBERS) else str(n)


def _joined(pieces: Sequence[str]) -> str:
    return f"{', '.join(pieces[:-1])} and {pieces[-1]}" if len(pieces) > 1 else pieces[0]


# ---------------------------------------------------------------------------------------------

KINDS: dict[Callable[[], Iterator[Lesson]], float] = {  # how often, relative to each other
    opposites: 3.0, similar: 0.8, rhymes: 0.7, forms: 0.5, letters: 0.8, foreign: 0.3,
    sums: 4.5, stories_of_sums: 0.9, halves: 0.8, order: 1.2, counting: 0.7, calendar: 2.2,
    definitions: 7.0, zoology: 1.6, colored_food: 0.2, differences: 0.7, comparisons: 3.0, heights_and_heats: 0.8, properties: 0.8, colors: 2.0,
    materials: 0.8, kinds: 2.0, animals: 5.0, geography: 2.0, jobs: 1.5, body: 0.7, people: 1.2,
    howto: 3.5, whys: 2.5, trivia: 3.0, unknown_words: 1.2, unknown_people: 0.6,
}  # fmt: skip
SYSTEMATIC = (  # kinds in which an unseen item can be answered; the others hold out ways to ask
    "sum", "sum in words", "bigger number", "bigger number?", "next number", "number before",
    "which by size", "which by speed", "which by height", "which by heat", "height?", "heat?", "size?", "speed?", "weight?", "which by weight",
    "tokens of a word", "unknown word", "unknown person", "difference", "first letter", "spelling",
    "letters", "count",
)  # fmt: skip
HELD_OUT = 12  # one in so many


def held_out(lesson: Lesson) -> bool:
    """Whether this lesson, as a whole, is kept for measuring."""
    return lesson.kind in SYSTEMATIC and hashed(f"{lesson.kind} {lesson.key}") % HELD_OUT == 0


def kept_ask(lesson: Lesson) -> int | None:
    """The place of the way to ask that is kept for measuring; None where all may be learned."""
    if lesson.kind in SYSTEMATIC or len(lesson.asks) < 4 or hashed(lesson.key) % 4:
        return None
    return hashed(f"{lesson.key} {lesson.kind}") % len(lesson.asks)


@cache
def all_lessons() -> tuple[tuple[float, tuple[Lesson, ...]], ...]:
    """(how often, lessons) of every kind; without those of tokens."""
    return tuple((weight, tuple(make())) for make, weight in KINDS.items())


def letters_only(text: str) -> str:
    return text.strip(string.punctuation + " ").lower()
