"""Short stories that keep their hero to the end, made from the plots of tables/tales.txt."""

# ruff: noqa: E501 (phrases stay whole)

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from tables import article, capital, chosen, filled, lines, words


@dataclass(frozen=True, slots=True)
class Tale:
    """about: what it may be asked for by, "a little dog", "a fox named Max"; of them the hero
    stands first. text: one paragraph. after: how it goes on. hero, friend: their names. kind: what the hero is, "fox"."""

    about: tuple[str, ...]
    text: str
    after: str
    hero: str
    friend: str
    kind: str


@cache
def plots() -> tuple[tuple[str, str], ...]:
    found: list[list[str]] = []
    for line in lines("tales"):
        if line.startswith(">"):
            found[-1][1] = line[1:].strip()
        else:
            found.append([line, ""])
    return tuple((story, after) for story, after in found)


def heroes() -> tuple[str, ...]:
    return words("heroes")["animals"] + words("heroes")["people"]


_SHE = {
    "girl",
    "queen",
    "princess",
    "witch",
    "fairy",
    "grandmother",
    "hen",
    "cow",
    "doll",
    "ladybug",
}
_HE = {"boy", "king", "prince", "wizard", "giant", "grandfather", "knight", "snowman", "dwarf"}
_FRIENDS = words("heroes")["animals"][:24]


def tale(rng: random.Random, hero: str | None = None, name: str | None = None) -> Tale:
    """hero: such as "dog"; name: its name. Both are chosen where they are not given."""
    lists = words("heroes")
    hero = hero or rng.choice(heroes())
    sex = "she" if hero in _SHE else "he" if hero in _HE else rng.choice(("he", "she"))
    if name is not None:
        sex = "she" if name in lists["she"] else "he" if name in lists["he"] else sex
    name = name or rng.choice(lists[sex])
    other = rng.choice([friend for friend in _FRIENDS if friend != hero])
    other_sex = rng.choice(("he", "she"))
    friend = rng.choice([n for n in lists[other_sex] if n != name])
    adjective = rng.choice(lists["adjective"]) if rng.random() < 0.6 and " " not in hero else ""
    called = f"{adjective} {hero}".strip()
    given = {
        "a": article(called), "h": f"the {hero}", "hero": hero, "N": name,
        "f": f"{friend} the {other}", "af": article(other), "F": friend,
        "place": rng.choice(lists["place"]), "fear": rng.choice(lists["fear"]),
        "a_new": article(rng.choice([x for x in _FRIENDS if x not in (hero, other)])),
    }  # fmt: skip
    for end, which in (("", sex), ("2", other_sex)):
        male = which == "he"
        given |= {f"he{end}": which, f"his{end}": "his" if male else "her",
                  f"him{end}": "him" if male else "her"}  # fmt: skip
    given["himself"] = "himself" if sex == "he" else "herself"
    thing = rng.choice(lists["obj"])
    given |= {"obj": article(thing), "the_obj": f"the {thing}", "bare_obj": thing}
    story, after = rng.choice(plots())
    about: tuple[str, ...] = ()
    if "{obj}" in story:
        about = (
            f"{article(hero)} and {article(thing)}",
            f"{article(called)} and {article(thing)}",
        ) * 2
    elif "{fear}" in story:
        afraid = f"who is afraid of {given['fear']}"
        about = (f"{article(hero)} {afraid}", f"{article(called)} {afraid}") * 2
    about = (
        *about,
        article(hero), article(called), f"{article(hero)} named {name}", f"{article(hero)} called {name}",
        f"{name} the {hero}", f"{article(hero)} and {article(other)}",
    )  # fmt: skip
    return Tale(
        about, capital(filled(chosen(story, rng), given)), capital(filled(chosen(after, rng), given)),
        name, friend, hero,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Poems

_POEMS = (
    "I saw {a} upon a hill, the air was soft, the world was still. I said hello, it looked at me, and "
    "we were happy as could be.",
    "{A}, {a}, I think of you, the sky above is wide and blue. The day is long, the night is deep, and "
    "soon we all will fall asleep.",
    "Today I dreamed of {a}, so bright, it kept me company all night. And when the morning sun came in, "
    "a brand new day could then begin.",
    "O {the}, how fine you are, you shine for me just like a star. Wherever I may go or stay, I think of "
    "you each single day.",
    "There is {a} not far from here, I think of it from year to year. It makes me smile, it makes me sing, "
    "it is to me a lovely thing.",
    "A poem for {the} I write, with little words, and short, and light. It has no end, it has no start, it "
    "only comes out of my heart.",
    "One sunny day I met {a}, and all my worries flew away. We laughed and danced the whole day through, "
    "and now I write it down for you.",
    "Slowly, slowly comes the night, {the} is now out of sight. Tomorrow, when the sun is new, it will come back to me and you.",
    "I asked the wind, I asked the sea, where {the} might be. They did not know, they would not say, so I went looking all the day.",
    "If I could be {a}, I would be glad, I never would be cross or sad. I would do all that I can do, and then I would come home to you.",
    "Here comes {a}, hip, hip, hooray, it makes a holiday of every day. We clap our hands, we stamp our feet, and all together feel the beat.",
    "{The} was quiet, the evening was long, and somewhere a bird was singing its song. I listened and listened, and then I knew that small things are great, if you want them to.",
    "Little by little the morning light touches {the} and makes it bright. A new day begins, and who can say what good may come to us today?",
    "My heart is like {a}, my friend, it has no fear, it has no end. It beats for you, it beats for me, it beats for all who want to be free.",
    "Winter or summer, sun or rain, I think of {the} again and again. It stays with me in all I do, a quiet joy, both old and new.",
    "Two things I love: {the} and you, the one is old, the other new. And if I had to choose, I fear, I could not choose, you both are dear.",
    "I wrote a letter to {the}, as long as long could be. I waited many days and weeks, and then it smiled at me.",
)  # fmt: skip


def poem(rng: random.Random, name: str, definite: str) -> str:
    """name: "a cat", "the sea", "love"; definite: "the cat", "the sea", "love"."""
    text = rng.choice(_POEMS)
    filled_in = {"{a}": name, "{A}": capital(name), "{the}": definite, "{The}": capital(definite)}
    for slot, word in filled_in.items():
        text = text.replace(slot, word)
    return text
