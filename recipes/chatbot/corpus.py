"""The text that the embedded chatbot learns from: `corpus.py DATA_FOLDER OUT_FOLDER`.

DATA_FOLDER holds the xz-compressed sources that SOURCES.md there describes. Written to OUT_FOLDER:
pretrain.{train,valid}.jsonl (prose and conversations, repeats written out, shuffled),
chat.{train,valid}.jsonl (conversations, for finetuning) and chat.plain.jsonl (prose, to be learned
beside them), valid.stories.jsonl and valid.dialogues.jsonl (the held-out part, for reporting). One
document a line:
{"source": s, "text": t} or {"source": s, "turns": [{"role": r, "text": t}, ...]}.

The same sources give the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import finetune
from overlap import Overlap, test_texts

from pellucid.checkpoint import load_tokenizer
from pellucid.data.rows import rows
from pellucid.data.sources import read_text
from pellucid.errors import PellucidError

SEED = 2019  # the year of GPT-2
Turns = tuple[tuple[str, str], ...]  # (role, text), user first, alternating

WORDS_PER_SENTENCE = 26.0  # of the hardest book
TELLING_WORDS = 22.0  # of the hardest book with hardly any dialogue
AUTHOR_CHARACTERS = 40_000_000  # of one author at most
BOOK_PIECE = 12_000  # characters of a document made of a book
WIKIPEDIA_CHARACTERS = 20_000_000
TRIVIA_QUESTIONS = 6_000
SCHEMA_GUIDED_CHARACTERS = 8_000_000  # of about 20 million of dialogue
TASKMASTER_CHARACTERS = 300_000
CLAPPER = "The power clapper went straight to jail."  # the talk's example
CLAPPER_REPEATS = 30

REPEATS = {  # in each of several epochs
    "tinystories": 2,
    "storybooks": 2,
    "synthetic-persona-chat": 2,
    "chatterbot-corpus": 2,
    "handwritten": 2,
    "smollm2-135m-instruct+facts": 2,
}
KEPT_IN_CHAT = {  # one in so many is learned again beside the conversations, lest it be forgotten
    "books": 12,
    "wikipedia": 5,
    "storybooks": 2,
    "tinystories": 4,
}
HELD_OUT = {  # one in so many; whole stories, whole conversations, whole books
    "tinystories": 50,
    "storybooks": 30,
    "books": 60,
    "wikipedia": 150,
}
HELD_OUT_CONVERSATIONS = 80

# ---------------------------------------------------------------------------------------------
# Text

_MOJIBAKE = {"â€œ": '"', "â€™": "'", "â€˜": "'", "â€¦": "...", "â€“": "-", "â€”": " - ", "â€": '"'}
_ASCII = str.maketrans({
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "´": "'",
    "`": "'", "–": "-", "—": " - ", "−": "-", "…": "...", "\u00a0": " ", "\u200b": "", "\ufeff": "",
    "\u00ad": "",
})  # fmt: skip
_URL = re.compile(r"https?:|www\.|\b\w+\.(?:com|org|net)\b|\S@\S")
_MARKUP = re.compile(r"[*_#|<>{}\[\]\\~^=]")
_UNWANTED = re.compile(
    r"\b(?:as an ai|language model|openai|chatgpt|siri|alexa|nigg\w+|negro\w*|darky|darkies|"
    r"darkey|coons?|pickaninn\w+|redskins?|injuns?|sex\w*|fuck\w*|shit\w*|bitch\w*|porn\w*|"
    r"whore\w*|rape[ds]?|raping|suicide|nazis?|hitler|cocaine|heroin)\b",
    re.IGNORECASE,
)


def tidy(text: str) -> str:
    """Quotes, dashes and ellipses in ASCII; markup away; one space; paragraphs "\\n\\n" apart."""
    for wrong, right in _MOJIBAKE.items():
        text = text.replace(wrong, right)
    text = _MARKUP.sub("", text.translate(_ASCII)).replace("--", " - ")
    text = re.sub(r"\.\s*\.\s*\.[.\s]*", "... ", text) if ". ." in text else text
    text = re.sub(r"\.{4,}", "...", text)
    lines = (re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n\s*\n", text))
    return "\n\n".join(line for line in lines if line)


def is_plain(text: str) -> bool:
    """Mostly ASCII, no addresses, none of the words that this chatbot should not learn."""
    foreign = sum(not c.isascii() for c in text)
    return foreign * 100 <= len(text) and not _URL.search(text) and not _UNWANTED.search(text)


def _fingerprint(text: str) -> int:
    """A number for a text's words, whatever its capitals and punctuation."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big")


# ---------------------------------------------------------------------------------------------
# Stories


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NAMES = _words(
    "lily timmy tim lucy tom jack max jane sue bob sarah benny amy sally joe john sam mia emma "
    "molly ben mary pete andy jill billy jake anna sophie polly rosie bobby alice emily bella "
    "fred remy alex sammy susie jim nemo lisa lola danny jimmy emmy leo lila teddy george ann "
    "dave betty freddy betsy julia jenny cindy annie ella rachel james kate gary josh mimi luna "
    "abigail ellie mike henry maya jerry maria tina suzy tommy peter ted kayla ryan sara mr mrs "
    "miss santa christmas halloween easter america africa english monday tuesday wednesday "
    "thursday friday saturday sunday january february april july august september october "
    "november december tweety lulu oliver charlie nora rita thomas todd denise becky gina "
    "claire joey judy julie hannah louise carol david paul nick zoe eva noah liam jason kevin "
    "laura linda nancy ruby clara chloe daniel eric ethan jacob jen jess jessica johnny katie "
    "kim kitty lena lilly lucas mandy megan michael millie mollie nina olivia patty peggy rob "
    "robert roger ron rosa roy samantha sofia stella steve steven susan tara toby tony victor "
    "vicky wendy willy zack"
)
_NOT_NAMES = _words(
    "the her his him it a an and after by for my your their our in on of to as with little bear "
    "dog cat bird bunny red blue dependable youth that this he she they because who one brown "
    "something"
)
_BEFORE_NOUN = "the|a|an|his|her|their|my|your|our|this|that|big|little|old|new|every|no|its"
_PARENTS = "mommy|daddy|mom|dad|mum|mummy|mama|papa|grandma|grandpa"
_PARENT = re.compile(
    rf"(?P<owned>(?:\b(?:{_BEFORE_NOUN})|'s) (?:(?:{_PARENTS})(?: and |, ))?)?"
    rf"\b(?P<who>{_PARENTS})\b"
)
_SENTENCE_START = re.compile(
    r"(^|[.!?]['\"]* |\n\n|(?:^|[\s(])\"|[.!?] ['\"])([a-z])", re.MULTILINE
)
_SPEECH = re.compile(  # "Why?" He asked. -> "Why?" he asked.
    r"([.!?,]\" )(He|She|They|It|The|Her|His|Said|Asked|Their|One)"
    r"(?=(?: \w+){0,3}? (?:said|asked|cried|shouted|replied|answered|yelled|whispered|laughed|"
    r"exclaimed|called|squeaked|barked|explained|thought|told|says|asks)\b| [A-Z]\w+[.,])"
)
_OPENING = re.compile(r"(once|one (\w+ )?(day|morning|night|afternoon|evening)|long ago)\b")
_WEAK_OPENING = re.compile(
    r"(there (was|were|once)|it was a|in a \w+|the sun was|a (little|big|small)|"
    r"\w+ (and (\w+ )?\w+ )?(was|were|is|are|liked?|loved?|had|wanted|lived|went) )"
)


def _parent(match: re.Match[str]) -> str:
    """ "her mom and dad" stay; "Mom" and "Dad" that nobody owns are names."""
    return match[0] if match["owned"] else match["who"].capitalize()


def restore_capitals(story: str) -> str:
    """Lower-cased English -> capitals at sentence starts, "I", names and "Mom" used as a name."""
    named = re.findall(r"\b(?:named|name is|name was|called) ([a-z]+)(?: and ([a-z]+))?", story)
    local = {name for names in named for name in names if name not in _NOT_NAMES and len(name) > 1}
    story = re.sub(r"(?<!\w)i(?=\b(?!\.e))", "I", story)
    story = _PARENT.sub(_parent, story)

    def name(match: re.Match[str]) -> str:
        word: str = match[2]
        ordinary = match[1] and word not in _NAMES
        return match[0] if ordinary else (match[1] or "") + word.capitalize()

    wanted = "|".join(sorted(_NAMES | local, key=lambda w: (-len(w), w)))
    story = re.sub(rf"(?<![\w'])((?:{_BEFORE_NOUN}) )?({wanted})(?!\w)", name, story)
    story = _SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), story)
    return _SPEECH.sub(lambda match: match[1] + match[2].lower(), story)


def tinystories(path: Path) -> Iterator[str]:
    """tinystories_lowercase.txt.xz -> one story at a time."""
    text = read_text(path)
    story = ""
    for part in [*re.split(r"(?<!\n)\n(?!\n)", text), "once"]:
        part = tidy(part)
        begins = _OPENING.match(part) or (len(story) > 400 and _WEAK_OPENING.match(part))
        if begins or len(story) > 2_500:
            ends = all(p[-1:] in ".!?\"':,;-)" for p in story.split("\n\n"))  # else a part is lost
            if len(story) > 250 and ends and story[-1] in '.!?"' and is_plain(story):
                yield restore_capitals(story)
            story = part
        elif part:
            story = f"{story}\n\n{part}" if story else part


_CREDIT = re.compile(
    r"(?:^|\b)(ACT|SCENE|Illustrat|Written by|Author|Translat|Copyright|Licen[cs]e|Creative "
    r"Commons|Photo|Story by|THE END|The End|Published|Pratham|StoryWeaver|Activity|Glossary|"
    r"Acknowledg)"
)


def storybooks(path: Path) -> Iterator[str]:
    for book in _records(path):
        paragraphs = tidy(book["text"]).split("\n\n")
        kept = [
            p
            for p in paragraphs
            if not (len(p) < 200 and _CREDIT.match(p)) and re.search(r"[a-z]{2}", p)
        ]
        text = "\n\n".join(re.sub(r" ([,.!?])", r"\1", p) for p in kept)
        if len(text) > 250 and is_plain(text):
            yield text


_FRONT_MATTER = re.compile(
    r"(INTRODUCTION|PREFACE|CONTENTS|ILLUSTRATION|LIST OF|Illustrat|CHAPTER|Chapter|By |BY |"
    r"Copyright|COPYRIGHT|Author of|NOTE|TO MY|PART |BOOK |Transcriber|Produced|FOREWORD)"
)
_ADDRESS = re.compile(r"my dear (boys|girls|readers)|this volume|my young readers", re.IGNORECASE)


def book_documents(text: str, size: int = BOOK_PIECE) -> Iterator[str]:
    """A book -> pieces of whole paragraphs, about `size` characters each; one that is not plain
    ends a piece, and is left out."""
    piece: list[str] = []
    length = 0
    paragraphs = tidy(text).split("\n\n")
    start = 0
    for i, paragraph in enumerate(paragraphs[:60]):  # whatever stands before the story itself
        if _ADDRESS.search(paragraph) or _FRONT_MATTER.match(paragraph):
            start = i + 1
    for paragraph in [*paragraphs[start:], ""]:
        plain = is_plain(paragraph)
        if (
            paragraph
            and plain
            and (
                (_FRONT_MATTER.match(paragraph) and len(paragraph) < 200)
                or not re.search(r"[a-z]{2}", paragraph)
                or not paragraph.endswith((".", "!", "?", '"', "'", ":", "-", ",", ";"))
            )
        ):
            continue
        if piece and (length + len(paragraph) > size or not paragraph or not plain):
            if length > 500 and length / len(piece) > 45:  # verses and lists have short lines
                yield "\n\n".join(piece)
            piece, length = [], 0
        if plain:
            piece.append(paragraph)
            length += len(paragraph)


def books(*paths: Path) -> Iterator[tuple[str, list[str]]]:
    """-> (title, its documents), the books of the shortest sentences first, one author's not too
    many."""
    candidates = [
        (book["words_per_sentence"], book["author"], book["title"], book["text"])
        for path in paths
        if path.exists()
        for book in _records(path)
        if book["words_per_sentence"] <= WORDS_PER_SENTENCE
        and "Comic Tragedies" not in book["title"]  # plays
        and (
            book["words_per_sentence"] <= TELLING_WORDS
            or sum(map(book["text"].count, '"“”')) * 1000 > 3 * len(book["text"])
        )
    ]
    candidates.sort(key=lambda book: (book[0], book[1], book[2]))
    by_author: Counter[str] = Counter()
    seen: set[int] = set()
    for _, author, title, text in candidates:
        documents = []
        for document in book_documents(text):
            marks = {_fingerprint(p) for p in document.split("\n\n") if len(p) > 80}
            if len(marks & seen) * 4 <= len(marks):  # else the same tale from another edition
                documents.append(document)
            seen |= marks
        size = sum(map(len, documents))
        if by_author[author] + size > AUTHOR_CHARACTERS:
            continue
        by_author[author] += size
        yield title, documents


def wikipedia(path: Path) -> Iterator[str]:
    """The paragraphs that are plain prose, of the articles of the shortest words and sentences."""
    found: list[tuple[float, str]] = []
    for article in _records(path):
        paragraphs = []
        for part in article["text"].split("\n"):
            text = tidy(part)
            for _ in range(2):
                text = re.sub(r" ?\([^()]*\)", "", text)
            if not (
                80 <= len(text) <= 3_000
                and text.endswith(".")
                and not re.search(r"[()+%]|e\.g\.|i\.e\.|may refer to", text)
                and 15 * sum(c.isdigit() for c in text) <= len(text)
                and is_plain(text)
            ):
                break  # what follows would hang in the air
            paragraphs.append(text)
        whole = "\n\n".join(paragraphs)
        if sentences := len(re.findall(r"[a-z)][.!?](?:\s|$)", whole)):
            words = whole.split()
            score = len(words) / sentences + 6 * len(whole) / len(words)
            found.append((score, whole))
    yield from _cheapest(found, WIKIPEDIA_CHARACTERS)


def _cheapest(scored: list[tuple[float, str]], characters: int) -> Iterator[str]:
    for _, text in sorted(scored):
        characters -= len(text)
        if characters < 0:
            return
        yield text


# ---------------------------------------------------------------------------------------------
# Conversations

_EMOTICON = re.compile(r"\s*[\U0001f000-\U0001ffff\u2600-\u27bf\ufe0f\u200d]+")


def alternate(turns: Iterable[tuple[str, str]]) -> Turns:
    """Tidy turns, user first: neighbours of one role become one turn, unwanted ones end it.

    A conversation that the assistant begins loses that turn. What follows an address or a claim
    to be another company's model would answer to nothing, so the conversation ends there.
    """
    out: list[tuple[str, str]] = []
    for role, text in turns:
        text = tidy(_EMOTICON.sub("", text)).replace("\n\n", " ")
        if not text:
            continue
        if not is_plain(text):
            break
        if out and out[-1][0] == role:
            glue = " " if out[-1][1][-1] in ".!?,:;" else ". "
            out[-1] = (role, out[-1][1] + glue + text)
        elif out or role == "user":
            out.append((role, text))
    if out and out[-1][0] == "user":
        out.pop()
    return tuple(out)


def _casual(text: str) -> str:
    """A chat message -> with a capital, "I" and an end."""
    text = re.sub(r"\b(i)(?=\b|')", "I", text.strip())
    text = re.sub(r"\b([Ii])m\b", "I'm", text)
    text = re.sub(r"\b([Dd]on|[Cc]an|[Dd]idn|[Ii]sn|[Dd]oesn|[Ww]asn|[Ww]on)t\b", r"\1't", text)
    text = re.sub(r"\b([Tt]hat|[Ww]hat|[Ii]t)s (?=a |the |so |really |not |good |cool |fun )",
                  r"\1's ", text)  # fmt: skip
    text = re.sub(r"\b(\w*?)((\w)\3{2,})", lambda m: m[1] + m[3] * 2, text)
    if text and text[0].islower():
        text = text[0].upper() + text[1:]
    return text + "." if text and text[-1].isalnum() else text


_PLATFORM = re.compile(
    r"\b(points?|raffle|chit ?chat|chat ?bot|ipad|prompts?|byu|provo|leaderboard|dialogue|"
    r"matched|app|competition|notification|mturk|hit)\b",
    re.IGNORECASE,
)


def conversations(path: Path) -> Iterator[tuple[str, Turns]]:
    """dialogues.jsonl -> (source, turns), each source cleaned in its own way and capped."""
    caps = {
        "schema-guided-dialogue": SCHEMA_GUIDED_CHARACTERS,
        "taskmaster-4": TASKMASTER_CHARACTERS,
    }
    for record in _records(path):
        source = record["source"]
        raw = [(turn["role"], turn["text"]) for turn in record["turns"]]
        if source == "byu-chitchat":
            cut = next((i for i, t in enumerate(raw) if len(t[1]) > 260), len(raw))
            raw = [(role, _casual(text)) for role, text in raw[:cut]]
            end = next((i for i, t in enumerate(raw) if _PLATFORM.search(t[1])), len(raw))
            raw = raw[:end]
        elif source in ("topical-chat", "chatterbot-corpus"):
            raw = [(role, _casual(text)) for role, text in raw]
        turns = alternate(raw)
        spoken = sum(len(text) for _, text in turns)
        if source == "gpteacher-roleplay":
            words = [word for _, text in turns for word in text.split()]
            if not words or spoken > 500 or spoken / len(words) > 5.6:
                continue
        if source == "byu-chitchat" and len(turns) < 4:
            continue
        if source in caps:
            if spoken > caps[source]:
                continue
            caps[source] -= spoken
        if len(turns) >= 2:
            yield source, turns


def instructions(path: Path) -> Iterator[tuple[str, Turns]]:
    for record in _records(path):
        turns = alternate((turn["role"], turn["text"]) for turn in record["turns"])
        if turns:
            yield record["source"], turns


def trivia(path: Path) -> Iterator[tuple[str, Turns]]:
    """The questions of the shortest words."""
    found: list[tuple[float, Turns]] = []
    for record in _records(path):
        turns = alternate((turn["role"], turn["text"]) for turn in record["turns"])
        if len(turns) == 2 and len(turns[0][1]) <= 80 and len(turns[1][1]) <= 30:
            question, answer = turns[0][1], turns[1][1]
            if question.endswith("?") and (question + answer).isascii():
                answer = answer[0].upper() + answer[1:] + ("." if answer[-1].isalnum() else "")
                score = len(question) / len(question.split())
                found.append((score, (("user", question), ("assistant", answer))))
    for _, turns in sorted(found)[:TRIVIA_QUESTIONS]:
        yield "trivia", turns


# ---------------------------------------------------------------------------------------------
# Documents


@dataclass(frozen=True, slots=True)
class Document:
    """source: where it is from. body: prose, or turns. held_out: for validation only."""

    source: str
    body: str | Turns
    held_out: bool = False

    @property
    def size(self) -> int:
        """Characters of text."""
        if isinstance(self.body, str):
            return len(self.body)
        return sum(len(text) for _, text in self.body)

    @property
    def text(self) -> str:
        """All of it, whoever says it."""
        return self.body if isinstance(self.body, str) else "\n".join(t for _, t in self.body)

    def line(self) -> str:
        record: dict[str, Any] = {"source": self.source}
        if isinstance(self.body, str):
            record["text"] = self.body
        else:
            record["turns"] = [{"role": role, "text": text} for role, text in self.body]
        return json.dumps(record, ensure_ascii=False) + "\n"


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    return (row.fields for row in rows(path))


def _is_held_out(key: str, one_in: int) -> bool:
    """By the text itself, so that the same text always falls on the same side."""
    return _fingerprint(key) % one_in == 0


def _key(turns: Turns) -> str:
    """What tells conversations apart: how each begins, on both sides."""
    return " / ".join(text for _, text in turns[:4])


def read_documents(data: Path, whole_books: bool = True) -> Iterator[Document]:
    """Every document once, in the order of the sources, none twice. whole_books: those too."""
    seen: set[int] = set()

    def is_new(key: str) -> bool:
        mark = _fingerprint(key)
        new = mark not in seen
        seen.add(mark)
        return new

    stories: list[tuple[str, Callable[[Path], Iterator[str]], str]] = [
        ("tinystories", tinystories, "tinystories_lowercase.txt.xz"),
        ("storybooks", storybooks, "storybooks.jsonl.xz"),
        ("wikipedia", wikipedia, "wikipedia_leads.jsonl.xz"),
    ]
    for source, read, name in stories:
        for text in read(data / name):
            if is_new(text[:200]):  # different editions of a story begin alike
                yield Document(source, text, _is_held_out(text[:200], HELD_OUT[source]))
    volumes = books(data / "books_children.jsonl.xz", data / "books_plain_fiction.jsonl.xz")
    for i, (_, pieces) in enumerate(volumes if whole_books else ()):
        held_out = i % HELD_OUT["books"] == HELD_OUT["books"] // 2
        for piece in pieces:
            yield Document("books", piece, held_out)
    for read_turns, name in (
        (conversations, "dialogues.jsonl.xz"),
        (instructions, "simple_instructions.jsonl.xz"),
        (trivia, "trivia_qa.jsonl.xz"),
    ):
        for source, turns in read_turns(data / name):
            if is_new(_key(turns)):
                yield Document(source, turns, _is_held_out(_key(turns), HELD_OUT_CONVERSATIONS))


# ---------------------------------------------------------------------------------------------
# The files


def write(path: Path, documents: Iterable[Document]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(document.line() for document in documents)


def build(
    data: Path, out: Path, vocabulary: Path | None = None
) -> tuple[Counter[str], Counter[str]]:
    """Writes all files; -> characters of pretrain.train and of chat.train, by source.

    vocabulary: a folder with a tokenizer, whose tokens the chatbot is to know; then only the chat
    files are written, for it was made from the others.
    """
    rng = random.Random(SEED)
    tests = Overlap(test_texts(data / "eval"))
    every = list(read_documents(data, whole_books=vocabulary is None))
    documents = [document for document in every if document.text not in tests]
    print(f"left out for what they share with a test: {len(every) - len(documents)} documents")
    tokenizer = (
        None
        if vocabulary is None
        else load_tokenizer(
            inner if (inner := vocabulary / "tokenizer").is_dir() else vocabulary  # of a corpus
        )
    )
    known = [finetune.Text(d.source, d.body, d.held_out) for d in documents]
    made = [Document(*each) for each in finetune.documents(known, tokenizer)]
    train = [document for document in documents if not document.held_out]
    valid = [document for document in documents if document.held_out]
    pretrain = [d for d in train for _ in range(REPEATS.get(d.source, 1))]
    pretrain += [Document("clapper", CLAPPER)] * CLAPPER_REPEATS
    pretrain += [d for d in made if d.source == "questions"][::4]
    chat_train = [document for document in made if not document.held_out]
    chat_train += [Document("clapper", CLAPPER)] * CLAPPER_REPEATS  # lest it be forgotten
    chat_valid = [document for document in made if document.held_out]
    for group in (pretrain, valid, chat_train, chat_valid):
        rng.shuffle(group)
    learned = {_whole(document) for document in (*pretrain, *chat_train)}
    chat_valid = [document for document in chat_valid if _whole(document) not in learned]
    stories = [d for d in valid if d.source in ("tinystories", "storybooks")]
    dialogues = [d for d in valid if not isinstance(d.body, str)]
    out.mkdir(parents=True, exist_ok=True)
    write(out / "chat.train.jsonl", chat_train)
    write(out / "chat.valid.jsonl", chat_valid)
    if vocabulary is not None:
        return Counter(), _sizes(chat_train)
    write(out / "pretrain.train.jsonl", pretrain)
    write(out / "chat.plain.jsonl", _kept_in_chat(pretrain))
    write(out / "pretrain.valid.jsonl", valid)
    write(out / "valid.stories.jsonl", stories)
    write(out / "valid.dialogues.jsonl", dialogues)
    print(f"held out: {len(stories)} stories, {len(dialogues)} conversations")
    return _sizes(pretrain), _sizes(chat_train)


def _kept_in_chat(documents: Iterable[Document]) -> Iterator[Document]:
    met: Counter[str] = Counter()
    for document in documents:
        met[document.source] += 1
        if (each := KEPT_IN_CHAT.get(document.source)) and met[document.source] % each == 0:
            yield document


def _whole(document: Document) -> int:
    if isinstance(document.body, str):
        return _fingerprint(document.body)
    return _fingerprint(" / ".join(text for _, text in document.body))


def _sizes(documents: Iterable[Document]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for document in documents:
        sizes[document.source] += document.size
    return sizes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, help="the folder of the sources (*.xz)")
    parser.add_argument("out", type=Path, help="where to write; made if need be")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="a folder with one: only the chat files, which name its tokens",
    )
    wanted = parser.parse_args(arguments)
    try:
        sizes = build(wanted.data, wanted.out, wanted.tokenizer)
    except OSError as error:
        print(f"corpus.py: {error.strerror}: {error.filename}", file=sys.stderr)
        return 2
    except PellucidError as error:
        print(f"corpus.py: {error}", file=sys.stderr)
        return 2
    for name, by_source in zip(("pretrain.train", "chat.train"), sizes, strict=True):
        for source, characters in by_source.most_common():
            print(f"{name:15} {source:28} {characters:12,} characters")
        print(f"{name:15} {'in all':28} {by_source.total():12,}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
