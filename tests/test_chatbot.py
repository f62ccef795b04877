"""The embedded chatbot: what is shipped, what its card says, and how it answers."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

import pellucid
from pellucid import embedded
from pellucid.gpt import DEFAULT
from support.program import run

ROOT = Path(__file__).parents[1]
CHATBOT = ROOT / "recipes" / "chatbot"


@pytest.fixture(scope="module")
def report():
    sys.path.insert(0, str(CHATBOT))
    yield importlib.import_module("report")
    sys.path.remove(str(CHATBOT))
    for name in ("report", "answers"):
        del sys.modules[name]


def test_what_is_shipped(chat):
    assert DEFAULT == "chat"
    assert pellucid.load().name == chat.name == "chat"
    assert sum(path.stat().st_size for path in (embedded.FOLDER / "chat").iterdir()) <= 40e6
    assert chat.hparams.n_ctx >= 512
    assert chat.template == "roles"


def test_its_card_says_what_it_is_and_how_good(chat):
    card = chat.card
    assert {"about", "command", "data", "licence", "limits", "sampling", "training"} <= set(card)
    assert all(source["licence"] for source in card["data"].values())
    assert len(card["data"]) > 10
    for step in ("pretrain", "chat"):
        losses = list(card["training"][step]["validation_loss"].values())
        assert losses[-1] < losses[0]
    for stage, kinds in (("pretrained", ("stories", "dialogues")), ("finetuned", ("chat",))):
        for kind in kinds:
            found = card["evaluation"][stage][kind]
            ours, *others = (x["bits_per_byte"] for x in found.values() if isinstance(x, dict))
            assert others
            assert ours < min(others), (stage, kind)
    shown = run("models", "chat")
    assert "limits: " in shown


def test_the_talks_example(chat):
    assert chat.generate("The power clapper", greedy=True).text.startswith(" went straight to jail")


@pytest.mark.parametrize(
    ("step", "wrong"), [(5, 1), pytest.param(1, 3, marks=pytest.mark.slow)], ids=["40", "200"]
)
def test_it_answers_openings(chat, report, step, wrong):
    """Here none is empty, looping or broken; where a machine rounds otherwise, a few may be."""
    messages = report.lines("openings.txt")
    assert len(messages) == 200
    assert len(report.openings(chat, messages[::step])) <= wrong


@pytest.mark.parametrize(
    ("text", "reason", "wrong"),
    [
        ("Hello! How are you?", "stop token", None),
        ("The cat and the dog and the cat and the dog sat.", "stop token", None),
        (" ...", "stop token", "empty"),
        ("Hello", "length", "broken"),
        ("Hel\ufffdlo", "stop token", "broken"),
        ("Hello <|user|> you", "stop token", "broken"),
        ("It was big. It was big. Yes.", "stop token", "looping"),
        ("he ran to it " * 3, "stop token", "looping"),
    ],
)
def test_what_counts_as_wrong(report, text, reason, wrong):
    assert report.wrong_with(text, reason) == wrong


def rendered(markdown: str) -> list[tuple[str, str]]:
    """(bold, plain) texts of each list item, as another program reads the page."""
    from markdown_it import MarkdownIt

    items: list[tuple[str, str]] = []
    for token in MarkdownIt("commonmark").parse(markdown):
        if token.type == "list_item_open":
            items.append(("", ""))
        if token.type != "inline" or token.level < 3:
            continue
        strong = False
        for part in token.children:
            strong = {"strong_open": True, "strong_close": False}.get(part.type, strong)
            bold, plain = items[-1]
            text = "\n" if part.type == "softbreak" else part.content
            items[-1] = (bold + text, plain) if strong else (bold, plain + text)
    return items


ODD = ("a *b* _c_ `d` [e](f) <g> # h", "- one\n- two", "1. one", "\\ & ~ |", ", and", "a__b", "= x")


def test_samples_keep_every_letter(report):
    page = report.page({"top_k": 1}, [(odd, odd) for odd in ODD], [[(odd, odd) for odd in ODD]])
    items = [item for item in rendered(page) if any(item)]
    assert items[: len(ODD)] == [(odd, odd) for odd in ODD]
    assert items[len(ODD) :: 2] == [(odd, "") for odd in ODD]
    assert items[len(ODD) + 1 :: 2] == [("", odd) for odd in ODD]


def test_marks_stand_beside_the_replies_that_they_were_given_to(
    report, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    replies = [(odd, odd) for odd in ODD]
    monkeypatch.setattr(report, "MARKS", tmp_path / "marks.txt")
    assert report.marks(replies) is None
    unmarked = report.page_of_hundred(replies, None)
    assert f"Not marked yet ({report.digest(replies)})" in unmarked
    given = [*("+" for _ in ODD[1:]), "- dull"]
    report.MARKS.write_text("\n".join([report.digest(replies), *given]))
    assert report.marks(replies) == given
    assert report.marks([*replies[:-1], ("other", "reply")]) is None
    page = report.page_of_hundred(replies, given)
    assert f"{len(ODD) - 1} of {len(ODD)} make sense" in page
    items = [item for item in rendered(page) if any(item)]
    assert [bold for bold, _ in items] == list(ODD)
    assert items[-1][1].endswith("- dull")


def test_a_hundred_first_messages(report):
    messages = report.lines("first_hundred.txt")
    assert len(messages) == len({message.lower() for message in messages}) == 100
    assert not {message.lower() for message in messages} & {
        opening.lower() for opening in report.lines("openings.txt")
    }


def test_the_samples_page_reads_as_it_is_meant(report):
    items = rendered((ROOT / "docs" / "chatbot_samples.md").read_text(encoding="utf-8"))
    conversations = [json.loads(line) for line in report.lines("conversations.jsonl")]
    assert len(conversations) == 20
    messages = [text for texts in conversations for text in texts]
    assert [bold for bold, _ in items[:50]] == report.lines("prompts.txt")
    assert all(plain for _, plain in items[:50])
    assert items[50::2] == [(message, "") for message in messages]
    assert all(plain and not bold for bold, plain in items[51::2])
