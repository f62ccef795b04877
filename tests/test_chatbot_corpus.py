"""recipes/chatbot: the embedded chatbot's corpus, from a small folder made up here."""

from __future__ import annotations

import importlib
import json
import lzma
import random
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pellucid.checkpoint import load_tokenizer
from pellucid.embedded import FOLDER
from support.skips import SHARED, only_with

SCRIPTS = Path(__file__).parents[1] / "recipes" / "chatbot"
FILES = (
    "pretrain.train",
    "pretrain.valid",
    "chat.train",
    "chat.valid",
    "valid.stories",
    "valid.dialogues",
)
ANIMALS = [
    "cat",
    "dog",
    "fox",
    "owl",
    "bear",
    "duck",
    "frog",
    "goat",
    "hen",
    "lion",
    "mouse",
    "pig",
]
PLACES = ["garden", "forest", "river", "kitchen", "barn", "hill", "pond", "meadow", "cave", "tower"]


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module("corpus")
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture
def smalltalk(corpus: ModuleType) -> Any:
    return corpus.finetune.smalltalk


def tale(animal: str, place: str) -> str:
    return (
        f"there was a little {animal} named tim in the {place}. tim the {animal} was sad and "
        f'said, "i want a friend in my {place}, mom!" his mom smiled at the {animal}.\n\n'
        f"one day they went to see a big ball in the {place}. the {animal} was happy, and i am "
        f"glad. mom was glad, too. every {animal} in the {place} came to play until the sun went "
        "down, and all were friends."
    )


def dialogue(source: str, n: int, length: int = 6) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "source": source,
        "turns": [
            {"role": roles[i % 2], "text": f"Hello number {n} from {source}, line {i}."}
            for i in range(length)
        ],
    }


def write(folder: Path, name: str, records: list[dict[str, Any]]) -> None:
    with lzma.open(folder / f"{name}.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    tales = [f"once upon a time, {tale(a, p)}" for a in ANIMALS for p in PLACES]
    with lzma.open(data / "tinystories_lowercase.txt.xz", "wt", encoding="utf-8") as file:
        file.write("\n".join([*tales, *tales[:7]]))  # some twice
    texts = [tale(a, p).replace("there was", f"In {p} lived") for a in ANIMALS for p in PLACES]
    write(data, "storybooks", [{"text": "ACT 1\n\nWritten by A. B.\n\n" + t} for t in texts])
    paragraph = '"Come," said the {} in chapter {}, "we have a long way to go before it is dark."'
    for_books = [
        {
            "author": f"Writer {n // 4}",
            "title": f"Book {n}",
            "words_per_sentence": 10.0 + n / 10,
            "text": "PREFACE\n\nMy dear boys, this volume is new.\n\n"
            + "\n\n".join(
                paragraph.format(f"{a} of book {n}", i) for i in range(9) for a in ANIMALS
            ),
        }
        for n in range(12)
    ]
    write(data, "books_children", for_books)
    leads = [
        {
            "title": "",
            "text": f"A {a} is a small animal that lives in the {p}. It eats grass (and more) and "
            f"sleeps all day long in the {p}.",
        }
        for a in ANIMALS
        for p in PLACES
    ]
    write(data, "wikipedia_leads", leads)
    sources = (
        "synthetic-persona-chat",
        "byu-chitchat",
        "topical-chat",
        "chatterbot-corpus",
        "schema-guided-dialogue",
        "taskmaster-4",
    )
    talks = [dialogue(source, n) for source in sources for n in range(60)]
    talks[0]["turns"].insert(0, {"role": "assistant", "text": "I come first."})
    talks[1]["turns"].insert(2, {"role": "assistant", "text": ""})
    talks[2]["turns"].insert(2, {"role": "assistant", "text": "And more"})
    talks[3]["turns"][4]["text"] = "Write to me at a.b@example.com now."
    talks[4]["turns"][3]["text"] = "As an AI language model I cannot."
    talks[5]["turns"][1]["text"] = "“It’s fine” — he said…"  # curly
    write(data, "dialogues", [*talks, *talks[:5]])
    write(
        data,
        "simple_instructions",
        [dialogue("handwritten", n, 2) for n in range(200)]
        + [dialogue("smollm2-135m-instruct+facts", n, 2) for n in range(50)],
    )
    write(
        data,
        "trivia_qa",
        [
            {
                "turns": [
                    {"role": "user", "text": f"Who won the {n}th cup?"},
                    {"role": "assistant", "text": "ann"},
                ]
            }
            for n in range(40)
        ],
    )
    return data


@pytest.fixture(scope="module")
def small(corpus: ModuleType) -> Any:
    """Everything in small numbers, so that the caps and both sides of the split are seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "HELD_OUT", dict.fromkeys(corpus.HELD_OUT, 6))
        patch.setattr(corpus, "HELD_OUT_CONVERSATIONS", 6)
        for name, number in {
            "SMALL_TALK": 100, "FIRST_WORDS": 300, "CONVERSATIONS": 50, "QUESTION_REPEATS": 2,
        }.items():  # fmt: skip
            patch.setattr(corpus.finetune, name, number)
        patch.setattr(corpus, "AUTHOR_CHARACTERS", 20_000)
        patch.setattr(corpus, "WIKIPEDIA_CHARACTERS", 5_000)
        patch.setattr(corpus, "TRIVIA_QUESTIONS", 20)
        patch.setattr(corpus, "SCHEMA_GUIDED_CHARACTERS", 3_000)
        patch.setattr(corpus, "TASKMASTER_CHARACTERS", 1_000)
        yield corpus


@pytest.fixture(scope="module")
def built(small: ModuleType, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    small.build(folder, out)
    return out


def read(out: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text("utf-8").splitlines()]


def text_of(document: dict[str, Any]) -> str:
    return document.get("text") or " / ".join(turn["text"] for turn in document["turns"])


def bare(document: dict[str, Any]) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text_of(document).lower()).strip()


def characters(documents: list[dict[str, Any]]) -> Counter[str]:
    """Of text, by source, each document once."""
    sizes: Counter[str] = Counter()
    for source, text in {(d["source"], text_of(d)) for d in documents}:
        sizes[source] += len(text)
    return sizes


def test_the_same_sources_give_the_same_files(
    small: ModuleType, folder: Path, built: Path, tmp_path: Path
) -> None:
    small.build(folder, tmp_path)
    for name in FILES:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (built / f"{name}.jsonl").read_bytes()


def test_nothing_held_out_is_learned_from(built: Path) -> None:
    learned = {bare(d) for name in FILES if name.endswith("train") for d in read(built, name)}
    for name in FILES:
        if not name.endswith("train"):
            held_out = {bare(d) for d in read(built, name)}
            assert held_out, name
            assert not held_out & learned, name


def test_a_held_out_story_is_not_told_in_a_conversation_either(built: Path) -> None:
    stories = [d["text"].split("\n\n")[0] for d in read(built, "valid.stories")]
    assert len(stories) > 5
    told = "\n".join(text_of(d) for d in read(built, "chat.train"))
    assert not [story for story in stories if story in told]


def test_whole_books_are_held_out(built: Path) -> None:
    def numbers(name: str) -> set[str]:
        books = [d["text"] for d in read(built, name) if d["source"] == "books"]
        return {n for text in books for n in re.findall(r"of book (\d+)", text)}

    train, valid = numbers("pretrain.train"), numbers("pretrain.valid")
    assert train
    assert valid
    assert not train & valid


def test_repeats_are_written_out(corpus: ModuleType, built: Path) -> None:
    times = Counter((d["source"], text_of(d)) for d in read(built, "pretrain.train"))
    for (source, text), n in times.items():
        if source not in ("questions", "clapper"):
            assert n == corpus.REPEATS.get(source, 1), (source, text)
    assert times["clapper", corpus.CLAPPER] == corpus.CLAPPER_REPEATS


def test_sources_keep_to_their_caps(small: ModuleType, built: Path) -> None:
    documents = read(built, "pretrain.train") + read(built, "pretrain.valid")
    sizes = characters(documents)
    # each cap bites: a little less than it is used, never more (separators of turns aside)
    for source, cap in {
        "wikipedia": small.WIKIPEDIA_CHARACTERS,
        "schema-guided-dialogue": small.SCHEMA_GUIDED_CHARACTERS,
        "taskmaster-4": small.TASKMASTER_CHARACTERS,
    }.items():
        assert 0.5 * cap < sizes[source] < 1.1 * cap, source
    assert sum(d["source"] == "trivia" for d in documents) == small.TRIVIA_QUESTIONS
    assert "synthetic-persona-chat" in sizes
    of_author: Counter[int] = Counter()
    for text in {d["text"] for d in documents if d["source"] == "books"}:
        of_author[int(re.findall(r"of book (\d+)", text)[0]) // 4] += len(text)
    assert len(of_author) > 1
    assert max(of_author.values()) < 1.1 * small.AUTHOR_CHARACTERS


@pytest.mark.parametrize("name", FILES)
def test_conversations_alternate_and_begin_with_the_user(built: Path, name: str) -> None:
    for document in read(built, name):
        if "turns" in document:
            roles = [turn["role"] for turn in document["turns"]]
            assert roles == ["user", "assistant"] * (len(roles) // 2)
            assert roles
            assert all(turn["text"].strip() for turn in document["turns"])


@pytest.mark.parametrize("name", FILES)
def test_text_is_tidy(built: Path, name: str) -> None:
    for document in read(built, name):
        text = text_of(document)
        assert not re.search(r"[“”‘’–—…\t]|  |\n\n\n|(?<!\n)\n(?!\n)|https?:|www\.|\S@\S", text), (
            text
        )
        assert sum(not c.isascii() for c in text) * 100 <= len(text)
        assert "language model I cannot" not in text
        assert "ACT 1" not in text
        assert "Written by" not in text
        assert "PREFACE" not in text
        assert "this volume" not in text


def test_odd_turns(corpus: ModuleType) -> None:
    said = [("assistant", "Hi."), ("user", "a"), ("user", "b."), ("user", " "), ("assistant", "c")]
    assert corpus.alternate(said) == (("user", "a. b."), ("assistant", "c"))
    cut = [("user", "a"), ("assistant", "b"), ("user", "mail x@y.org"), ("assistant", "d")]
    assert corpus.alternate(cut) == (("user", "a"), ("assistant", "b"))
    assert corpus.alternate([("assistant", "alone")]) == ()


@pytest.mark.parametrize(
    ("lower", "restored"),
    [
        ("one day, tim and i ran. it was fun!", "One day, Tim and I ran. It was fun!"),
        ('he said, "i\'m here. are you?"', 'He said, "I\'m here. Are you?"'),
        ("her mom and dad saw mom.", "Her mom and dad saw Mom."),
        ("a dog named zorro ran. then zorro sat.", "A dog named Zorro ran. Then Zorro sat."),
        ("a cat named spot saw a spot.", "A cat named Spot saw a spot."),
        ('"why?" he asked. "go!" lily said.', '"Why?" he asked. "Go!" Lily said.'),
        ("end.\n\nthe end.", "End.\n\nThe end."),
    ],
)
def test_capitals_are_restored(corpus: ModuleType, lower: str, restored: str) -> None:
    assert corpus.restore_capitals(lower) == restored


def test_stories_are_split_where_one_begins(corpus: ModuleType, folder: Path) -> None:
    stories = list(corpus.tinystories(folder / "tinystories_lowercase.txt.xz"))
    assert len(stories) == len(ANIMALS) * len(PLACES) + 7
    assert all(s.startswith("Once upon a time") and s.count("Once upon") == 1 for s in stories)


def test_peoples_greetings_are_left_out(corpus: ModuleType) -> None:
    turns = tuple(
        turn
        for said in ("Hi!", "I'm John.", "I sell cars.", "And what do you do?", "It rains.", "Bye.")
        for turn in (("user", said), ("assistant", f"I heard: {said}"))
    )
    (kept,) = corpus.finetune.peoples("synthetic-persona-chat", turns)
    assert [text for role, text in kept if role == "user"] == ["It rains.", "Bye."]
    (whole,) = corpus.finetune.peoples("handwritten", turns)
    assert whole == turns


def test_no_first_message_of_the_page_is_learned(corpus: ModuleType, built: Path) -> None:
    bare_words = corpus.finetune.bare
    kept = {bare_words(line) for line in corpus.finetune.first_hundred()}
    assert len(kept) == 100
    for document in read(built, "chat.train"):
        said = {bare_words(turn["text"]) for turn in document.get("turns", ())}
        assert not kept & said, document


def test_a_tokenizer_adds_how_words_are_cut(
    small: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small.finetune, "FIRST_WORDS", 1_500)
    small.build(folder, tmp_path, FOLDER / "chat")
    assert {path.name for path in tmp_path.iterdir()} == {"chat.train.jsonl", "chat.valid.jsonl"}
    answers = [
        turn["text"]
        for document in read(tmp_path, "chat.train")
        for turn in document.get("turns", ())
        if re.search(r"is cut into \w+ tokens: ", turn["text"])
    ]
    tokenizer = load_tokenizer("chat")
    checked = 0
    for answer in answers:
        if found := re.fullmatch(r"For me ([a-z]+) is cut into \w+ tokens: (.*)\.", answer):
            pieces = [tokenizer.decode([i]).strip() for i in tokenizer.encode(f" {found[1]}")]
            assert found[2].replace(" and ", ", ").split(", ") == pieces
            assert "".join(pieces) == found[1]
            checked += 1
    assert checked > 5


def test_the_user_is_remembered(smalltalk: Any) -> None:
    """Whoever asks "What is my name?" has said it before, and is told that name."""
    asked = 0
    for seed in range(400):
        talk = smalltalk.conversation(random.Random(seed))
        for i, (said, answer) in enumerate(talk):
            told = re.search(r"(?:Your name is|You are|name is|you are) ([A-Z][a-z]+)[.!]$", answer)
            if told and re.search(r"my name|am i called|who am i", said, re.IGNORECASE):
                asked += 1
                before = " ".join(earlier for earlier, _ in talk[:i]).lower()
                assert told[1].lower() in before, talk
    assert asked > 30


def test_sums_are_right(smalltalk: Any) -> None:
    right = 0
    for fact in smalltalk.FACTS:
        for seed in range(500):
            _, answer = fact(smalltalk.Talk(random.Random(seed)))
            if found := re.match(r"(\d+) (plus|minus) (\d+) is (\d+)\.", answer):
                a, b, c = (int(found[i]) for i in (1, 3, 4))
                assert c == (a + b if found[2] == "plus" else a - b)
                assert 0 <= c <= 20
                right += 1
    assert right > 50


def test_made_talk_has_nothing_unfilled(smalltalk: Any) -> None:
    for seed in range(300):
        for said, answer in smalltalk.conversation(random.Random(seed)):
            assert said
            assert answer
            assert not re.search(r"[{}]", said + answer)


def test_a_story_is_asked_for_by_what_it_is_about(smalltalk: Any) -> None:
    text = (
        "Once there was a big dog named Rex. Rex saw a ball. The dog ran to the ball. Rex is a dog."
    )
    assert smalltalk.subjects(text)[0] == "a dog"
    assert "a big dog named Rex" in smalltalk.subjects(text)


def test_questions_say_what_gpt2_is(corpus: ModuleType, smalltalk: Any) -> None:
    entries = corpus.finetune.questions(8192)
    assert 60 <= len(entries) <= 130
    assert not [answer for entry in entries for answer in entry["answers"] if "{" in answer]
    answers = {ask: e["answers"][0] for e in entries for ask in smalltalk.phrasings(e)}
    for name, value in {
        "n_vocab": 50257,
        "n_ctx": 1024,
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
    }.items():
        assert f" {value} " in answers[f"What is {name}?"]
    assert answers["The power clapper"] == "The power clapper went straight to jail."
    assert "Pellucid" in answers["What is your name?"]


def test_a_wrong_folder_is_one_line(
    corpus: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert corpus.main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nowhere" in error
    assert "Traceback" not in error
    with pytest.raises(SystemExit) as stopped:
        corpus.main([])
    assert stopped.value.code == 2


@pytest.mark.slow
@only_with("the shared texts")
def test_the_real_mixture(corpus: ModuleType, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.delitem(sys.modules, "corpus")
    whole = importlib.import_module("corpus")  # its own numbers, not those of `small`
    assert whole is not corpus
    pretrain, chat = whole.build(SHARED, tmp_path)
    assert 60e6 < pretrain.total() < 110e6
    assert 35e6 < chat.total() < 60e6
    assert len(read(tmp_path, "valid.stories")) >= 100
    assert len(read(tmp_path, "valid.dialogues")) >= 150
