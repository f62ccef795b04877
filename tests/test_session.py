"""The session in a terminal: its commands, how a reply is written, what the keyboard does."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pellucid.chat import Conversation
from pellucid.errors import InputError
from pellucid.session.commands import COMMANDS, ELSEWHERE
from pellucid.session.tokens import print_tokens
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


def test_a_prompt_is_divided_between_its_tokens(talk):
    narrow = screen(20)
    reply = Conversation(talk, greedy=True).say("The power clapper went straight")
    assert reply.text
    print_tokens(narrow, talk.tokenizer, reply)
    lines = text_of(narrow).splitlines()
    assert all(len(line) <= 20 for line in lines)
    lines = lines[: 1 + next(i for i, line in enumerate(lines) if "straight" in line)]
    assert "".join(lines) == "prompt: The|␣power|␣clap|per|␣went|␣straight"
    assert all(line.startswith("|") for line in lines[1:])


def test_what_a_name_means_goes_on_below_itself():
    console = screen(40)
    Writer(console).entry("/set", "change a setting of the replies, such as temperature", 16)
    assert text_of(console).splitlines() == [
        "  /set             change a setting of",
        "                   the replies, such as",
        "                   temperature",
    ]


def test_help_is_the_table(talk):
    chat, printed = session(talk)
    chat.handle("/help")
    lines = printed().splitlines()
    assert len(COMMANDS) == 18
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
    for name in ELSEWHERE:  # what other programs call it
        chat.handle(f"{name} talk.json")
        assert f"There is no {name} within a chat: leave, and `pellucid chat" in printed()
    with pytest.raises(InputError, match="did you mean temperature"):
        chat.handle("/set temprature 1")
    with pytest.raises(InputError, match="there are greedy, temperature"):
        chat.handle("/set zzz 1")


def test_what_is_said_of_a_reply_is_in_words(talk):
    chat, printed = session(talk, max_tokens=2, seed=1)
    chat.handle("/steer")
    assert printed() == "The replies are not steered.\n"  # they never were
    chat.handle("/record")
    assert printed() == "Values are not recorded.\n"
    chat.handle("The crowd")
    assert "(cut off after 2 tokens: /set max_tokens allows more)" in printed()
    chat.handle("/branch 2")
    assert re.search("from token 2 on: “.+” is drawn again", printed())
    chat.handle("/branch 2 #70")
    assert re.search("from token 2 on: “F” for “.+”", " ".join(printed().split()))
    with pytest.raises(InputError, match="/why 1 to /why 2; /tokens numbers them"):
        chat.handle("/why hello")


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


def last_note(text):
    return " ".join(text.split())


@pytest.mark.parametrize("n", [1, 3, "last"])
def test_why_explains_the_nth_token_of_the_reply(chat, n):
    from pellucid import inspect

    talking, printed = session(chat, max_tokens=5, seed=1)
    talking.handle("Hello")
    reply = talking.conversation.last
    ids = [step.token for step in reply.steps]
    n = len(ids) if n == "last" else n
    printed()
    talking.handle("/why" if n == 1 else f"/why {n}")
    text = last_note(printed())
    assert f"Token {n} of {len(ids)} of the reply" in text
    expected = inspect.why(chat, [*reply.prompt, *ids[: n - 1]], [ids[n - 1]], labels=False)
    assert last_note(" ".join(expected.sentences[:1])) in text
    for wrong in ("0", str(len(ids) + 1), "x"):
        with pytest.raises(InputError, match=f"has {len(ids)} tokens: /why 1 to /why {len(ids)}"):
            talking.handle(f"/why {wrong}")


def test_view_writes_the_page_of_the_very_ids(chat, tmp_path, monkeypatch):
    from pellucid import inspect

    talking, _ = session(chat, max_tokens=2)
    with pytest.raises(InputError, match="say something first"):
        talking.handle("/view x.html")
    talking.handle("Hello")
    asked = []
    look = inspect.view
    monkeypatch.setattr(inspect, "view", lambda g, *a, **k: asked.append(a) or look(g, *a, **k))
    path = tmp_path / "a page.html"
    with pytest.raises(InputError, match="name a file"):
        talking.handle("/view")
    talking.handle(f"/view {path}")
    reply = talking.conversation.last
    assert asked == [(reply.prompt, reply.steps[0].token)]
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    with pytest.raises(InputError, match="cannot write"):
        talking.handle(f"/view {tmp_path}")


def shown(text):
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def test_set_changes_any_setting_and_shows_all(chat):
    from dataclasses import fields

    from pellucid.sampling import Sampling
    from pellucid.sequence import Settings

    talking, printed = session(chat, seed=4)
    talking.handle("/set")
    names = [each.name for kind in (Sampling, Settings) for each in fields(kind)]
    assert set(shown(printed())) == set(names) - {"sampling"}
    for name, text, value in (
        ("temperature", "0.8", 0.8),
        ("top_k", "12", 12),
        ("top_k", "none", None),
        ("top_p", "0.9", 0.9),
        ("min_p", "0.1", 0.1),
        ("repetition_penalty", "1.1", 1.1),
        ("presence_penalty", "0.1", 0.1),
        ("frequency_penalty", "-0.5", -0.5),
        ("greedy", "yes", True),
        ("greedy", "off", False),
        ("max_tokens", "3", 3),
        ("alternatives", "2", 2),
        ("n_ctx", "100", 100),
        ("seed", "7", 7),
        ("stop", "the end", ("the end",)),
        ("stop", '"\\n"', ("\n",)),
        ("stop", '["a", "b"]', ("a", "b")),
        ("stop", "none", ()),
        ("stop_tokens", "<|end|> #5", frozenset({chat.tokenizer.special_tokens["<|end|>"], 5})),
        ("stop_tokens", "none", frozenset(chat.tokenizer.special_tokens.values())),
    ):
        talking.handle(f"/set {name} {text}")
        assert (
            Settings.of(**{name: value}).flat()[name] == talking.conversation.settings.flat()[name]
        )
        first = shown(printed())[name]
        talking.handle(f"/set {name} {first}")  # what is shown can be typed
        assert shown(printed()) == {name: first}
    assert talking.conversation.n_ctx == 100
    talking.handle("Hello")
    assert len(talking.conversation.last.steps) <= 3
    assert talking.conversation.last.seed == 7


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("heat 1", "no setting 'heat'; there are greedy, temperature"),
        ("heat", "no setting 'heat'; there are greedy, temperature"),
        ("temperature hot", "temperature must be a number or none, not 'hot'"),
        ("temperature -1", "temperature must be a number between"),
        ("temperature none", "temperature must be a number between"),
        ("greedy maybe", "greedy must be yes or no"),
        ("top_k 1.5", "top_k must be a whole number"),
        ("top_k 0", "top_k must be a whole number of at least 1"),
        ("n_ctx 10000", "n_ctx must be between 1 and the model's 512"),
        ("n_ctx 20", "the system text has"),
        ("alternatives none", "alternatives must be a whole number"),
        ("stop_tokens <|stop|>", "is no token; write #id, or one of <|endoftext|>"),
        ("stop_tokens #99999", "is no token"),
    ],
)
def test_a_setting_that_is_none_is_refused_and_nothing_changes(chat, typed, said):
    talking, _ = session(chat, system="a b c d e f g h i j k l m n o p q r s t")
    before = talking.conversation.settings
    with pytest.raises(InputError) as error:
        talking.handle(f"/set {typed}")
    assert said in str(error.value)
    assert talking.conversation.settings == before
    assert talking.conversation.n_ctx == 512


def test_set_says_what_greedy_passes_over(talk):
    talking, printed = session(talk, greedy=True)
    talking.handle("/set temperature 2")
    assert "/set greedy no" in printed()
    talking.handle("/set greedy no")
    talking.handle("/set temperature 2")
    assert "greedy" not in printed().splitlines()[-1]


def test_new_begins_afresh(chat):
    talking, printed = session(chat, seed=1, max_tokens=3, system="S")
    talking.handle("Hello")
    first = talking.conversation.last.tokens
    talking.handle("And?")
    printed()
    talking.handle("/new")
    assert printed() == "Begun afresh; settings and system text stay as they are.\n"
    assert [message.role for message in talking.conversation.messages] == ["system"]
    talking.handle("Hello")
    assert talking.conversation.last.tokens == first
    talking.handle("/undo")
    with pytest.raises(InputError, match="nothing to undo"):
        talking.handle("/undo")


def test_save_and_continue(chat, tmp_path):
    from pellucid.transcript import Transcript

    talking, printed = session(chat, seed=1, max_tokens=3)
    path = tmp_path / "talk.json"
    with pytest.raises(InputError, match="nothing was said yet"):
        talking.handle(f"/save {path}")
    talking.handle("Hello")
    with pytest.raises(InputError, match="name a file"):
        talking.handle("/save")
    printed()
    talking.handle(f"/save {path}")
    assert f"pellucid chat --continue {path}" in last_note(printed()).replace("- ", "-")
    kept = Conversation.of(chat, Transcript.read(path, chat.tokenizer))
    assert kept.messages == talking.conversation.messages


def test_a_system_text_that_has_no_effect_is_said(chat, talk):
    talking, printed = session(chat)
    talking.handle("/system You are a pirate.")
    assert "this model was trained without system texts" in last_note(printed())
    talking.handle("/system")
    assert "trained" not in printed()
    plain, printed = session(chat, template="plain")
    plain.handle("/system You are a pirate.")
    assert printed()
    from pellucid.gpt import GPT

    other = GPT(chat.model, chat.tokenizer, template="roles")
    assert "was not trained with" in Conversation(other, system="S").system_note
    said = Conversation(other, "dialogpt", "S").system_note
    assert "'dialogpt' has no system texts" in said
    assert Conversation(other).system_note is None


def test_steering_is_shown_beside_the_reply_and_can_be_taken_back(chat):
    from pellucid import inspect

    talking, printed = session(chat, seed=1, max_tokens=12, temperature=0.6)
    with pytest.raises(InputError, match="say something first"):
        talking.handle("/steer the sea")
    talking.handle("Tell me a story.")
    reply = talking.conversation.last
    printed()
    talking.handle("/steer the sea")
    text = last_note(printed())
    vector = inspect.direction(chat, " the sea", " Tell me a story.", 8)
    tap = inspect.steer(chat, vector, 8, strength=0.3)
    after = chat.generate(reply.prompt, talking.conversation.settings, seed=reply.seed, tap=tap)
    assert after.text != reply.text
    held = f"As it was: {last_note(reply.text)} Steered, with the same seed: "
    assert held + last_note(after.text) in text
    assert "layer 8, 0.3 times as long" in text
    assert talking.conversation.last is reply  # what was only shown is not part of it
    assert len(talking.conversation.messages) == 2
    plain = Conversation(chat, seed=1, max_tokens=12, temperature=0.6)
    assert plain.say("Tell me a story.").text
    talking.handle("And then?")
    steered = talking.conversation.last
    assert steered.steps[0].logprob != pytest.approx(plain.say("And then?").steps[0].logprob)
    talking.handle("/undo")
    talking.handle("/steer")
    talking.handle("And then?")
    assert talking.conversation.last.tokens == plain.last.tokens
    assert [s.logprob for s in talking.conversation.last.steps] == pytest.approx(
        [s.logprob for s in plain.last.steps], abs=1e-4
    )
    with pytest.raises(InputError, match="say towards what"):
        talking.handle("/steer 0.4")
    talking.handle("/steer 0.5 the sea")
    assert "0.5 times as long" in last_note(printed())


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
    child.expect(r"\(cut off after")
    assert "zzzz" not in child.before
    child.expect(r"\x1b\[0m>")
    child.send("/why\r")  # nor while a command runs, which takes a second or more
    child.expect("Token 1 of")
    child.send("yyyy\r")
    child.expect("On a page also")
    assert "yyyy" not in child.before
    child.expect(r"\x1b\[0m>")
    child.send("/undo\r")
    child.expect("Taken back: Tell me a story")  # and not zzzz
    child.send("/quit now\r")
    assert ended(child) == 0
