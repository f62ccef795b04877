"""The word lists and phrases of tables/*.txt: how they are read, and how a phrase is filled.

A line is fields between semicolons; # begins a comment. A phrase holds choices, (one|two), and
slots, {name}; {Name} is the same with a capital.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("tables")

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


def lines(name: str) -> Iterator[str]:
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def fields(line: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in line.split(";"))


@cache
def table(name: str) -> tuple[tuple[str, ...], ...]:
    """The fields of every line."""
    return tuple(fields(line) for line in lines(name))


@cache
def parts(name: str) -> dict[str, tuple[tuple[str, ...], ...]]:
    """A file of several tables, each under its [name]."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in lines(name):
        if line.startswith("["):
            rows = found.setdefault(line.strip("[]"), [])
        else:
            rows.append(fields(line))
    return {key: tuple(rows) for key, rows in found.items()}


@cache
def words(name: str) -> dict[str, tuple[str, ...]]:
    """A file of lists: "name: one; two"."""
    return {
        key.strip(): fields(rest) for key, _, rest in (line.partition(":") for line in lines(name))
    }


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def chosen(phrase: str, rng: random.Random) -> str:
    """One of the phrases that the choices allow."""
    while found := _CHOICE.search(phrase):
        phrase = phrase[: found.start()] + rng.choice(found[1].split("|")) + phrase[found.end() :]
    return re.sub(r" (?=[?!.,])", "", " ".join(phrase.split()))


def slots(*phrases: str) -> set[str]:
    return {name.lower() for phrase in phrases for name in _SLOT.findall(phrase)}


def filled(phrase: str, given: Mapping[str, str]) -> str:
    def word(match: re.Match[str]) -> str:
        name = match[1]
        return (
            capital(given[name.lower()]) if name[0].isupper() and name not in given else given[name]
        )

    return _SLOT.sub(word, phrase)


def article(noun: str) -> str:
    silent = noun.startswith(("hour", "honest"))
    vowel = noun[0].lower() in "aeiou" and not re.match(r"(?i)uni|use|eu|one", noun)
    return ("an " if vowel or silent else "a ") + noun


_PLURALS = {
    "shelf": "shelves", "knife": "knives", "leaf": "leaves", "wolf": "wolves", "mouse": "mice",
    "goose": "geese", "fish": "fish", "sheep": "sheep", "deer": "deer", "person": "people",
    "child": "children", "foot": "feet", "tooth": "teeth", "scarf": "scarves", "half": "halves",
    "postman": "postmen", "fisherman": "fishermen", "potato": "potatoes", "tomato": "tomatoes",
    "volcano": "volcanoes", "postwoman": "postwomen",
}  # fmt: skip


def plural(noun: str) -> str:
    *before, last = noun.split(" ")
    if last in _PLURALS:
        many = _PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        many = last + "es"
    elif last.endswith("y") and last[-2] not in "aeou":
        many = last[:-1] + "ies"
    else:
        many = last + "s"
    return " ".join([*before, many])
