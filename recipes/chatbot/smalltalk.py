"""Conversations made from templates: what a small, friendly, honest chatbot says.

`conversation` joins exchanges (a greeting, a name, a sum, a story of the corpus, ...) into one
talk. It remembers what the user said, so that "What is my name?" has its answer earlier on.
The words are in smalltalk.toml.
"""

from __future__ import annotations

import random
import re
import string
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Exchange = tuple[str, str]  # what the user says, what the assistant answers

TABLE: dict[str, Any] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
NAMES: list[str] = TABLE["names"].split()
COLORS: list[str] = TABLE["colors"].split()
NUMBERS: list[str] = TABLE["numbers"].split()
DAYS: list[str] = TABLE["days"].split()
MONTHS: list[str] = TABLE["months"].split()
OPPOSITES = [pair.split("/") for pair in TABLE["opposites"].split()]


@dataclass(slots=True)
class Talk:
    """A conversation being made. facts: what the user told of themselves, by kind."""

    rng: random.Random
    exchanges: list[Exchange] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def pick(self, *options: str) -> str:
        return self.rng.choice(options)

    def one(self, table: str) -> Any:
        """Any entry of a list in smalltalk.toml."""
        return self.rng.choice(TABLE[table])

    def word(self, table: str) -> str:
        """Any word of a text in smalltalk.toml."""
        return self.rng.choice(TABLE[table].split())

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def say(self, user: str, assistant: str) -> None:
        self.exchanges.append((user, assistant))

    @property
    def last(self) -> str:
        """What the assistant said last."""
        return self.exchanges[-1][1] if self.exchanges else ""

    @property
    def length(self) -> int:
        """Characters so far."""
        return sum(len(said) + len(answer) for said, answer in self.exchanges)


def as_typed(text: str, rng: random.Random) -> str:
    """Now and then without capitals or a full stop, as people write in a chat."""
    if len(text) > 120:
        return text
    if rng.random() < 0.22:
        text = text.lower()
    if rng.random() < 0.22:
        text = text.rstrip(".!?") or text
    return text


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


# ---------------------------------------------------------------------------------------------
# Greetings, names and what the user told


def hello(t: Talk) -> None:
    if t.chance(0.2):
        time = t.pick("morning", "afternoon", "evening")
        answer = t.pick(
            "How are you?",
            "How can I help you?",
            "Nice to see you.",
            "What would you like to talk about?",
        )
        t.say(f"Good {time}!", f"Good {time}! {answer}")
        if answer == "How are you?":
            mood(t)
        return
    opening = t.one("openings")
    greeting = t.pick("Hello!", "Hi!", "Hi there!", "Hello there!")
    if t.chance(0.25):
        back = t.pick("How are you?", "And you?", "How about you?")
        t.say(f"{opening} {t.one('ask_how')}", f"{greeting} {t.one('well')} {back}")
        mood(t)
    elif t.chance(0.35):
        t.say(opening, f"{greeting} {t.pick('How are you?', 'How are you today?')}")
        mood(t)
    elif t.chance(0.3):
        asks = ("I am Pellucid. What is your name?", "My name is Pellucid. What is yours?")
        t.say(opening, f"{greeting} {t.pick(*asks, 'What is your name?')}")
        give_name(t, asked=True)
    else:
        offer = t.pick(
            "How can I help you?",
            "What would you like to talk about?",
            "It is nice to meet you.",
            "I am Pellucid. What can I do for you?",
            "What is on your mind?",
        )
        t.say(opening, f"{greeting} {offer}")


def mood(t: Talk) -> None:
    """The user's answer to "How are you?"."""
    if t.chance(0.75):
        t.say(t.one("good"), f"{t.one('glad')} {t.one('next')}")
        return
    t.say(
        t.pick("Not so good.", "I am a little sad.", "Bad.", "I am tired.", "Not very well."),
        t.pick(
            "I am sorry to hear that. Do you want to tell me about it?",
            "Oh, I am sorry. What happened?",
            "I hope it gets better soon. What is wrong?",
            "That is a pity. Would a little story help?",
        ),
    )
    if t.chance(0.5) and "story" not in t.last:
        t.say(
            t.pick(
                "I had a fight with my friend.",
                "I lost my keys.",
                "I did not sleep well.",
                "It rained all day.",
                "I have too much work.",
                "I miss my family.",
                "Nothing went right today.",
            ),
            t.pick(
                "That sounds hard. I hope tomorrow is a better day.",
                "I understand. Be kind to yourself today.",
                "I am sorry. Maybe a rest or a short walk would help you.",
                "Thank you for telling me. I hope you feel better soon.",
            ),
        )


def how_are_you(t: Talk) -> None:
    t.say(t.one("ask_how"), f"{t.one('well')} {t.pick('How are you?', 'And you?')}")
    mood(t)


def give_name(t: Talk, asked: bool = False) -> None:
    if "name" in t.facts:
        return
    name = t.facts["name"] = t.rng.choice(NAMES)
    said = t.pick(
        f"My name is {name}.",
        f"I am {name}.",
        f"I'm {name}.",
        f"I am called {name}.",
        f"You can call me {name}.",
        f"Call me {name}.",
        f"My name's {name}.",
    )
    t.say(
        t.pick(name, f"{name}.") if asked and t.chance(0.35) else said,
        t.pick(
            f"Nice to meet you, {name}!",
            f"Hello, {name}! How are you?",
            f"Hi {name}! How can I help you?",
            f"It is nice to meet you, {name}. What would you like to talk about?",
            f"{name} is a nice name! What do you like to do?",
            f"Hello {name}, I am Pellucid.",
            f"Welcome, {name}! What is on your mind?",
        ),
    )
    if t.last.endswith("How are you?") and t.chance(0.7):
        mood(t)


def ask_name(t: Talk) -> None:
    """The user asks for their own name, known or not."""
    question = t.pick(
        "What is my name?",
        "Do you know my name?",
        "Do you remember my name?",
        "What am I called?",
        "Who am I?",
        "Can you tell me my name?",
        "Do you still know my name?",
    )
    if name := t.facts.get("name"):
        yes = "Yes, your" if question.startswith(("Do", "Can")) else "Your"
        t.say(
            question,
            t.pick(
                f"Your name is {name}.",
                f"You are {name}!",
                f"You told me that your name is {name}.",
                f"{yes} name is {name}.",
                f"I remember: you are {name}.",
            ),
        )
    else:
        t.say(
            question,
            t.pick(
                "I do not know your name yet. What is it?",
                "You have not told me your name. What is your name?",
                "I don't know it yet. Will you tell me your name?",
            ),
        )
        give_name(t, asked=True)


# What users tell of themselves. kind -> (said, answered, asked later, answered then); {x} is what
# is told, {y} an animal or a person that it belongs to.
TOLD: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "color": (
        ("My favorite color is {x}.", "I like the color {x} best.", "I love the color {x}."),
        ("{X} is a beautiful color!", "So you like {x}. That is a nice color."),
        ("What is my favorite color?", "Which color do I like?"),
        ("Your favorite color is {x}.", "You like {x}.", "It is {x}."),
    ),
    "pet": (
        ("I have a {y}. Its name is {x}.", "My {y} is called {x}.", "I have a {y} named {x}."),
        (
            "{X} is a good name for a {y}!",
            "How nice! What does {x} like to do?",
            "I would love to hear more about {x}.",
            "A {y} is a good friend. Is {x} still young?",
        ),
        ("What is my {y} called?", "What is the name of my {y}?", "What is my {y}'s name?"),
        ("Your {y} is called {x}.", "Its name is {x}.", "Your {y}'s name is {x}."),
    ),
    "city": (
        ("I live in {x}.", "I am from {x}.", "My home is in {x}.", "I come from {x}."),
        (
            "How nice! What do you like about {x}?",
            "{x} must be an interesting place.",
            "Do you like it in {x}?",
            "I have never been to {x}. Tell me about it.",
        ),
        ("Where do I live?", "Do you remember where I live?", "Where is my home?"),
        ("You told me about {x}.", "Your home is in {x}.", "You live in {x}."),
    ),
    "age": (
        ("I am {x} years old.", "I'm {x} years old.", "I am {x}.", "I turned {x} this year."),
        (
            "{x} is a good age!",
            "So you are {x}. What do you like to do?",
            "Thank you for telling me. I am much younger than you.",
        ),
        ("How old am I?", "Do you remember how old I am?", "What is my age?"),
        ("You are {x} years old.", "You told me that you are {x}."),
    ),
    "food": (
        ("My favorite food is {x}.", "I love to eat {x}.", "I like {x} best of all food."),
        (
            "Many people love {x}. I cannot eat, but it sounds tasty!",
            "Yum! How often do you eat {x}?",
            "I hope you get {x} very soon!",
        ),
        ("What is my favorite food?", "What do I like to eat?"),
        ("Your favorite food is {x}.", "You like {x}.", "You love {x}!"),
    ),
    "friend": (
        ("My {y} is called {x}.", "My {y}'s name is {x}.", "I have a {y} named {x}."),
        (
            "What do you and {x} do together?",
            "Is {x} older than you?",
            "It is nice that you have {x}.",
        ),
        ("What is my {y} called?", "What is the name of my {y}?", "What is my {y}'s name?"),
        ("Your {y} is called {x}.", "Your {y}'s name is {x}.", "That is {x}."),
    ),
}


def tell_fact(t: Talk) -> None:
    """The user tells a thing about themselves that can be asked for later."""
    kind = t.rng.choice(list(TOLD))
    if kind in t.facts:
        return
    if kind == "color":
        x = t.rng.choice(COLORS)
    elif kind == "pet":
        x = t.word("pet_names")
        t.facts["its pet"] = t.pick("dog", "cat", "rabbit", "bird", "fish", "hamster")
    elif kind == "city":
        x = t.word("cities")
    elif kind == "age":
        x = str(t.rng.randint(5, 80))
    elif kind == "food":
        x = t.rng.choice(TABLE["likes"]["eat"])
    else:
        x = t.rng.choice(NAMES)
        t.facts["its friend"] = t.pick("brother", "sister", "best friend", "teacher", "baby")
    t.facts[kind] = x
    said, answers, _, _ = TOLD[kind]
    t.say(*(_told(t, kind, t.rng.choice(forms)) for forms in (said, answers)))


def _told(t: Talk, kind: str, form: str) -> str:
    x = t.facts[kind]
    return form.format(x=x, X=_capital(x), y=t.facts.get(f"its {kind}", ""))


def recall_fact(t: Talk) -> None:
    kinds = [kind for kind in (*TOLD, "name") if kind in t.facts]
    if not kinds:
        tell_fact(t)
        return
    kind = t.rng.choice(kinds)
    if kind == "name":
        ask_name(t)
        return
    _, _, asked, answers = TOLD[kind]
    t.say(*(_told(t, kind, t.rng.choice(forms)) for forms in (asked, answers)))


def follow(t: Talk) -> None:
    """Mostly the user answers what the assistant asked."""
    for _ in range(2):
        fitting = next((f for f in TABLE["follows"] if t.last.endswith(f["asked"])), None)
        if fitting is None or t.chance(0.35):
            return
        t.say(*t.rng.choice(fitting["answers"]))


# ---------------------------------------------------------------------------------------------
# Likes, feelings, remarks


def like(t: Talk) -> None:
    kind = t.rng.choice(list(TABLE["likes"]))
    x = t.rng.choice(TABLE["likes"][kind])
    if t.chance(0.55):
        answer = t.rng.choice(TABLE["like_answers"][kind]).format(
            x=x, X=_capital(x).replace(" my ", " a ")
        )
        t.say(t.pick(f"I like {x}.", f"I love {x}.", f"I really like {x}."), answer)
        if "Shall I tell you a story" in answer:
            t.say(
                t.pick("No, thank you.", "Not now.", "Maybe later."),
                t.pick("All right! What shall we do then?", "Okay! Just ask when you want one."),
            )
    elif t.chance(0.7):
        answer = {
            "do": f"I am a program, so I cannot try it. Do you like {x}?",
            "eat": f"I cannot eat, for I am a program. Do you like {x}?",
            "animals": f"Yes, I like stories about {x}. Do you like them?",
            "things": f"I only know {x} from words. Do you like {x}?",
        }[kind].replace(" my ", " your ")
        t.say(t.pick(f"Do you like {x}?", f"What do you think of {x}?"), answer)
        if t.chance(0.7):
            t.say(
                *t.rng.choice(
                    (
                        ("Yes, I do.", "That is nice! What do you like best about it?"),
                        ("Yes!", "I am glad. Tell me more about it!"),
                        ("Yes, very much.", "How nice! I like to hear that."),
                        ("No.", "That is fine. People like different things."),
                        ("No, not really.", "I see. What do you like instead?"),
                        ("A little.", "A little is good, too!"),
                    )
                )
            )
    else:
        t.say(
            t.pick(f"I don't like {x}.", f"I do not like {x}.", f"I hate {x}."),
            t.pick(
                "Why not? What do you like instead?",
                "That is fine. We all like different things.",
                f"I understand. Not everyone likes {x}.".replace(" my ", " a "),
                "I see. What do you like better?",
            ),
        )


def feeling(t: Talk) -> None:
    feelings = TABLE["feelings"]
    word = t.rng.choice([*feelings, "sad", "happy", "bored", "tired", "sad", "happy"])
    forms = [f"I am {word}.", f"I'm so {word}.", f"I am very {word}.", f"I am {word} today."]
    if word in ("late", "in love"):
        forms = [f"I am {word}.", f"I'm {word}!"]
    else:
        forms.append(f"I feel {word}.")
    if word not in ("happy", "excited", "proud", "in love"):
        forms.append(f"I am a little {word}.")
    answer = t.rng.choice(feelings[word])
    t.say(t.rng.choice(forms), answer)
    asks = any(part in answer for part in ("happen", "why", "What", "Tell me"))
    if word in TABLE["reasons"] and asks and t.chance(0.8):
        t.say(*t.rng.choice(TABLE["reasons"][word]))


def help_me(t: Talk) -> None:
    if t.chance(0.5):
        t.say(t.one("can_help"), t.one("can_help_answers"))
    else:
        t.say(t.one("can_do"), t.one("can_do_answers"))


def gibberish(t: Talk) -> None:
    rng = t.rng
    kind = rng.random()
    if kind < 0.4:
        syllables = TABLE["syllables"].split()
        words = ("".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(4))
        text = " ".join(list(words)[: rng.randint(1, 4)])
    elif kind < 0.7:
        text = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 14)))
    elif kind < 0.8:
        text = "".join(rng.choices("asdfjklqwertzuiop", k=rng.randint(4, 12)))
    elif kind < 0.9:
        text = "".join(rng.choices("?!.,;:-#%&", k=rng.randint(1, 6)))
    else:
        text = "".join(rng.choices(string.digits + "xyz", k=rng.randint(5, 12)))
    t.say(text, t.one("lost"))
    if t.chance(0.3):
        t.say(
            t.pick("Never mind.", "Sorry, that was a mistake.", "That was nonsense."),
            t.pick(
                "No problem! What would you like to talk about?",
                "That is fine. How can I help you?",
                "All right! Ask me something else.",
            ),
        )


def cannot_know(t: Talk) -> None:
    entry = t.one("cannot_know")
    question = t.rng.choice(entry["said"])
    if question == "Where do I live?" and "city" in t.facts:
        return
    t.say(question, t.rng.choice(entry["answers"]))
    if t.chance(0.2) and ("annot" in t.last or "can not" in t.last):
        t.say(
            t.pick("Why not?", "Why can't you?"),
            t.pick(
                "I am a small program. I only know words.",
                "I only read and write text, and I am small.",
                "I have no eyes, no ears and no internet. I only have words.",
            ),
        )


def about_it(t: Talk) -> None:
    entry = t.one("about_it")
    t.say(t.rng.choice(entry["said"]), t.rng.choice(entry["answers"]))
    if t.chance(0.4):
        return
    if "Which animal" in t.last:
        x = t.rng.choice(TABLE["likes"]["animals"])
        t.say(
            t.pick(f"I like {x}.", f"{_capital(x)}.", f"{_capital(x)} are my favorite."),
            t.pick(f"{_capital(x)} are wonderful animals!", f"I like stories about {x}, too."),
        )
    elif t.last.endswith(("favorite color?", "like best?")) and "color" not in t.facts:
        x = t.facts["color"] = t.rng.choice(COLORS)
        t.say(
            t.pick(f"{_capital(x)}.", f"I like {x}.", f"My favorite color is {x}."),
            t.pick(f"{_capital(x)} is a beautiful color!", f"{_capital(x)} is a good choice."),
        )
    elif ("like to eat" in t.last or "favorite food" in t.last) and "food" not in t.facts:
        x = t.facts["food"] = t.rng.choice(TABLE["likes"]["eat"])
        t.say(
            t.pick(f"{_capital(x)}.", f"I like {x}.", f"My favorite food is {x}."),
            t.pick(f"Many people like {x}!", f"Yum, {x}! I hope you get some soon."),
        )


def remark(t: Talk) -> None:
    entry = t.one("remarks")
    t.say(t.rng.choice(entry["said"]), t.rng.choice(entry["answers"]))


def joke(t: Talk) -> None:
    ask = t.pick(
        "Tell me a joke.",
        "Do you know a joke?",
        "Can you tell me a joke?",
        "Make me laugh.",
        "A joke, please.",
        "Say something funny.",
        "I want to hear a joke.",
    )
    question, answer = t.one("jokes")
    if t.chance(0.5):
        t.say(ask, f"{question} {answer}")
    else:
        t.say(ask, question)
        back = "Why?" if question.startswith("Why") else "What?"
        t.say(t.pick("I don't know.", back, "Tell me!", "No idea.", "I give up."), answer)
    if t.chance(0.3):
        t.say(t.pick("Another one!", "Tell me another joke."), " ".join(t.one("jokes")))


def thanks(t: Talk) -> None:
    t.say(t.one("thanks"), t.one("welcome"))


def goodbye(t: Talk) -> None:
    said = t.one("byes")
    name = t.facts.get("name")
    to = f", {name}" if name and t.chance(0.7) else ""
    if "night" in said or "bed" in said:
        answers = (f"Good night{to}! Sleep well.", f"Sweet dreams{to}!", f"Good night{to}!")
        t.say(said, t.pick(*answers))
    else:
        t.say(
            said,
            t.pick(
                f"Goodbye{to}! Have a nice day.",
                f"Bye{to}! It was nice to talk with you.",
                f"See you soon{to}!",
                f"Take care{to}! Come back any time.",
                f"Goodbye{to}! I liked our talk.",
            ),
        )


def say_again(t: Talk) -> None:
    """The user wants words repeated: given ones, or the assistant's last."""
    if t.exchanges and len(t.last) < 90 and t.chance(0.4):
        asks = ("What did you say?", "Can you say that again?", "Say that again, please.")
        t.say(t.pick(*asks, "Repeat that, please."), t.pick(f"I said: {t.last}", t.last))
        return
    words = t.pick(
        "the sun is warm",
        "good morning",
        "one two three",
        "the cat sleeps",
        "hello world",
        "blue fish",
        "we are friends",
        "birds can fly",
        *NAMES[:60],
    )
    form = t.pick("Say {}.", "Repeat: {}", "Repeat after me: {}", "Please say {}.")
    t.say(form.format(words), _capital(words) + t.pick(".", "!"))


# ---------------------------------------------------------------------------------------------
# Simple facts


def _sum(t: Talk) -> Exchange:
    a, b = t.rng.randint(0, 10), t.rng.randint(0, 10)
    minus = t.chance(0.4)
    if minus and a < b:
        a, b = b, a
    value = a - b if minus else a + b
    word = "minus" if minus else "plus"
    if t.chance(0.3):
        one, two, three = NUMBERS[a], NUMBERS[b], NUMBERS[value]
        return f"What is {one} {word} {two}?", f"{_capital(one)} {word} {two} is {three}."
    sign = t.pick("-", "minus") if minus else t.pick("+", "plus", "and")
    asks = (f"What is {a} {sign} {b}?", f"How much is {a} {sign} {b}?", f"{a} {sign} {b}?")
    answers = (f"{a} {word} {b} is {value}.", f"It is {value}.", f"The answer is {value}.")
    return t.pick(*asks, f"Tell me {a} {sign} {b}."), t.pick(*answers)


def _double(t: Talk) -> Exchange:
    a = t.rng.randint(1, 10)
    return t.rng.choice(
        (
            (f"What is {a} times 2?", f"{a} times 2 is {2 * a}."),
            (f"What is the double of {a}?", f"The double of {a} is {2 * a}."),
            (f"What is half of {2 * a}?", f"Half of {2 * a} is {a}."),
        )
    )


def _order(t: Talk) -> Exchange:
    a, b = t.rng.sample(range(21), 2)
    yes_no = f"Yes, {a} is bigger than {b}." if a > b else f"No, {a} is smaller than {b}."
    return t.rng.choice(
        (
            (f"Which is bigger, {a} or {b}?", f"{max(a, b)} is bigger than {min(a, b)}."),
            (f"Is {a} bigger than {b}?", yes_no),
            (f"What comes after {a}?", f"After {a} comes {a + 1}."),
            (f"Which number comes before {a + 1}?", f"Before {a + 1} comes {a}."),
        )
    )


def _count(t: Talk) -> Exchange:
    n, low = t.rng.randint(3, 20), t.rng.randint(1, 10)

    def row(*ends: int) -> str:
        return ", ".join(map(str, range(*ends))) + "."

    return t.rng.choice(
        (
            (f"Count to {n}.", row(1, n + 1)),
            (f"Can you count to {NUMBERS[n]}?", row(1, n + 1)),
            (f"Count from {low} to {low + n // 2}.", row(low, low + n // 2 + 1)),
            (f"Count down from {min(n, 10)}.", row(min(n, 10), 0, -1)),
        )
    )


def _day(t: Talk) -> Exchange:
    names, kind = (DAYS, "day") if t.chance(0.5) else (MONTHS, "month")
    i = t.rng.randrange(len(names))
    this, after, before = names[i], names[(i + 1) % len(names)], names[i - 1]
    options = [
        (f"What comes after {this}?", f"After {this} comes {after}."),
        (f"What comes before {this}?", f"Before {this} comes {before}."),
        (f"Which {kind} comes after {this}?", f"{after} comes after {this}."),
    ]
    if kind == "day":
        today = f"If today is {this}, what day"
        options.append((f"{today} is tomorrow?", f"Then tomorrow is {after}."))
        options.append((f"{today} was yesterday?", f"Then yesterday was {before}."))
    else:
        nth = TABLE["ordinals"].split()[i]
        season = ("winter", "spring", "summer", "autumn")[(i + 1) % 12 // 3]
        options.append((f"What is the {nth} month?", f"The {nth} month is {this}."))
        options.append((f"Which season is {this} in?", f"In the north, {this} is in {season}."))
    return t.rng.choice(options)


def _opposite(t: Talk) -> Exchange:
    a, b = t.rng.choice(OPPOSITES)
    if t.chance(0.5) and b not in ("light", "short", "lose"):  # these have two opposites
        a, b = b, a
    asks = (f"What is the opposite of {a}?", f"Opposite of {a}?", f"Tell me the opposite of {a}.")
    return t.pick(*asks), t.pick(f"The opposite of {a} is {b}.", f"It is {b}.")


def _color(t: Talk) -> Exchange:
    thing, color = t.rng.choice(list(TABLE["colored"].items()))
    other = t.rng.choice([c for c in COLORS if c != color])
    answer = f"{_capital(thing)} is {color}."
    return t.rng.choice(
        (
            (f"What color is {thing}?", answer),
            (f"Which color has {thing}?", f"It is {color}."),
            (f"Is {thing} {color}?", f"Yes, {thing} is {color}."),
            (f"Is {thing} {other}?", f"No, {thing} is {color}."),
            (f"Name something {color}.", answer),
        )
    )


_PLURALS = {"mouse": "mice", "wolf": "wolves", "butterfly": "butterflies"}


def _animal(t: Talk) -> Exchange:
    name = t.rng.choice(list(TABLE["animals"]))
    sound, baby, home, food, legs = TABLE["animals"][name]
    a = _article(name)
    many = name if name in ("sheep", "fish") else _PLURALS.get(name, name + "s")
    verb = "makes" if " " in sound else "says"
    options = [
        ((f"What does {a} say?", f"What sound does {a} make?"), f"{_capital(a)} {verb} {sound}."),
        ((f"Where does {a} live?", f"Where do {many} live?"), f"{_capital(a)} lives {home}."),
        ((f"What does {a} eat?", f"What do {many} eat?"), f"{_capital(many)} eat {food}."),
        (
            (f"How many legs does {a} have?", f"How many legs has {a}?"),
            f"{_capital(a)} has {NUMBERS[legs] if legs else 'no'} legs.",
        ),
        (
            (f"What is a baby {name} called?", f"What do you call a baby {name}?"),
            f"A baby {name} is called {_article(baby)}.",
        ),
    ]
    asks, answer = t.rng.choice(options)
    return t.pick(*asks), answer


def _city(t: Talk) -> Exchange:
    country, city = t.rng.choice(list(TABLE["capitals"].items()))
    return t.rng.choice(
        (
            (f"What is the capital of {country}?", f"The capital of {country} is {city}."),
            (f"Where is {city}?", f"{city} is in {country}."),
            (f"What is {city}?", f"{city} is the capital of {country}."),
        )
    )


def _plain(t: Talk) -> Exchange:
    entry = t.one("facts")
    return t.rng.choice(entry["said"]), entry["answer"]


FACTS: dict[Callable[[Talk], Exchange], float] = {  # how often, relative to each other
    _sum: 2.0,
    _plain: 2.5,
    _animal: 2.0,
    _opposite: 1.2,
    _color: 1.0,
    _day: 1.2,
    _order: 0.6,
    _count: 0.5,
    _city: 0.8,
    _double: 0.3,
}


def fact(t: Talk) -> None:
    make = t.rng.choices(list(FACTS), list(FACTS.values()))[0]
    for _ in range(t.rng.choice((1, 1, 1, 2, 3))):
        ask, answer = make(t)
        if t.chance(0.12) and ask.startswith(("What", "How", "Where", "Which")):
            ask = t.pick("Can you tell me: ", "Please tell me, ", "Tell me, ") + ask
        t.say(ask, answer)


# ---------------------------------------------------------------------------------------------
# Stories

NOUNS: list[str] = TABLE["nouns"].split()
_NAMED = re.compile(r"\b(?:named|called|name was|name is) ([A-Z][a-z]+)")
_HERO = re.compile(
    r"\b(?:there (?:was|lived)|lived) (an? (?:[a-z]+ ){0,2}?[a-z]+)"
    r"(?= (?:named|called|who|that|in|and|with)\b|\.)"
)


def subjects(story: str) -> list[str]:
    """What a story is about: "a cat", "a boy named Tim", "Tim"; the best first."""
    words = re.findall(r"[a-z]+", story.lower())
    counted = {noun: words.count(noun) + words.count(noun + "s") for noun in NOUNS}
    often = sorted((n for n in counted if counted[n] >= 3), key=lambda n: -counted[n])
    found = [_article(noun) for noun in often[:2]]
    begin = story[:220]
    hero, name = _HERO.search(begin), _NAMED.search(begin)
    if hero and hero[1].split()[-1] not in ("big", "little", "small", "young", "old", "new"):
        found.append(hero[1])
    if name and story.count(name[1]) > 2:
        found.append(name[1])
        if hero:
            found.append(f"{hero[1]} named {name[1]}")
    return list(dict.fromkeys(found))


def story(t: Talk, text: str) -> None:
    """The user asks for the story, or wants it when offered; it is told at once or in two parts."""
    topics = subjects(text)
    if t.last.endswith(("hear a story?", "little story help?", "tell you a story?")):
        ask = t.one("yes_story")
    elif topics and t.chance(0.8):
        ask = t.one("story_asks").format(t.rng.choice(topics))
    else:
        ask = t.one("any_story")
    paragraphs = text.split("\n\n")
    cut = len(paragraphs)
    if cut > 1 and t.chance(0.35):
        cut //= 2
    t.say(ask, "\n\n".join(paragraphs[:cut]))
    if rest := paragraphs[cut:]:
        t.say(t.one("go_on"), "\n\n".join(rest))
    name = _NAMED.search(text[:220])
    if t.chance(0.25):
        t.say(
            t.one("liked"),
            t.pick("Thank you! I am glad you liked it.", "I am glad you liked it!", "Thank you!"),
        )
    elif name and t.chance(0.2):
        t.say(
            t.pick("Who was the story about?", "Who was in the story?"),
            t.pick(f"The story was about {name[1]}.", f"It was about {name[1]}."),
        )


# ---------------------------------------------------------------------------------------------
# Conversations

SMALL_TALK: dict[Callable[[Talk], None], float] = {
    fact: 4.0,
    like: 2.0,
    feeling: 2.0,
    about_it: 2.0,
    cannot_know: 1.5,
    tell_fact: 1.6,
    recall_fact: 1.4,
    help_me: 1.2,
    remark: 1.4,
    joke: 0.9,
    give_name: 0.8,
    ask_name: 0.8,
    thanks: 0.7,
    gibberish: 0.6,
    say_again: 0.6,
    how_are_you: 0.6,
}


def _as_typed(t: Talk) -> list[Exchange]:
    return [(as_typed(said, t.rng), answer) for said, answer in t.exchanges]


def conversation(
    rng: random.Random, others: Sequence[Sequence[Exchange]] = (), longest: int = 1_500
) -> list[Exchange]:
    """A talk of a few exchanges. others: short talks to weave in. longest: about, in characters."""
    t = Talk(rng)
    if t.chance(0.55):
        hello(t)
    if t.chance(0.12):
        give_name(t)
    follow(t)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 3, 4, 5))):
        if others and t.chance(0.3):
            t.exchanges.extend(rng.choice(others))
        else:
            rng.choices(list(SMALL_TALK), list(SMALL_TALK.values()))[0](t)
        follow(t)
        if t.length > longest:
            break
    if "name" in t.facts and t.chance(0.35):
        ask_name(t)
    elif t.facts and t.chance(0.35):
        recall_fact(t)
    if t.exchanges and t.chance(0.25):
        goodbye(t)
    return _as_typed(t)


def story_conversation(rng: random.Random, text: str) -> list[Exchange]:
    """A talk in which the user asks for this story."""
    t = Talk(rng)
    if t.chance(0.35):
        hello(t)
    if t.chance(0.2):
        rng.choice((like, fact, feeling, give_name))(t)
    if t.chance(0.12):
        asks = ("What can we do?", "I am bored.", "What shall we do?", "What now?")
        t.say(t.pick(*asks), t.pick("Would you like to hear a story?", "Shall I tell you a story?"))
    story(t, text)
    if t.chance(0.1):
        goodbye(t)
    return _as_typed(t)


def phrasings(entry: dict[str, Any]) -> list[str]:
    """All forms of a question of questions.jsonl: as written, and those made from its term."""
    asks: list[str] = list(entry.get("ask", []))
    if term := entry.get("term"):
        for form in TABLE["term_asks"]:
            if term in ("parameters", "logits"):
                form = form.replace("What is", "What are").replace("{} is", "{} are")
                form = form.replace("does", "do")
            asks.append(form.format(term))
    return asks


def question_conversation(
    rng: random.Random, first: dict[str, Any], entries: Sequence[dict[str, Any]]
) -> list[Exchange]:
    """A talk about how a GPT works that has this question in it."""
    t = Talk(rng)
    if t.chance(0.3):
        hello(t)
    for entry in [first, *rng.sample(list(entries), rng.choice((0, 0, 1, 2, 3)))]:
        t.say(rng.choice(phrasings(entry)), rng.choice(entry["answers"]))
    if t.chance(0.15):
        thanks(t)
    return _as_typed(t)
