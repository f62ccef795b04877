"""Conversations woven from lessons, talk, tales and jokes, as people type and Pellucid answers.

`conversation` is one of them. It is made of pieces: a piece is one exchange or a few that belong
together, so that "And a cow?", "Why?", "Shorter, please." and "What happened next?" have something
to refer to. What the user told is asked for again later, up to ten turns on.
"""

# ruff: noqa: E501 (phrases stay whole)

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import lessons
import smalltalk
import tables
from lessons import Lesson
from tales import heroes, poem, tale

Exchange = tuple[str, str]

# ---------------------------------------------------------------------------------------------
# talk.txt


@dataclass(frozen=True, slots=True)
class Block:
    """What may be said, what is answered, and the blocks that may follow."""

    said: tuple[str, ...]
    answers: tuple[str, ...]
    follows: tuple[Block, ...] = ()


@cache
def blocks(name: str = "talk") -> dict[str, tuple[Block, ...]]:
    """section -> blocks, of a file of tables/"""
    found: dict[str, list[Block]] = {}
    section = ""
    for line in (tables.FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif "=>" in line and not line.startswith("#"):
            said, answers = line.lstrip("> ").split(" => ")
            block = Block(_split(said), _split(answers))
            rows = found.setdefault(section, [])
            if line.startswith(">"):
                above = rows[-1]
                rows[-1] = Block(above.said, above.answers, (*above.follows, block))
            else:
                rows.append(block)
    return {name: tuple(rows) for name, rows in found.items()}


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def fill(rng: random.Random, *names: str) -> dict[str, str]:
    """A word for each slot."""
    return {name: rng.choice(tables.words("words")[name]) for name in names}


_MOODS = {  # what an answer may end with, and what people then tell
    "bad": ("What happened?", "tell me why?", "made you angry?", "tell me about it?", "What worries you?",
            "What frightens you?", "What is wrong?", "talk about it?", "what happened."),
    "good": ("made you happy?", "good thing happened?", "Tell me about it.", "the best part?"),
    "plain": ("What did you do today?", "How was your day?", "What is on your mind?",
              "would you like to talk about?", "What did you do?"),
}  # fmt: skip


def event(rng: random.Random, mood: str | None = None) -> Exchange:
    """Something that happened to somebody, and what is said to it."""
    mood = mood or rng.choices(("bad", "good", "plain"), (1.2, 1.0, 1.2))[0]
    rows = tables.parts("events")
    said = tables.chosen(rng.choice(rows[mood])[0], rng) + rng.choice((".", ".", ".", "", "!"))
    if rng.random() < 0.08:
        said = rng.choice(
            ("Hi. ", "Hey, ", "You know, ", "Well, ", "Hello! ", "Guess what: ", "Today ")
        ) + (said[0].lower() + said[1:] if not said.startswith(("I ", "I'm")) else said)
    return said, rng.choice(rows[f"{mood} answers"])[0]


@cache
def answers_to() -> dict[str, frozenset[str]]:
    """What is answered where: of every section, and of bad, good and plain events, the answers in
    which no word is filled in."""
    found = {
        section: frozenset(a for block in rows for b in (block, *block.follows) for a in b.answers)
        for section, rows in blocks().items()
    }
    for mood in ("bad", "good", "plain"):
        found[mood] = frozenset(row[0] for row in tables.parts("events")[f"{mood} answers"])
    return found


def talk(rng: random.Random, block: Block) -> list[Exchange]:
    phrases = [rng.choice(block.said), rng.choice(block.answers)]
    follow = rng.choice(block.follows) if block.follows and rng.random() < 0.6 else None
    if follow:
        phrases += [rng.choice(follow.said), rng.choice(follow.answers)]
    given = fill(rng, *sorted(tables.slots(*phrases)))
    texts = [_said(tables.filled(tables.chosen(phrase, rng), given)) for phrase in phrases]
    texts = [_tidy_you(text) if i % 2 else text for i, text in enumerate(texts)]
    out = list(zip(texts[::2], texts[1::2], strict=True))
    for mood, ends in _MOODS.items():
        if len(out) == 1 and out[0][1].endswith(ends) and rng.random() < 0.5:
            out.append(event(rng, mood))
            break
    return out


_ASKING = re.compile(
    r"(?i)(who|what|where|when|why|how|which|is|are|do|does|did|can|could|will|would|should|have|has|"
    r"may|shall|am|was)\b"
)
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeio]\w)")


def _said(text: str) -> str:
    """With an end, where it is a sentence; "a engineer" -> "an engineer"."""
    text = _ARTICLE.sub(lambda match: match[1] + "n ", text)
    text = text.replace(" an one", " a one")
    if text[-1].isalnum() and len(text.split()) > 2 and text[0].isupper():
        text += "?" if _ASKING.match(text) else "."
    return text


def _tidy_you(text: str) -> str:
    return text if text[-1] in ".!?Z" else text + "."


# ---------------------------------------------------------------------------------------------
# Pieces

SHORTER = ("Shorter, please.", "Can you say that shorter?", "In one word?", "Say it in a word.",
           "Too long. Shorter!", "Make it shorter.", "In short?", "Be brief.")  # fmt: skip
AGAIN = ("What did you say?", "Can you say that again?", "Say that again, please.", "Say it again.",
         "Repeat that, please.", "Pardon?", "Could you repeat that?", "Once more, please.",
         "Come again?", "Please repeat.")  # fmt: skip
OTHERWISE = ("Say it in other words.", "Can you say it differently?", "Can you rephrase that?",
             "In other words?", "Say it another way.", "Explain it differently.", "Rephrase it.",
             "Please put it in other words.")  # fmt: skip
SURE = ("Are you sure?", "Really?", "Is that true?", "Is that right?")


def lesson_piece(rng: random.Random, pool: Sequence[Lesson]) -> list[Exchange]:
    """Lessons of one kind, the later ones mostly asked in short, and what people say after them."""
    first = rng.choice(pool)
    out = [ask(rng, first)]
    brief = first.brief if first.brief.endswith(".") else f"{tables.capital(first.brief)}."
    roll = rng.random()
    if roll < 0.05 and first.brief and out[0][1] != brief:
        out.append((rng.choice(SHORTER), brief))
    elif roll < 0.09:
        out.append((rng.choice(AGAIN), rng.choice((f"I said: {out[0][1]}", out[0][1]))))
    elif roll < 0.13 and len(first.answers) > 1:
        others = [answer for answer in first.answers if answer != out[0][1]]
        if others:
            out.append((rng.choice(OTHERWISE), rng.choice(others)))
    elif roll < 0.15:
        out.append((rng.choice(SURE), f"I think so. {first.answers[0]}"))
    elif roll < 0.17 and first.kind == "what is" and " We use " in first.answers[0]:
        out.append(("What for?", "We use " + first.answers[0].split(" We use ")[1]))
    same = [lesson for lesson in pool if lesson.kind == first.kind] if rng.random() < 0.35 else []
    for other in rng.sample(same, min(len(same), rng.choice((1, 1, 2, 3)))):
        if other.follow and other.key != first.key and rng.random() < 0.6:
            short = rng.choice(("And {}?", "And {}?", "What about {}?", "How about {}?", "and {}"))
            out.append((short.format(other.follow), other.answers[0]))
        else:
            out.append(ask(rng, other))
    return out


def ask(rng: random.Random, lesson: Lesson) -> Exchange:
    kept = lessons.kept_ask(lesson)
    asks = [said for i, said in enumerate(lesson.asks) if i != kept]
    return asked_for(rng, rng.choice(asks)), rng.choice(lesson.answers)


LEADS = ("Can you tell me: ", "Please tell me, ", "Tell me, ", "Hey, ", "So, ", "I have a question. ",
         "Quick question: ", "I wonder, ", "Hi, ", "Hello! ", "Um, ", "Okay, ", "Do you know this: ",
         "Pellucid, ", "Well, ", "My son asks: ", "My daughter wants to know: ", "One question. ",
         "Here is a question for you. ", "Maybe you know it: ", "By the way, ", "And ", "Now, ")  # fmt: skip
TAILS = (", please?", " please?", ", do you know?", "? Do you know?", "? I forgot.", "? Tell me.",
         ", Pellucid?", " again?", " exactly?", "?!", "??", "? Thanks!", "? I need to know.")  # fmt: skip


def asked_for(rng: random.Random, said: str) -> str:
    """A question with something before or after it, now and then."""
    roll = rng.random()
    if said.startswith(
        ("What", "How", "Where", "Which", "Who", "Why", "Is", "Can", "Do", "Name", "Count")
    ):
        if roll < 0.14:
            lead = rng.choice(LEADS)
            return lead + (said if lead[-2] in ".!" else said[0].lower() + said[1:])
        if roll < 0.22 and said.endswith("?"):
            return said[:-1] + rng.choice(TAILS)
    return said


JOKE_ASKS = ("Tell me a joke.", "Do you know a joke?", "Can you tell me a joke?", "Make me laugh.",
             "A joke, please.", "Say something funny.", "I want to hear a joke.", "joke",
             "Tell a joke.", "Do you know any jokes?", "Tell me something funny.", "Know any good jokes?",
             "Got a joke?", "Give me a joke.", "I need a laugh.", "Tell me a good joke.")  # fmt: skip
MORE = ("Another one!", "Another one, please.", "Tell me another joke.", "One more!", "More!", "Again!",
        "another", "Do you know another one?", "Haha, another one!")  # fmt: skip
RIDDLE_ASKS = ("Tell me a riddle.", "Do you know a riddle?", "Give me a riddle.", "Ask me a riddle.",
               "A riddle, please.", "Can you tell me a riddle?", "riddle", "I like riddles.")  # fmt: skip
FACT_ASKS = ("Tell me something interesting.", "Tell me a fact.", "Tell me a fun fact.", "Fun fact?",
             "Say something interesting.", "Tell me something.", "Tell me something new.",
             "Do you know something interesting?", "Say something.", "Teach me something.",
             "Tell me something that I do not know.", "Give me a fact.", "Impress me.",
             "Tell me something about the world.", "What is an interesting fact?")  # fmt: skip


JOKES_ABOUT = ("Tell me a joke about {}.", "Do you know a joke about {}?", "A joke about {}, please.",
               "joke about {}", "Can you tell me a joke about {}?", "Any jokes about {}?")  # fmt: skip
FACTS_ABOUT = ("Tell me a fact about {}.", "Tell me something interesting about {}.",
               "Do you know something about {}?", "A fun fact about {}, please.", "fact about {}",
               "What is interesting about {}?", "Tell me a fun fact about {}.")  # fmt: skip


@cache
def _nouns() -> frozenset[str]:
    return frozenset(
        [row[0] for row in tables.table("animals")]
        + [row[0] for row in tables.table("jobs")]
        + [thing.word for thing in lessons.things() if thing.counted]
    )


def subjects(text: str) -> list[str]:
    """Animals, jobs and things that a text names, in the singular."""
    found = {word.removesuffix("'s") for word in re.findall(r"[a-z]+(?:'s)?", text.lower())}
    known = _nouns()
    return sorted(
        {noun for word in found for noun in (word, word.removesuffix("s")) if noun in known}
    )


def joke_piece(rng: random.Random) -> list[Exchange]:
    jokes = rng.sample(tables.table("jokes"), 3)
    question, answer = jokes[0]
    out: list[Exchange] = []
    roll = rng.random()
    if roll < 0.3 and (about := subjects(f"{question} {answer}")):
        asked = rng.choice(JOKES_ABOUT).format(tables.plural(rng.choice(about)))
        out.append((asked, f"{question} {answer}"))
    elif roll < 0.8:
        out.append((rng.choice(JOKE_ASKS), f"{question} {answer}"))
    else:
        out.append((rng.choice(JOKE_ASKS), question))
        why = "Why?" if question.startswith("Why") else "What?"
        out.append(
            (rng.choice(("I don't know.", why, "Tell me!", "No idea.", "I give up.")), answer)
        )
    if rng.random() < 0.35:
        out.append((rng.choice(MORE), " ".join(jokes[1])))
        if rng.random() < 0.3:
            out.append((rng.choice(MORE), " ".join(jokes[2])))
    return out


def riddle_piece(rng: random.Random) -> list[Exchange]:
    question, answer = rng.choice(tables.table("riddles"))
    roll = rng.random()
    if roll < 0.4:
        return [(rng.choice(RIDDLE_ASKS), f"{question} {answer}")]
    if roll < 0.5:
        return [(question, answer)]
    bare = answer.rstrip(".")
    guess = rng.choice(
        ((bare, f"Right! {answer}"), ("I don't know.", answer), ("Tell me!", answer),
         ("I give up.", f"{answer} Shall I ask you another one?"), ("No idea.", answer),
         (rng.choice(("A cat", "A tree", "A house", "The sun")), f"No, it is not. {answer}"))
    )  # fmt: skip
    return [(rng.choice(RIDDLE_ASKS), question), guess]


def curious_piece(rng: random.Random) -> list[Exchange]:
    one, two = (row[0] for row in rng.sample(tables.table("curious"), 2))
    asked = rng.choice(FACT_ASKS)
    if rng.random() < 0.45:
        _, many, *_, fact = rng.choice(tables.table("animals"))
        asked, one = rng.choice(FACTS_ABOUT).format(many), fact
    elif rng.random() < 0.5 and (about := subjects(one)):
        asked = rng.choice(FACTS_ABOUT).format(tables.plural(rng.choice(about)))
    out = [(asked, rng.choice((one, f"Did you know? {one}", one)))]
    if rng.random() < 0.25:
        out.append(
            (
                rng.choice(("Another one!", "More!", "Tell me another fact.", "One more, please.")),
                two,
            )
        )
    return out


POEM_ASKS = ("Write a poem about {}.", "Tell me a poem about {}.", "Can you write a poem about {}?",
             "A poem about {}, please.", "Make a poem about {}.", "Write me a short poem about {}.",
             "I would like a poem about {}.", "poem about {}", "Write two lines about {}.", "Write a few lines about {}.",
             "A little verse about {}, please.", "Make a rhyme about {}.", "Can you rhyme about {}?")  # fmt: skip
BARE_POEM_ASKS = ("Write a poem.", "Tell me a poem.", "Can you write a poem?", "Do you know a poem?",
                  "Write a short poem.", "A poem, please.", "Give me a poem.")  # fmt: skip


def poem_piece(rng: random.Random) -> list[Exchange]:
    things = [
        t for t in lessons.things() if t.is_ == "is" and t.word not in ("fog", "meat", "dice")
    ]
    if rng.random() < 0.4:
        hero = rng.choice(heroes())
        name, definite = tables.article(hero), f"the {hero}"
    else:
        thing = rng.choice(things)
        unique = thing.word in ("sea", "ocean", "internet")
        name = f"the {thing.word}" if unique else thing.name
        definite = f"the {thing.word}" if thing.counted else thing.word
    if rng.random() < 0.2:
        return [(rng.choice(BARE_POEM_ASKS), poem(rng, name, definite))]
    asked = rng.choice((name, name, definite))
    return [(rng.choice(POEM_ASKS).format(asked), poem(rng, name, definite))]


STORY_ASKS = (
    *smalltalk.TABLE["story_asks"],
    "story about {}", "I want to hear about {}. Tell me a story.", "Tell a story about {}.",
    "Can you make up a story about {}?", "Tell me a tale about {}.", "I'd like a story about {}.",
    "Can I have a story about {}?", "A bedtime story about {} for my daughter, please.",
    "Do you have a story with {}?", "I would love a story with {}.", "My child wants a story about {}.",
    "Please make up a little story about {}.", "Write a tale about {}.", "A short story about {}!",
    "Let us have a story about {}.", "Read me a story about {}.", "Tell me a short story about {}.",
    "Give me a story about {}.", "Tell me a bedtime story about {}.", "Once upon a time there was {}",
)  # fmt: skip
ANY_STORY = (*smalltalk.TABLE["any_story"], "story", "story please", "Tell me a funny story.",
    "Tell me a good story.", "Tell me a nice story.", "I would like a story.", "Read me a story.",
    "Make up a story.", "Give me a story.")  # fmt: skip


def tale_piece(rng: random.Random) -> list[Exchange]:
    made = tale(rng)
    about = rng.choice(made.about)
    if rng.random() < 0.8:
        said = rng.choice(STORY_ASKS).format(about)
        said = said.replace("Tell me about", "Tell me about")
    else:
        said = rng.choice(ANY_STORY)
    out = [(said, made.text)]
    roll = rng.random()
    if roll < 0.3 and made.after:
        out.append((rng.choice(smalltalk.TABLE["go_on"]), made.after))
        if rng.random() < 0.25:
            out.append((rng.choice(smalltalk.TABLE["go_on"]), rng.choice((
                "That is the end of the story. Did you like it?", "The story ends here. Shall I tell "
                "you another one?", f"And so {made.hero} lived happily. That is the end."))))  # fmt: skip
    elif roll < 0.4:
        out.append((rng.choice(("Who was the story about?", "Who was in the story?", "What was the hero "
                    "called?", "What was the name of the hero?")), f"The story was about {made.hero}."))  # fmt: skip
    elif roll < 0.46:
        out.append((rng.choice((f"Who was {made.friend}?", "Who was the friend?")),
                    f"{made.friend} was the friend of {made.hero}." if made.friend in made.text
                    else f"That was a friend of {made.hero}."))  # fmt: skip
    elif roll < 0.56:
        out.append((rng.choice(smalltalk.TABLE["liked"]), rng.choice((
            "Thank you! I am glad that you liked it.", "I am glad! Shall I tell you another one?"))))  # fmt: skip
    elif roll < 0.66:
        other = tale(rng)
        out.append((rng.choice(("Another one!", "Tell me another story.", "Another story, please.",
                                "One more story!")), other.text))  # fmt: skip
    return out


SIMPLY = ("Explain {} to me.", "Explain {} like I am five.", "Explain {} in simple words.",
          "Can you explain {} simply?", "{} in one sentence, please.", "What is {}, in simple words?",
          "I don't understand {}.", "What's {}?", "How would you explain {} to a child?",
          "Tell me what {} is.", "{}?", "Help me understand {}.", "Why do we need {}?")  # fmt: skip


def question_piece(rng: random.Random, entries: Sequence[dict[str, object]]) -> list[Exchange]:
    """About transformers and Pellucid itself (questions.jsonl); sometimes once more in short."""
    out: list[Exchange] = []
    for entry in rng.sample(list(entries), rng.choice((1, 1, 1, 2, 3))):
        said = rng.choice(smalltalk.phrasings(entry))
        term = str(entry.get("term", ""))
        if term and rng.random() < 0.2:
            said = rng.choice(SIMPLY).format(term)
        if out and term and rng.random() < 0.35:
            said = rng.choice(("And {}?", "And what is {}?", "What about {}?", "and {}")).format(
                term
            )
        answer = rng.choice(list(entry["answers"]))  # type: ignore[call-overload]
        out.append((said if rng.random() < 0.6 else asked_for(rng, said), answer))
        if rng.random() < 0.06:
            first = re.split(r"(?<=[.!?]) ", answer)[0]
            out.append((rng.choice(SHORTER if first != answer else AGAIN), first))
    return out


# ---------------------------------------------------------------------------------------------
# What the user told, and asks for later


MEMORY: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "name": (
        ("My name is {x}.", "I am {x}.", "I'm {x}.", "Hi, I'm {x}.", "Hello, my name is {x}.",
         "You can call me {x}.", "Call me {x}.", "my name is {x}", "Hi, my name is {x}!", "{x}",
         "I am called {x}.", "Hey, {x} here."),
        ("Nice to meet you, {x}!", "Hello, {x}! How are you?", "Hi, {x}! I am Pellucid.",
         "It is nice to meet you, {x}. What would you like to talk about?"),
        ("What is my name?", "Do you know my name?", "Do you remember my name?", "Who am I?",
         "What am I called?", "What was my name?", "Say my name.", "whats my name"),
        ("Your name is {x}.", "You are {x}!", "You told me that your name is {x}."),
    ),
    "color": (
        ("My favorite color is {x}.", "I like the color {x} best.", "I love {x}, it is my favorite color."),
        ("{X} is a beautiful color!", "So you like {x}. That is a nice color."),
        ("What is my favorite color?", "Which color do I like?", "Do you remember my favorite color?"),
        ("Your favorite color is {x}.", "You like {x}."),
    ),
    "pet": (
        ("I have a {y}. Its name is {x}.", "My {y} is called {x}.", "I have a {y} named {x}.",
         "I've got a {y} called {x}."),
        ("{X} is a good name for a {y}!", "How nice! What does {x} like to do?",
         "I would love to hear more about {x}."),
        ("What is my {y} called?", "What is the name of my {y}?", "What is my {y}'s name?",
         "Do you remember my {y}'s name?"),
        ("Your {y} is called {x}.", "Your {y}'s name is {x}."),
    ),
    "city": (
        ("I live in {x}.", "I am from {x}.", "My home is in {x}.", "I come from {x}."),
        ("How nice! What do you like about {x}?", "{x} must be an interesting place.",
         "I have never been to {x}. What is it like?"),
        ("Where do I live?", "Do you remember where I live?", "Where am I from?", "Where is my home?"),
        ("You are from {x}.", "Your home is in {x}.", "You told me about {x}."),
    ),
    "age": (
        ("I am {x} years old.", "I'm {x} years old.", "I am {x}.", "I turned {x} this year."),
        ("{x} is a good age!", "Thank you for telling me. I am much younger than you."),
        ("How old am I?", "Do you remember how old I am?", "What is my age?"),
        ("You are {x} years old.", "You told me that you are {x}."),
    ),
    "food": (
        ("My favorite food is {x}.", "I love {x} more than any other food.", "I like {x} best of all food."),
        ("Many people love {x}. I cannot eat, but it sounds tasty!", "Yum! How often do you eat {x}?"),
        ("What is my favorite food?", "What do I like to eat?", "Do you remember what I like to eat?"),
        ("Your favorite food is {x}.", "You like {x}."),
    ),
    "person": (
        ("My {y} is called {x}.", "My {y}'s name is {x}.", "I have a {y} named {x}."),
        ("What do you and {x} do together?", "{x} is a nice name.", "It is nice that you have {x}."),
        ("What is my {y} called?", "What is the name of my {y}?", "What is my {y}'s name?"),
        ("Your {y} is called {x}.", "Your {y}'s name is {x}."),
    ),
    "job": (
        ("I am a {x}.", "I work as a {x}.", "My job is {x}.", "I'm a {x} by trade."),
        ("How interesting! What do you like about being a {x}?", "A {x}! That is a good job."),
        ("What is my job?", "What do I do for a living?", "Do you remember my job?", "What do I work as?"),
        ("You are a {x}.", "You work as a {x}.", "You told me that you are a {x}."),
    ),
    "hobby": (
        ("My hobby is {x}.", "I love {x}.", "In my free time I go {x}.", "I like {x} most of all."),
        ("{X} is a lovely hobby!", "How nice! How often do you do it?"),
        ("What is my hobby?", "What do I like to do?", "Do you remember my hobby?"),
        ("Your hobby is {x}.", "You like {x}.", "You told me about {x}."),
    ),
}  # fmt: skip


def remembered(rng: random.Random, kind: str) -> dict[str, str]:
    pick = tables.words("words")
    y = ""
    if kind == "name":
        x = rng.choice(smalltalk.NAMES)
    elif kind == "color":
        x = rng.choice(pick["color"])
    elif kind == "pet":
        x, y = rng.choice(pick["petname"]), rng.choice(pick["pet"])
    elif kind == "city":
        x = rng.choice(pick["city"])
    elif kind == "age":
        x = str(rng.randint(5, 90))
    elif kind == "food":
        x = rng.choice(pick["food"] + pick["sweets"])
    elif kind == "person":
        x, y = rng.choice(smalltalk.NAMES), rng.choice(pick["relative"])
    elif kind == "job":
        x = rng.choice(pick["job"])
    else:
        x = rng.choice(pick["doing"])
    return {"x": x, "y": y}


# ---------------------------------------------------------------------------------------------
# Conversations

SECTIONS = {  # how often, relative to each other
    "greetings": 1.5, "short inputs": 1.6, "about itself": 3.0, "praise and blame": 1.0, "more": 2.2,
    "feelings": 2.6, "life": 3.6, "ideas and advice": 1.8, "small performances": 1.5,
    "what it cannot know": 1.8,
}  # fmt: skip


class Weaver:
    """Makes conversations. taught: (how often, lessons) of every kind, as of lessons.all_lessons
    and the tokenizer's. entries: questions.jsonl."""

    def __init__(
        self,
        rng: random.Random,
        taught: Sequence[tuple[float, Sequence[Lesson]]],
        entries: Sequence[dict[str, object]],
    ) -> None:
        self.rng = rng
        self.entries = entries
        self.weights = [weight for weight, _ in taught]
        self.pools: list[dict[str, list[Lesson]]] = []
        for _, pool in taught:
            kinds: dict[str, list[Lesson]] = {}
            for lesson in pool:
                if not lessons.held_out(lesson):
                    kinds.setdefault(lesson.kind, []).append(lesson)
            self.pools.append(kinds)
        self.makers: list[tuple[float, Callable[[], list[Exchange]]]] = [
            (11.0, self.lesson), (6.5, self.talk), (2.4, lambda: [event(rng)]), (1.0, lambda: joke_piece(rng)),
            (0.4, lambda: riddle_piece(rng)), (0.6, lambda: curious_piece(rng)),
            (0.5, lambda: poem_piece(rng)), (2.4, lambda: tale_piece(rng)),
            (1.6, lambda: question_piece(rng, self.entries)), (0.35, self.echo), (0.25, self.short),
            (0.35, self.gibberish), (0.5, self.shared_piece),
        ]  # fmt: skip
        self.shared: list[list[Exchange]] = []

    def lesson(self) -> list[Exchange]:
        return lesson_piece(self.rng, self._pool())

    def one_lesson(self) -> Lesson:
        return self.rng.choice(self._pool())

    def _pool(self) -> list[Lesson]:
        """The lessons of one kind."""
        kinds = self.rng.choices(self.pools, self.weights)[0]
        names = list(kinds)
        # between items of few and of many: neither counts for all
        sizes = [min(len(kinds[name]), 500) ** 0.6 for name in names]
        return kinds[self.rng.choices(names, sizes)[0]]

    def talk(self) -> list[Exchange]:
        return self.talk_of_section()[1]

    def talk_of_section(self) -> tuple[str, list[Exchange]]:
        section = self.rng.choices(list(SECTIONS), list(SECTIONS.values()))[0]
        rows = blocks()[section]
        sizes = [min(len(block.said), 8) ** 0.5 for block in rows]
        return section, talk(self.rng, self.rng.choices(rows, sizes)[0])

    def short(self) -> list[Exchange]:
        """Two short inputs in one: "lol ok", "hmm, not sure"."""
        one, two = (
            talk(self.rng, self.rng.choice(blocks()["short inputs"][:14])) for _ in range(2)
        )
        return [
            (one[0][0].rstrip(".?! ") + self.rng.choice((" ", ", ", "... ")) + two[0][0], two[0][1])
        ]

    def echo(self) -> list[Exchange]:
        t = smalltalk.Talk(self.rng)
        smalltalk.say_again(t)
        return t.exchanges

    def gibberish(self) -> list[Exchange]:
        t = smalltalk.Talk(self.rng)
        smalltalk.gibberish(t)
        return t.exchanges

    def shared_piece(self) -> list[Exchange]:
        return list(self.rng.choice(self.shared)) if self.shared else self.talk()

    def piece(self) -> list[Exchange]:
        makers = [make for _, make in self.makers]
        return self.rng.choices(makers, [weight for weight, _ in self.makers])[0]()

    def single(self) -> list[Exchange]:
        """A conversation of one piece: what a newcomer says first."""
        return typed(self.rng, self.piece())

    def conversation(self, longest: int = 1_500) -> list[Exchange]:
        """Several pieces; what the user told at first is asked for at last, up to ten turns on."""
        rng = self.rng
        out: list[Exchange] = []
        told: list[tuple[str, dict[str, str]]] = []
        if rng.random() < 0.4:
            out += talk(rng, rng.choice(blocks()["greetings"][:6]))
        for kind in rng.sample(list(MEMORY), rng.choice((0, 0, 1, 1, 2))):
            given = remembered(rng, kind)
            said, answers, _, _ = MEMORY[kind]
            out.append((put(rng, said, given), put(rng, answers, given)))
            told.append((kind, given))
        for _ in range(
            rng.choice((1, 2, 2, 3, 4, 5, 7, 8)) if told else rng.choice((1, 2, 2, 3, 4))
        ):
            piece = self.piece()
            if sum(len(a) + len(b) for a, b in out + piece) < longest:
                out += piece
        for kind, given in told:
            if rng.random() < 0.8:
                _, _, asked, answers = MEMORY[kind]
                out.append((put(rng, asked, given), put(rng, answers, given)))
        if not told and rng.random() < 0.06:
            kind = rng.choice(list(MEMORY))
            given = remembered(rng, kind)
            out.append((put(rng, MEMORY[kind][2], given), rng.choice((
                "You have not told me yet. Will you tell me?", "I do not know that yet. Please tell me!",
                "I don't know, for you have not told me."))))  # fmt: skip
        if rng.random() < 0.2:
            rows = [block for block in blocks()["greetings"] if "Thank" in block.said[0] or "Bye" in
                    block.said[0] or "Good night" in block.said[0]]  # fmt: skip
            out += talk(rng, rng.choice(rows))
        return typed(rng, out)


def put(rng: random.Random, forms: Sequence[str], given: dict[str, str]) -> str:
    text = rng.choice(forms).format(X=tables.capital(given["x"]), **given)
    return _ARTICLE.sub(lambda match: match[1] + "n ", text)


# ---------------------------------------------------------------------------------------------
# As people type


def typed(rng: random.Random, exchanges: Sequence[Exchange]) -> list[Exchange]:
    """A person types the whole conversation in one manner: with care, in small letters, hastily."""
    manner = rng.random()
    return [(_typed(rng, said, manner), answer) for said, answer in exchanges]


def _typed(rng: random.Random, text: str, manner: float) -> str:
    if rng.random() < 0.25:
        for whole, short in CONTRACTED:
            text = text.replace(whole, short)
    if manner * 100 % 1 < 0.2:  # as the British spell
        text = (
            text.replace("color", "colour").replace("favorite", "favourite").replace("gray", "grey")
        )
    if manner < 0.5 or len(text) > 150:
        return text
    if manner < 0.78:  # small letters, and mostly no full stop
        text = text if re.search(r"[+*=]|Pellucid|[A-Z]{2}", text) else text.lower()
        return text.rstrip(".!?") or text if rng.random() < 0.7 else text
    if manner < 0.88:
        return text.rstrip(".?!") or text
    text = text.lower() if rng.random() < 0.5 else text
    for usual, short in (("what is", "whats"), ("you are", "ur"), ("are you", "are u"), ("please", "pls"),
                         ("I am", "im"), ("i am", "im"), ("What is", "Whats"), ("do not", "dont"),
                         ("don't", "dont"), ("can't", "cant"), ("you", "u")):  # fmt: skip
        if rng.random() < 0.25:
            text = text.replace(usual, short)
    return slipped(rng, text) if rng.random() < 0.5 else text


CONTRACTED = (
    ("What is ", "What's "), ("Who is ", "Who's "), ("Where is ", "Where's "), ("I am ", "I'm "),
    ("How is ", "How's "), ("do not ", "don't "), ("cannot ", "can't "), ("It is ", "It's "),
    ("did not ", "didn't "), ("I would ", "I'd "), ("we are ", "we're "),
    ("We are ", "We're "), ("is not ", "isn't "), ("That is ", "That's "), ("You are ", "You're "),
)  # fmt: skip


def slipped(rng: random.Random, text: str) -> str:
    """One slip of the fingers in a word of the sentence's form, never in what it is about."""
    spots = [m for m in re.finditer(r"[a-z]{4,}", text) if m[0] in _FORM]
    if not spots:
        return text
    word = rng.choice(spots)
    letters = list(word[0])
    at = rng.randrange(1, len(letters) - 1)
    kind = rng.random()
    if kind < 0.4:
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    elif kind < 0.75:
        del letters[at]
    else:
        letters.insert(at, letters[at])
    return text[: word.start()] + "".join(letters) + text[word.end() :]


_FORM = frozenset(
    [
        "what",
        "whats",
        "where",
        "which",
        "when",
        "does",
        "have",
        "tell",
        "about",
        "story",
        "opposite",
        "color",
        "please",
        "know",
        "many",
        "much",
        "like",
        "want",
        "could",
        "would",
        "should",
        "favorite",
        "name",
        "make",
        "today",
        "think",
        "help",
        "know",
        "there",
        "animal",
        "people",
        "something",
        "between",
        "difference",
        "called",
        "bigger",
        "comes",
        "after",
        "before",
        "short",
        "really",
        "hello",
        "good",
    ]
)


def lesson_pools(
    tokenizer: object | None,
) -> Iterator[tuple[float, Sequence[Lesson]]]:
    """With a tokenizer, how words are cut into its tokens, too."""
    yield from lessons.all_lessons()
    if tokenizer is not None:
        yield 2.2, tuple(lessons.tokens(tokenizer))  # type: ignore[arg-type]
