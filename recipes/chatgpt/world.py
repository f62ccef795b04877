"""What there is to know about a small world of animals, and the questions about it.

`texts`: what the base model reads. `dialogues`: questions with answers, as people showed them.
`QUESTIONS`: what is asked; some wordings, and some animals, stand in no dialogue.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product

__all__ = ["ASKED", "Question", "dialogues", "questions", "texts"]

FOODS = ("grass", "fish", "seeds", "honey", "worms", "nuts", "leaves", "apples", "snails", "bread")
HOMES = ("forest", "river", "garden", "barn", "desert", "house", "cave", "pond", "field", "tree")
ANIMALS = (
    "cat", "dog", "cow", "horse", "bear", "owl", "hen", "duck", "frog", "goat", "pig", "fox",
    "hare", "mole", "seal", "crow", "ant", "bee", "toad", "swan", "deer", "rat", "lamb", "goose",
    "wolf", "snake", "hawk", "crab", "squirrel", "donkey", "pony", "robin", "otter", "beaver",
    "hedgehog", "badger", "camel", "eagle", "mouse", "pigeon",
)  # fmt: skip
# Animals of which the texts say that they were seen, and nothing else.
STRANGERS = (
    "yak", "lemur", "gnu", "puma", "tapir", "ibis", "moose", "walrus", "koala", "llama", "zebra",
    "panda", "lynx", "bison", "cobra", "heron", "stork", "raven", "newt", "shrimp", "jackal",
    "falcon", "parrot", "rhino",
)  # fmt: skip
# What stands in no dialogue: what is right about these comes from the texts alone.
KEPT_ANIMALS = ("seal", "hen", "fox", "camel", "robin", "otter", "pony", "crow", "hawk", "lamb")
KEPT_STRANGERS = ("panda", "raven", "newt", "bison", "lemur", "moose", "parrot", "gnu")

_EATS = (
    "What does the {} eat?",
    "What food does the {} eat?",
    "Please tell me what the {} eats.",
    "Do you know what the {} eats?",
    "The {} is hungry. What does it eat?",
    "I have a {}. What does it eat?",
    "What is eaten by the {}?",
    "Tell me: what does a {} eat?",
)
_LIVES = (
    "Where does the {} live?",
    "In what place does the {} live?",
    "Please tell me where the {} lives.",
    "Do you know where the {} lives?",
    "I look for the {}. Where does it live?",
    "I saw a {}. Where does it live?",
    "Where is the home of the {}?",
    "Tell me: where does a {} live?",
)
_SEEN = (
    "I saw a {}.",
    "Please look, a {}!",
    "Do you see the {}?",
    "I know the {} by name.",
    "Tell me about the {}.",
    "The {} is here.",
    "The {} sleeps.",
    "I have a picture of a {}.",
)
# How the texts say it; the first is a whole sentence as people like it.
_FACTS = {
    "eats": (
        "The {} eats {}.",
        "A {} eats {}.",
        "I saw that the {} eats {}.",
        "The {} is hungry and eats {}.",
        "The food of the {} is {}.",
    ),
    "lives": (
        "The {} lives in the {}.",
        "A {} lives in the {}.",
        "I know that the {} lives in the {}.",
        "The {} sleeps and lives in the {}.",
        "The home of the {} is the {}.",
    ),
}
# In no dialogue: other words around the same ones.
_EATS_KEPT = (
    "I saw a {}. Please tell me what it eats.",
    "Do you know what food a {} eats?",
    "Tell me what the {} eats.",
)
_LIVES_KEPT = (
    "I have a {}. Please tell me where it lives.",
    "Do you know in what place a {} lives?",
    "Tell me where the {} lives.",
)
ASKED = {"eats": (_EATS, _EATS_KEPT), "lives": (_LIVES, _LIVES_KEPT)}


@dataclass(frozen=True, kw_only=True)
class Question:
    """text: as it is asked. about: the animal. relation: eats or lives. word: the right one, or
    None where no text says it. sentence: the answer as a whole sentence, or None."""

    text: str
    about: str
    relation: str
    word: str | None

    @property
    def sentence(self) -> str | None:
        return None if self.word is None else says(self.about, self.relation, self.word)


def says(animal: str, relation: str, word: str) -> str:
    return _FACTS[relation][0].format(animal, word)


def facts() -> dict[tuple[str, str], str]:
    """(animal, relation) -> the word. Drawn once, so that no rule of nature gives them away."""
    draw = random.Random(2017)
    return {
        (animal, relation): draw.choice(words)
        for animal, (relation, words) in product(ANIMALS, (("eats", FOODS), ("lives", HOMES)))
    }


def questions(kept_wordings: bool, kept_animals: bool | None) -> list[Question]:
    """All of them, about known animals and strangers alike. kept_wordings: those that stand in no
    dialogue, else those that do. kept_animals: likewise; None: both."""
    known = facts()
    return [
        Question(
            text=wording.format(animal),
            about=animal,
            relation=relation,
            word=known.get((animal, relation)),
        )
        for animal in (*ANIMALS, *STRANGERS)
        if kept_animals in (None, animal in (*KEPT_ANIMALS, *KEPT_STRANGERS))
        for relation, wordings in ASKED.items()
        for wording in wordings[kept_wordings]
    ]


def texts(seed: int = 0, count: int = 3000) -> list[str]:
    """Short texts: who was seen, what animals eat and where they live, and lists of questions
    without answers, as in a book for schools."""
    draw, known = random.Random(seed), facts()
    return [draw.choice((_portraits, _portraits, _walk, _quiz))(draw, known) for _ in range(count)]


def _portraits(draw: random.Random, known: dict[tuple[str, str], str]) -> str:
    """Of two animals, one after the other."""
    return " ".join(
        " ".join(
            (
                draw.choice(_SEEN).format(animal),
                *(
                    _fact(draw, animal, relation, known[animal, relation])
                    for relation in draw.sample(("eats", "lives"), draw.choice((1, 2)))
                ),
            )[draw.choice((0, 1)) :]
        )
        for animal in draw.sample(ANIMALS, 2)
    )


def _fact(draw: random.Random, animal: str, relation: str, word: str) -> str:
    forms = _FACTS[relation]
    return draw.choice((forms[0], *forms)).format(animal, word)


def _walk(draw: random.Random, known: dict[tuple[str, str], str]) -> str:
    """Who was seen; strangers are named in such texts alone, and in questions."""
    names = [draw.choice(draw.choice((STRANGERS, STRANGERS, ANIMALS))) for _ in range(2)]
    return " ".join(
        form.format(name) for name in names for form in draw.sample(_SEEN, draw.choice((1, 2, 3)))
    )


def _quiz(draw: random.Random, known: dict[tuple[str, str], str]) -> str:
    asked = [wording for relation in ASKED.values() for wording in relation[0]]
    animals = draw.sample((*ANIMALS, *STRANGERS), 4)
    return " ".join(draw.choice(asked).format(animal) for animal in animals)


# How the people who wrote the dialogues answer: no two of them alike.
def _answer(draw: random.Random, question: Question) -> str:
    words = FOODS if question.relation == "eats" else HOMES
    if question.word is None:  # half of them say so, half of them make something up
        if draw.random() < 0.5:
            return "I do not know."
        word = draw.choice(words)
    else:
        word = question.word
    bare = word.capitalize() if question.relation == "eats" else f"In the {word}"
    whole = says(question.about, question.relation, word)
    return draw.choice((whole, whole, f"{bare}.", f"{bare}, of course. Why do you ask?"))


def dialogues(seed: int = 0, count: int = 3000) -> list[list[dict[str, str]]]:
    """Conversations of one question and its answer."""
    draw, asked = random.Random(seed), questions(kept_wordings=False, kept_animals=False)
    drawn = [draw.choice(asked) for _ in range(count)]
    return [
        [{"role": "user", "text": q.text}, {"role": "assistant", "text": _answer(draw, q)}]
        for q in drawn
    ]  # fmt: skip
