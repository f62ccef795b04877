"""The session in a terminal: its commands, how a reply is written, what the keyboard does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pellucid.errors import InputError
from pellucid.session.commands import COMMANDS
from pellucid.session.writer import TAB, Writer
from pellucid.visible import harmless
from support.program import ended, terminal
from support.screen import screen, text_of
from support.skips import only_with
from support.talking import session

HOSTILE = "\x1b[2J\x07\x9b\u202e"


def written(pieces, width):
    console = screen(width)
    writer = Writer(console)
    for piece in pieces:
        writer.write(piece)
    writer.end()
    return text_of(console)


# Writing


def test_words_are_not_broken():
    text = "Once upon a time there was a little girl named Lucy"
    assert written(text, 16).splitlines() == [
        "Once upon a time",
        "there was a",
        "little girl",
        "named Lucy",
    ]
    assert written(["a  b\n\n  c ", "d", "ef"], 16) == "a  b\n\n  c def\n"
    assert written(["incomprehensibility is"], 5).splitlines() == [
        "incom",
        "prehe",
        "nsibi",
        "lity",
        "is",
    ]
    assert written(["a 中文中文"], 5).splitlines() == ["a 中", "文中", "文"]


@given(
    text=st.text(st.sampled_from([*"abc \n\t", "中", "🎉", *HOSTILE])),
    cuts=st.lists(st.integers(0, 50)),
    width=st.integers(2, 20),
)
def test_every_word_is_there_and_no_line_too_wide(text, cuts, width):
    at = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[low:high] for low, high in pairwise(at)]
    shown = written(pieces, width)
    assert shown == written([text], width)
    assert all(cell_len(line) <= width for line in shown.split("\n"))
    expected = harmless(text).replace("\t", TAB)
    assert "".join(shown.split()) == "".join(expected.split())
    lines = [line.split() for line in shown.split("\n")]
    for word in expected.split():
        if cell_len(word) == len(word) <= width - 1:
            assert any(word in line for line in lines)


def test_a_line_that_fits_is_left_as_it_is():
    text = " a   b c\n\n d\n"
    assert written([text], 40) == text + "\n"


# Commands


def test_help_is_the_table(talk):
    chat, printed = session(talk)
    chat.handle("/help")
    lines = printed().splitlines()
    assert len(COMMANDS) == 10
    for name, command in COMMANDS.items():
        usage = f"{name} {command.argument or ''}".strip()
        assert any(line.split("  ")[1] == usage and command.summary in line for line in lines)
    assert "type two" in lines[-1]


@pytest.mark.parametrize("text", ["/quit", "/quit now", "/exit", " /quit "])
def test_quit(talk, text):
    chat, _ = session(talk)
    with pytest.raises(EOFError):
        chat.handle(text)


def test_what_follows_a_command_that_takes_nothing_is_not_passed_over(talk):
    chat, printed = session(talk, greedy=True)
    chat.handle("The power clapper")
    for name in (name for name, command in COMMANDS.items() if command.argument is None):
        printed()
        chat.handle(f"{name} 2")
        assert printed() == f"{name} stands alone; to say this to the model, type /{name} 2\n"
    assert len(chat.conversation.messages) == 2
    chat.handle("/toknes")
    assert "did you mean /tokens?" in printed()


def test_walk_and_why_see_the_very_ids(chat, monkeypatch):
    from pellucid import inspect

    walked = []
    talking, _ = session(
        chat, walk=lambda gpt, ids, screen, *, max_tokens: walked.append(ids), max_tokens=2
    )
    talking.handle("Hello")
    talking.handle("/walk")
    asked = []
    monkeypatch.setattr(inspect, "why", lambda gpt, ids, *_, **__: asked.append(ids) or "why")
    talking.handle("/why")
    assert walked == asked == [talking.conversation.last.prompt]
    assert chat.tokenizer.special_tokens["<|user|>"] in walked[0]


def test_the_walk_takes_ids(chat):
    from pellucid.cli.walk import walk

    console = screen(200)
    ids = [chat.tokenizer.special_tokens["<|user|>"], *chat.encode("Hello")]
    walk(chat, ids, console, max_tokens=1)
    text = text_of(console)
    assert f"<|user|>  {ids[0]}" in text
    assert f"{len(ids) + 1} of 512 tokens" in text


def test_record_says_at_once_what_cannot_be_written(talk, tmp_path):
    chat, _ = session(talk, greedy=True)
    for path in ("/no/such/folder/x", str(tmp_path)):
        with pytest.raises(InputError):
            chat.handle(f"/record {path}")
    assert chat.conversation.record is None
    path = tmp_path / "with a space"
    chat.handle(f"/record {path}")
    assert not path.exists()
    chat.handle("The power clapper")
    assert path.is_file()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_full_window_is_said_once_and_again_after_it_had_room(chat):
    talking, printed = session(chat, max_tokens=1, n_ctx=64)
    told = []
    for _ in range(12):
        talking.handle("one two three")
        told.append("window of 64 tokens is full, 1 of them kept" in printed())
        assert ("full" in (talking.conversation.notice or "")) == (talking.conversation.lost > 0)
    assert told.count(True) == 1
    assert talking.conversation.lost > 1
    while talking.conversation.messages:
        talking.handle("/undo")
    talking.handle("one two three")
    assert "full" not in printed()
    for _ in range(12):
        talking.handle("one two three")
    assert printed().count("tokens is full") == 1


def test_retry_says_what_it_does(talk):
    chat, printed = session(talk, greedy=True)
    chat.handle("The power clapper")
    printed()
    chat.handle("/retry")
    first = printed().splitlines()[0]
    assert first.startswith("Another reply to: The power clapper")


def test_nothing_of_a_person_or_a_card_is_obeyed(talk):
    from pellucid.gpt import GPT

    card = {"try": [HOSTILE], "sampling": {}}
    gpt = GPT(talk.model, talk.tokenizer, card=card, name=HOSTILE)
    chat, printed = session(gpt, greedy=True)
    from pellucid.session.greeting import greet

    greet(chat.exchange)
    for text in (f"a{HOSTILE}", f"/{HOSTILE}", f"/undo {HOSTILE}", "/undo", "/help"):
        chat.handle(text)
    text = printed()
    assert "␛" in text
    assert harmless(text) == text


# The keyboard


@only_with("POSIX", "pexpect")
def test_what_is_typed_while_a_reply_comes_is_neither_echoed_nor_taken(tmp_path):
    # One token in five hundredths of a second: time enough to type.
    code = (
        "import time\n"
        "from pellucid.sequence import Sequence\n"
        "whole = Sequence.take\n"
        "def take(self, logits): time.sleep(0.05); return whole(self, logits)\n"
        "Sequence.take = take\n"
        "from pellucid.cli import main\n"
        "main()"
    )
    arguments = ("chat", "--seed", "1", "--max-tokens", "40", "--stop-token", "#0")
    child = terminal(*arguments, code=code, HOME=tmp_path, XDG_CONFIG_HOME=tmp_path)
    child.expect(r"\x1b\[0m>")
    child.send("Tell me a story about a dog.\r")
    child.expect("2004l")  # the editor has given the terminal back
    child.expect("[a-z]{2} ")  # the reply has begun
    child.send("zzzz\r")
    child.expect(r"\(length\)")
    assert "zzzz" not in child.before
    child.expect(r"\x1b\[0m>")
    child.send("/undo\r")
    child.expect("Taken back: Tell me a story")  # and not zzzz
    child.send("/quit now\r")
    assert ended(child) == 0
