"""What the chatbot is finetuned on: its own manner, and people's talk so that it is not forgotten.

`documents` gives all of it: conversations woven from tables/*.txt (talks.py), those of people,
simple instructions, stories told on request. Given a tokenizer it also teaches how words are cut
into that tokenizer's tokens.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lessons
import smalltalk
import tables
import talks

from pellucid.data.rows import rows
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer

Turns = tuple[tuple[str, str], ...]  # (role, text), user first, alternating


class Text(NamedTuple):
    """A document. body: prose, or turns. held_out: for validation only."""

    source: str
    body: str | Turns
    held_out: bool


SEED = 2019
N_VOCAB = 8192  # where no tokenizer is given
CHARACTERS = 1_600  # of one conversation: it fits the window of 512 tokens
STORY_CHARACTERS = 1_000
FIRST_WORDS = 100_000  # conversations of one piece
CONVERSATIONS = 17_000
SMALL_TALK = 3_500  # of smalltalk.conversation
QUESTION_REPEATS = 20
PLAIN_STORIES = 1_500
REPEATS = {
    "synthetic-persona-chat": 2, "topical-chat": 2, "byu-chitchat": 1,
    "chatterbot-corpus": 1, "schema-guided-dialogue": 1, "taskmaster-4": 1, "handwritten": 2,
    "smollm2-135m-instruct+facts": 1, "trivia": 1,
}  # fmt: skip
MOST = {"schema-guided-dialogue": 1_200_000, "trivia": 60_000}  # characters
HERE = Path(__file__).parent


# ---------------------------------------------------------------------------------------------
# People's talk

_ASKS_YOU = re.compile(r"\b(you|your|yours|yourself)\b", re.IGNORECASE)


def windows(turns: Turns, characters: int = CHARACTERS, skip: int = 0) -> Iterator[Turns]:
    """A conversation in parts of whole exchanges that fit, without the first `skip` of them."""
    part: list[tuple[str, str]] = []
    length = 0
    for i in range(2 * skip, len(turns) - 1, 2):
        size = len(turns[i][1]) + len(turns[i + 1][1])
        if part and length + size > characters:
            yield tuple(part)
            part, length = [], 0
        if size <= characters:
            part += turns[i : i + 2]
            length += size
    if part:
        yield tuple(part)


def shorten(turns: Turns, characters: int = CHARACTERS) -> Turns:
    """The first exchanges that are not longer than this, in whole."""
    return next(windows(turns, characters), ())


def peoples(source: str, turns: Turns) -> Iterator[Turns]:
    """A conversation of the corpora, as it is learned: where people talk with each other, without
    the greetings and names, and beginning with something that is not about the other person, lest
    the chatbot should greet like somebody with a job and a family."""
    skip = {"synthetic-persona-chat": 3, "byu-chitchat": 2, "topical-chat": 1}.get(source, 0)
    while skip and 2 * skip < len(turns) and _ASKS_YOU.search(turns[2 * skip][1]):
        skip += 1
    yield from windows(turns, skip=skip)


# ---------------------------------------------------------------------------------------------
# Facts of Wikipedia, stories


_DEFINITION = re.compile(r"(?:(The|An?) )?([A-Z]?[\w'-]+(?: [\w'-]+)?) (is|are) ((?:an?|the) .+)")


def definition(text: str, common: Collection[str]) -> smalltalk.Exchange | None:
    """An article's opening -> "What is X?" and its first sentence, where X is a common word."""
    first = re.split(r"(?<=[a-z]\.) ", text)[0]
    match = _DEFINITION.match(first)
    if not match or len(first) > 130 or " list of " in first:
        return None
    article, thing, verb, _ = match.groups()
    if not all(word in common for word in thing.lower().split()):
        return None
    if article:
        thing = f"{article.lower()} {thing}"
    elif not thing.istitle() or " " in thing or thing in ("This", "These", "There", "It"):
        return None
    else:
        thing = thing.lower()
    if thing.split()[-1] in known():
        return None
    return f"What {verb} {thing}?", first


def known() -> Collection[str]:
    """What the tables explain: those answers are better."""
    return {thing.word for thing in lessons.things()}


def common_words(texts: Iterable[Text]) -> set[str]:
    counted = Counter(
        word
        for text in texts
        if text.source in ("tinystories", "storybooks") and isinstance(text.body, str)
        for word in re.findall(r"(?<![.!?\"] )(?<!^)\b[a-z]+", text.body)
    )
    return {word for word, times in counted.items() if times >= 5}


# ---------------------------------------------------------------------------------------------
# All of it


def as_turns(exchanges: Iterable[smalltalk.Exchange]) -> Turns:
    return tuple(
        turn for said, answer in exchanges for turn in (("user", said), ("assistant", answer))
    )


def _exchanges(turns: Turns) -> list[smalltalk.Exchange]:
    return [(turns[i][1], turns[i + 1][1]) for i in range(0, len(turns) - 1, 2)]


def bare(text: str) -> str:
    """A message's words, whatever its capitals and punctuation."""
    return " ".join(re.findall(r"[a-z0-9+*-]+", text.lower()))


def first_hundred() -> list[str]:
    """What newcomers may type first; kept apart, for the page that is marked by hand."""
    return (HERE / "first_hundred.txt").read_text(encoding="utf-8").splitlines()


def questions(n_vocab: int) -> list[dict[str, Any]]:
    """questions.jsonl, with the shape of the model that pretrain.toml makes filled in."""
    shape = tomllib.loads((HERE / "pretrain.toml").read_text(encoding="utf-8"))
    sizes = {name: shape[name] for name in ("n_ctx", "n_embd", "n_head", "n_layer")}
    model = HParams(n_vocab=n_vocab, **sizes)
    facts = {
        "parameters": f"{model.n_params / 1e6:.1f} million",
        "layers": lessons.NUMBERS[model.n_layer],
        "heads": lessons.NUMBERS[model.n_head],
        "n_ctx": str(model.n_ctx), "n_embd": str(model.n_embd), "n_vocab": str(n_vocab),
    }  # fmt: skip
    entries = [dict(row.fields) for row in rows(HERE / "questions.jsonl")]
    for entry in entries:
        entry["answers"] = [tables.filled(answer, facts) for answer in entry["answers"]]
    return entries


def documents(texts: Sequence[Text], tokenizer: Tokenizer | None = None) -> Iterator[Text]:
    """texts: those of the corpus, each once. What was held out stays held out, and no message of
    first_hundred.txt is in what is learned."""
    entries = questions(N_VOCAB if tokenizer is None else tokenizer.n_vocab)
    kept_apart = {bare(line) for line in first_hundred()}
    for text in _documents(texts, entries, tokenizer):
        if not isinstance(text.body, str):
            said = (bare(words) for role, words in text.body if role == "user")
            if not kept_apart.isdisjoint(said) and not text.held_out:
                continue
        yield text


def _documents(
    texts: Sequence[Text], entries: list[dict[str, Any]], tokenizer: Tokenizer | None
) -> Iterator[Text]:
    rng = random.Random(f"{SEED} chat")
    taught = list(talks.lesson_pools(tokenizer))
    weaver = talks.Weaver(rng, taught, entries)
    others: list[list[smalltalk.Exchange]] = []  # short talks that longer ones are woven from
    common = common_words(texts)
    plain_left, left = PLAIN_STORIES, dict(MOST)
    for source, body, held_out in texts:
        if isinstance(body, str):
            if source == "wikipedia" and (found := definition(body, common)):
                yield Text("what is", as_turns([found]), held_out)
            if source in ("tinystories", "storybooks") and len(body) <= STORY_CHARACTERS:
                if plain_left and not held_out:
                    plain_left -= 1
                    yield Text(source, body, held_out)
                yield Text(
                    "told stories", as_turns(smalltalk.story_conversation(rng, body)), held_out
                )
            continue
        if source == "handwritten" and not held_out and sum(len(t) for _, t in body) < 400:
            others.append(_exchanges(body))
        if source not in REPEATS:
            continue
        for turns in peoples(source, body):
            size = sum(len(said) for _, said in turns)
            if left.get(source, size) < size:
                continue
            if source in left:
                left[source] -= size
            for i in range(1 if held_out else REPEATS[source]):
                yield Text(source, turns if i == 0 else _typed_again(turns, rng), held_out)
    weaver.shared = others
    answered = [
        [(said, rng.choice(e["answers"]))] for e in entries for said in smalltalk.phrasings(e)
    ]
    for _ in range(SMALL_TALK):
        yield _made("small talk", smalltalk.conversation(rng, others + answered))
    for _ in range(FIRST_WORDS):
        yield _made("first words", weaver.single())
    for _ in range(CONVERSATIONS):
        yield _made("conversations", weaver.conversation())
    for entry in entries:
        for _ in range(QUESTION_REPEATS):
            asked = smalltalk.question_conversation(rng, entry, entries)
            yield Text("questions", as_turns(asked), False)
    for _, pool in taught:
        for lesson in pool:
            if lessons.held_out(lesson):
                if lessons.hashed(lesson.key) % 8 == 0:
                    yield Text(
                        "kept lessons", as_turns([(lesson.asks[0], lesson.answers[0])]), True
                    )
            elif (kept := lessons.kept_ask(lesson)) is not None:
                yield Text(
                    "kept ways to ask", as_turns([(lesson.asks[kept], lesson.answers[0])]), True
                )


def _made(source: str, exchanges: Sequence[smalltalk.Exchange]) -> Text:
    turns = shorten(as_turns(exchanges))
    return Text(source, turns, lessons.hashed(str(turns)) % 100 == 0)


def _typed_again(turns: Turns, rng: random.Random) -> Turns:
    return tuple(
        (role, smalltalk.as_typed(text, rng) if role == "user" else text) for role, text in turns
    )
