"""The chat keeps what is said in it; `pellucid conversations` shows it, and it goes on."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import ExitStack, closing
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pellucid.chat import Conversation
from pellucid.conversations import Store, read_lines
from pellucid.conversations.keeper import Keeper, transcript_of
from pellucid.data.documents import document_of
from pellucid.data.rows import rows
from pellucid.errors import InputError, StoreError
from pellucid.gpt import GPT
from pellucid.sequence import Settings
from pellucid.session import Session
from pellucid.transcript import Transcript
from pellucid.visible import harmless
from support.conversations import FIRST
from support.models import lively_gpt
from support.program import ended, invoke, python, run, terminal
from support.screen import screen, text_of
from support.skips import only_with
from support.talking import session

READY = r"\x1b\[0m>"  # the prompt, as prompt_toolkit draws it


@pytest.fixture(scope="module")
def gpt():
    return lively_gpt(n_ctx=96)[0]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PELLUCID_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def keeping(gpt, path, **settings):
    """A session that keeps what is said -> it, and what it printed since it was last asked."""
    console = screen(100)
    conversation = Conversation(gpt, **{"max_tokens": 4, "seed": 1, **settings})
    opened = lambda: Store.open(path, wait=0.01)  # noqa: E731
    chat = Session(
        gpt, conversation, console, walk=None, keeper=lambda: Keeper(conversation, opened)
    )
    return chat, lambda: text_of(console)


@pytest.fixture
def kept():
    """`keeping`; closed in the end, as a session does when it is left."""
    with ExitStack() as left:

        def begin(*arguments, **settings):
            chat, printed = keeping(*arguments, **settings)
            left.callback(chat.exchange.close)
            return chat, printed

        yield begin


def trees(path):
    with Store.open(path, create=False) as store:
        return [store.tree(head.id) for head in store.list(None)]


def shape(tree):
    """Each message's role, text, and the places of its parent and source."""
    at = {message.id: number for number, message in enumerate(tree.messages)}
    return [(m.role, m.text, at.get(m.parent), at.get(m.source), m.step) for m in tree.messages]


def said(tree):
    return [(message.role, message.text) for message in tree.path()]


# In the chat


def test_each_message_with_every_token_of_its_reply(gpt, tmp_path, kept):
    chat, _ = kept(gpt, tmp_path / "a.db", system="the")
    chat.handle("the cat")
    chat.handle("and")
    last = chat.conversation.last
    (tree,) = trees(tmp_path / "a.db")
    assert said(tree) == [tuple(m) for m in chat.conversation.messages if m.role != "system"]
    assert (tree.head.title, tree.head.system, tree.head.model) == ("the cat", "the", "tiny")
    assert tree.head.tokenizer == gpt.tokenizer.fingerprint()
    assert Settings.of(**tree.head.settings) == chat.conversation.settings
    reply = tree.messages[-1].generated
    assert (reply.prompt, reply.seed, reply.reason) == (last.prompt, last.seed, last.reason)
    for token, step in zip(reply.tokens, last.steps, strict=True):
        assert (token.id, token.text, token.logprob) == (step.token, step.text, step.logprob)
        assert token.alternatives == step.alternatives
        assert token.bytes == gpt.tokenizer.bytes_of(step.token)
    assert "".join(token.text for token in reply.tokens) == tree.messages[-1].text


def test_a_message_is_kept_before_the_reply_to_it_begins(gpt, tmp_path, kept):
    chat, _ = kept(gpt, tmp_path / "a.db")
    seen = []

    def look(name, value):
        seen.append(said(trees(tmp_path / "a.db")[0]))
        chat.conversation.tap = None
        return value

    chat.conversation.tap = look
    chat.handle("the")
    assert seen[0] == [("user", "the")]


def test_a_reply_broken_off_before_its_first_token_is_none(gpt, tmp_path, kept):
    chat, _ = kept(gpt, tmp_path / "a.db")
    chat.handle("the")
    chat.conversation.retry()  # not begun
    chat.exchange.keep()
    chat.handle("cat")
    (tree,) = trees(tmp_path / "a.db")
    assert said(tree) == [tuple(message) for message in chat.conversation.messages]
    assert [role for role, _ in said(tree)] == ["user", "user", "assistant"]


def test_edited_taken_again_and_branched_are_siblings(gpt, tmp_path, kept):
    chat, printed = kept(gpt, tmp_path / "a.db", temperature=2.0)
    chat.handle("the")
    first = chat.conversation.last.so_far
    chat.handle("/retry")
    second = chat.conversation.last
    token = next(t for t in range(20) if t != second.steps[1].token)
    printed()
    chat.handle(f"/branch 2 #{token}")
    assert re.search("from token 2 on: “.+” for “.+”", printed())
    third = chat.conversation.last
    assert third.steps[0].token == second.steps[0].token
    assert third.steps[1].token == token
    chat.handle("/edit cat")
    (tree,) = trees(tmp_path / "a.db")
    assert shape(tree) == [
        ("user", "the", None, None, None),
        ("assistant", first, 0, None, None),
        ("assistant", second.so_far, 0, 1, None),
        ("assistant", third.so_far, 0, 2, 1),
        ("user", "cat", None, 0, None),
        ("assistant", chat.conversation.last.so_far, 4, None, None),
    ]
    chat.handle("/undo")
    (tree,) = trees(tmp_path / "a.db")
    assert tree.path() == ()
    chat.handle("/new")
    chat.handle("sat")
    newest, old = trees(tmp_path / "a.db")
    assert (newest.head.title, len(old.messages)) == ("sat", 6)
    assert said(newest)[0] == ("user", "sat")


def test_the_chat_goes_to_another_branch_and_on_from_there(gpt, tmp_path, kept):
    """What the model then sees, and what is kept, is as if nothing else had been said."""
    chat, printed = kept(gpt, tmp_path / "a.db", temperature=2.0)
    chat.handle("the")
    chat.handle("cat")
    first = chat.conversation.messages
    chat.handle("/edit sat")
    chat.handle("/undo")  # what it leaves is on the way to another
    chat.handle("/retry")
    printed()
    chat.handle("/branches")
    lines = printed().splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["1", "cat"], ["2", "sat"], ["*", "3"]]
    chat.handle("/switch 1")
    assert f"> {first[-2].text}" in printed()
    assert chat.conversation.messages == first
    own = Conversation(gpt, max_tokens=4, seed=1, temperature=2.0)
    own.resume(chat.conversation.transcript().turns)
    chat.handle("on a mat")
    assert chat.conversation.last.prompt == own.say("on a mat").prompt
    (tree,) = trees(tmp_path / "a.db")
    assert said(tree)[:-2] == [(m.role, m.text) for m in first]
    assert len(tree.messages) == 4 + 2 + 1 + 2
    assert len(tree.leaves()) == 3
    chat.handle("/branches")
    assert "* 3   on a mat" in printed()
    chat.handle("/retry")  # in place of the reply that stands there
    (tree,) = trees(tmp_path / "a.db")
    assert tree.messages[-1].source == tree.messages[-2].id
    for wrong in ("/switch", "/switch 5", "/switch x"):
        with pytest.raises(InputError, match="there are 4 branches"):
            chat.handle(wrong)
    chat.conversation.clear()
    with pytest.raises(InputError, match="nothing is kept here"):
        session(gpt)[0].handle("/branches")
    other, _ = kept(gpt, tmp_path / "b.db")
    with pytest.raises(InputError, match="nothing was said yet"):
        other.handle("/branches")


def test_branch_takes_a_token_as_it_is_shown(gpt, tmp_path, kept):
    chat, printed = kept(gpt, tmp_path / "a.db", greedy=True)
    for wrong in ("/branch", "/branch 1", "/edit x", "/retry"):
        with pytest.raises(InputError):
            chat.handle(wrong)
    chat.handle("the")
    n = len(chat.conversation.last.steps)
    for wrong in ("/branch", "/branch 0", f"/branch {n + 1}", "/branch x", "/branch 1 no such one"):
        with pytest.raises(InputError):
            chat.handle(wrong)
    with pytest.raises(InputError, match="say what"):
        chat.handle("/edit")
    other = chat.conversation.last.steps[0].alternatives[1]
    chat.handle(f"/branch 1 {other.text.strip()}")
    assert chat.conversation.last.steps[0].token == other.token
    printed()
    chat.handle("/branch 1")
    assert "the same again" in " ".join(printed().split())


actions = st.lists(
    st.sampled_from(["the", "cat", "/retry", "/edit sat", "/branch 1", "/undo", "/new", "stop"]),
    max_size=9,
)


@given(actions=actions, again=actions)
@settings(max_examples=40)
def test_what_goes_on_is_the_chat_as_it_stood(gpt, tmp_path_factory, actions, again):
    """After whatever was done in it; and what is kept never changes."""
    path = tmp_path_factory.mktemp("store") / "a.db"
    chat, _ = keeping(gpt, path)
    before = {}

    def do(chat, action):
        try:
            if action == "stop":  # after two tokens comes Ctrl-C
                reply = chat.conversation.say("on")
                chat.exchange.keep()
                list(islice(reply, 2))
                chat.exchange.keep()
            else:
                chat.handle(action)
        except InputError:
            pass

    for action in actions:
        do(chat, action)
        now = {m.id: m for tree in trees(path) for m in tree.messages} if path.exists() else {}
        assert before.items() <= now.items()
        before = now
    chat.exchange.close()
    if not path.exists():
        return
    here = chat.conversation
    with Store.open(path) as store:
        tree = store.tree(chat.exchange.kept_as) if chat.exchange.kept_as else None
    if tree is None or not here.turns:
        return
    there = Conversation.of(gpt, transcript_of(tree, gpt.tokenizer))
    assert there.messages == here.messages
    assert there.prompt_ids("and") == here.prompt_ids("and")
    assert there.transcript() == here.transcript()
    # What is done in the one that goes on, is done in the store as in the first.
    console = screen(100)
    opened = lambda: Store.open(path)  # noqa: E731
    second = Session(gpt, there, console, walk=None, keeper=lambda: Keeper(there, opened, tree))
    for action in again:
        do(second, action)
    second.exchange.close()
    with Store.open(path) as store:
        found = store.tree(second.exchange.kept_as or tree.head.id)
    if there.turns:
        expected = [tuple(message) for message in there.messages]
        assert said(found) == expected
    assert {m.id for m in tree.messages} <= {m.id for t in trees(path) for m in t.messages}


def test_what_cannot_be_kept_waits_and_is_said_once(gpt, tmp_path, kept):
    path = tmp_path / "a.db"
    chat, printed = kept(gpt, path)
    chat.handle("the")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        printed()
        chat.handle("cat")
        assert "not kept: the store" in printed()
        chat.handle("/retry")
        chat.handle("/edit sat")
        assert "not kept" not in printed()
        assert chat.exchange.kept_as is None
        other.execute("ROLLBACK")
    assert len(trees(path)[0].messages) == 2
    chat.handle("on")
    assert "all of this conversation is kept now" in printed()
    (tree,) = trees(path)
    assert [message.text for message in tree.messages if message.role == "user"] == [
        "the", "cat", "sat", "on",
    ]  # fmt: skip
    assert len(tree.messages) == 9
    assert said(tree) == [tuple(message) for message in chat.conversation.messages]


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_chat_goes_on_where_there_can_be_no_store(gpt, tmp_path, content, kept):
    (tmp_path / "file").write_bytes(content)
    path = tmp_path / "file" if content else tmp_path / "file" / "a.db"
    chat, printed = kept(gpt, path)
    chat.handle("the")
    assert "is not kept" in printed()
    chat.handle("cat")
    assert "is not kept" not in printed()
    assert len(chat.conversation.messages) == 4
    chat.handle(f"/save {tmp_path / 'talk.json'}")
    chat.exchange.close()
    assert (tmp_path / "file").read_bytes() == content


def test_what_another_program_deleted_stays_deleted(gpt, tmp_path, kept):
    chat, printed = kept(gpt, tmp_path / "a.db")
    chat.handle("the")
    with Store.open(tmp_path / "a.db") as store:
        store.delete(chat.exchange.kept_as)
    printed()
    chat.handle("cat")
    assert "there is no conversation" in printed()
    assert trees(tmp_path / "a.db") == []
    chat.handle("/new")
    chat.handle("sat")
    assert said(trees(tmp_path / "a.db")[0])[0] == ("user", "sat")


def test_a_saved_file_that_goes_on_is_kept_whole(gpt, tmp_path):
    first = Conversation(gpt, seed=1, max_tokens=5, stop=["a"])
    assert first.say("the").text is not None
    first.transcript().save(tmp_path / "talk.json")
    there = Conversation.of(gpt, Transcript.read(tmp_path / "talk.json", gpt.tokenizer))
    keeper = Keeper(there, lambda: Store.open(tmp_path / "a.db"))
    keeper.keep()
    keeper.close()
    (tree,) = trees(tmp_path / "a.db")
    assert said(tree) == [tuple(message) for message in first.messages]
    reply = tree.messages[1].generated
    assert tuple(token.id for token in reply.tokens) == first.turns[0].reply.ids
    assert "".join(token.text for token in reply.tokens) == tree.messages[1].text
    assert reply.reason == "saved"
    again = Conversation.of(gpt, transcript_of(tree, gpt.tokenizer))
    assert again.transcript() == first.transcript()


def test_a_reply_that_no_model_here_made(gpt, tmp_path):
    with Store.open(tmp_path / "a.db") as store:
        head = store.new(
            model="m", tokenizer=gpt.tokenizer.fingerprint(), template="plain", settings={}
        )
        first = store.add_message(head.id, "the")
        store.add_reply(head.id, " cat", parent=first.id)
        tree = store.tree(head.id)
    there = Conversation.of(gpt, transcript_of(tree, gpt.tokenizer), max_tokens=2)
    assert [message.text for message in there.messages] == ["the", " cat"]
    assert there.last is None  # nobody knows what it was made from
    with pytest.raises(InputError, match="no reply to branch from"):
        there.branch(0)
    assert there.say("sat").text is not None
    with pytest.raises(InputError, match="whose tokenizer is another"):
        transcript_of(FIRST, gpt.tokenizer)


def test_half_a_character_is_kept_as_the_model_reads_it(gpt, tmp_path, kept):
    """A terminal hands on a byte that is no text as a lone surrogate."""
    chat, _ = kept(gpt, tmp_path / "a.db")
    chat.handle("the \udc9b")
    chat.handle("/system the \udc9b")
    chat.handle("cat")
    chat.handle(f"/save {tmp_path / 'talk.json'}")
    (tree,) = trees(tmp_path / "a.db")
    assert (tree.messages[0].text, tree.head.system) == ("the \ufffd", "the \ufffd")
    assert Transcript.read(tmp_path / "talk.json", gpt.tokenizer).turns[0].message == "the \ufffd"


def test_nothing_that_a_chat_is_told_ends_it(gpt, tmp_path, kept):
    """A stop text where the locale is not UTF-8; a name of a folder that is no text."""
    told = GPT(gpt.model, gpt.tokenizer, name="m\udcff")
    chat, _ = kept(told, tmp_path / "a.db")
    chat.handle("the")
    chat.handle("/set stop \udce5\udcad\udc97")
    chat.handle("cat")
    with pytest.raises(InputError, match="half a character"):
        chat.handle("/set stop \ud800")
    chat.handle(f"/save {tmp_path / 'talk.json'}")
    (tree,) = trees(tmp_path / "a.db")
    assert tree.head.settings["stop"] == ["字"]
    assert tree.head.model == tree.messages[-1].generated.model == "m\ufffd"
    assert Transcript.read(tmp_path / "talk.json", gpt.tokenizer).settings.stop == ("字",)


# The command line


def test_line_by_line_nothing_is_kept_unless_it_is_asked_for(home):
    run("chat", "--model", "talk", text="The power clapper\n")
    assert not home.exists()
    printed = run("chat", "--model", "talk", "--store", home / "conversations.db",
                  text="The power clapper\nThe thunder\n")  # fmt: skip
    assert printed.startswith(" went straight to jail")
    (tree,) = trees(home / "conversations.db")
    assert [text for role, text in said(tree) if role == "user"] == [
        "The power clapper", "The thunder",
    ]  # fmt: skip
    run("chat", "--model", "talk", "--continue", text="The king\n")
    run("chat", "--model", "talk", "--resume", tree.head.id[:5], text="The dog\n")
    run("chat", "--model", "talk", "--continue", "--no-store", text="The crowd\n")
    (tree,) = trees(home / "conversations.db")
    assert [text for role, text in said(tree) if role == "user"][2:] == ["The king", "The dog"]


def test_what_goes_on_must_be_there(home, tmp_path):
    for arguments, words in [
        (["--continue"], "there is no store"),
        (["--resume", "12"], "there is no store"),
        (["--continue", "none.json"], "--resume none.json"),
        (["--continue", "--resume", "12"], "give one"),
        (["--continue", "--template", "plain"], "goes with a new conversation"),
        (["--store", str(tmp_path)], "directory"),
    ]:
        done = invoke("chat", "--model", "talk", *arguments, text="x\n")
        assert words in (str(done.exception) + done.stderr), arguments
        assert isinstance(done.exception, StoreError) or done.exit_code == 2
    (tmp_path / "text").write_text("hello")
    with pytest.raises(StoreError, match="is no database"):
        run("chat", "--model", "talk", "--store", tmp_path / "text", text="x\n")
    Store.open(home / "conversations.db").close()
    with pytest.raises(StoreError, match="no conversation is kept yet"):
        run("chat", "--model", "talk", "--continue", text="x\n")
    with pytest.raises(InputError, match="there is no conversation '12'"):
        run("chat", "--model", "talk", "--resume", "12", text="x\n")


def test_the_exit_code_says_that_not_all_was_kept(home):
    path = home / "conversations.db"
    Store.open(path).close()
    code = (
        "import sqlite3, sys\n"
        "from pellucid.cli import keeping, main\n"
        "keeping.WAIT = 0.01\n"
        "other = sqlite3.connect(sys.argv.pop(), isolation_level=None)\n"
        "from pellucid.sequence import Sequence\n"
        "whole = Sequence.take\n"
        "def take(*arguments):\n"
        "    if not other.in_transaction: other.execute('BEGIN IMMEDIATE')\n"
        "    return whole(*arguments)\n"
        "Sequence.take = take\n"
        "main()\n"
    )
    done = python(
        code, "chat", "--model", "talk", "--store", path, path, input="The power clapper\n"
    )
    assert done.stdout == " went straight to jail\n"
    assert done.returncode == 2
    assert "Error: not all was kept: the store" in done.stderr
    assert said(trees(path)[0]) == [("user", "The power clapper")]


@pytest.fixture
def full(home):
    with Store.open(home / "conversations.db") as store:
        store.put_tree(FIRST)
        hostile = store.new(
            model="m\x1b[2J", tokenizer="f", template="plain", settings={}, title="a\x1b[2J\nb"
        )
        first = store.add_message(hostile.id, "\x9bhostile\x07 Word")
        store.add_reply(hostile.id, "\x1b[2J", parent=first.id)
    return hostile.id


def test_list_show_and_search(full):
    printed = run("conversations", "list", width=100)
    assert printed.splitlines()[1].split()[0] == full[:8]
    assert "00000000" in printed.splitlines()[2]
    assert "5  small" in printed
    for width in (40, 50, 60, 80):  # what is typed again is never cut
        narrow = run("conversations", "list", width=width).splitlines()
        assert [line.split()[0] for line in narrow] == ["id", full[:8], FIRST.head.id[:8]]
        assert max(map(cell_len, narrow)) <= width
        assert narrow[0].endswith("title")
    page = invoke("conversations", "list", "--limit", "1")
    assert f"list --before {full[:8]}" in page.stderr
    rest = run("conversations", "list", "--before", full[:8], "--json")
    assert json.loads(rest)["id"] == FIRST.head.id
    shown = run("conversations", "show", "0000")
    assert "3 of 3" in shown
    assert "Messages in other branches: 3" in shown
    assert "Rhyme." in shown
    assert json.loads(run("conversations", "show", "0000", "--json"))["leaf"] == "c" * 16
    assert "Hello, you" in run("conversations", "search", "YOU")
    assert "Nobody said zebra" in run("conversations", "search", "zebra")
    newest = run("conversations", "show")
    found = run("conversations", "search", "word", "hostile")
    assert full[:8] in found
    for text in (printed, newest, found, rest):
        assert harmless(text) == text


def test_chat_takes_the_id_of_a_conversation(chat, home):
    """The very ids of its last reply, where it has some, else those of its last message; an id that
    none has, or that is too short, is what a user says."""
    with Store.open() as store:
        conversation = Conversation(chat, seed=1, max_tokens=3)
        keeper = Keeper(conversation, Store.open)
        reply = conversation.say("Hello")
        assert reply.text
        keeper.close()
        id = keeper.id
        done = invoke("tokens", "--chat", id[:5], "--json")
        assert f"About the conversation {id[:8]}, “Hello”" in done.stderr
        assert [each["id"] for each in json.loads(done.stdout)["tokens"]] == list(reply.prompt)
        why = json.loads(run("why", "--chat", id, "--token", "2", "--no-labels", "--json"))
        assert why["target_id"] == reply.steps[1].token
        store.add_message(id, "And you?", parent=store.head(id).leaf)
        tokens = json.loads(run("tokens", "--chat", id, "--json"))["tokens"]
        assert [each["id"] for each in tokens] == conversation.prompt_ids("And you?")
    for text in (id[:3], "dead"):
        typed = json.loads(run("tokens", "--chat", text, "--json"))
        expected = Conversation(chat).prompt_ids(text)
        assert [each["id"] for each in typed["tokens"]] == expected


def test_out_and_in_again(full, tmp_path):
    path = tmp_path / "all.jsonl"
    run("conversations", "export", "--all", "--out", path)
    assert path.read_bytes() == run("conversations", "export", "--all").encode()
    assert FIRST in list(read_lines(path))
    other = tmp_path / "other.db"
    done = invoke("conversations", "import", path, "--store", other)
    assert "2 conversations with 7 messages" in done.stderr
    done = invoke("conversations", "import", path, "--store", other)
    assert "with 0 messages" in done.stderr
    assert trees(other)[-1] == FIRST
    markdown = run("conversations", "export", "0000", "--format", "markdown")
    assert markdown.startswith("# Hello\n")
    assert run("conversations", "export") == run("conversations", "export", full)  # the newest
    for wrong in (["export", "--all", "0000"], ["delete"]):
        assert invoke("conversations", *wrong).exit_code == 2


def test_data_learns_from_what_was_exported(full, tmp_path):
    path = tmp_path / "talks.jsonl"
    run("conversations", "export", "0000", "--out", path)
    (row,) = rows(path)
    assert [turn.text for turn in document_of(row).turns] == ["Rhyme.", "Hello", "be"]
    run("data", path, tmp_path / "corpus", "--tokenizer", "chat")
    assert (tmp_path / "corpus").is_dir()


def test_delete_and_backup(full, home, tmp_path):
    run("conversations", "backup", tmp_path / "b.db")
    assert len(trees(tmp_path / "b.db")) == 2
    with pytest.raises(InputError, match="is there already"):
        run("conversations", "backup", tmp_path / "b.db")
    asked = invoke("conversations", "delete", full[:6], text="n\n")
    assert "Delete" in asked.output
    assert harmless(asked.output) == asked.output
    assert len(trees(home / "conversations.db")) == 2
    run("conversations", "delete", full[:6], "0000", "--yes")
    assert trees(home / "conversations.db") == []
    assert run("conversations", "list") == "No conversation is kept here.\n"


def test_nothing_kept_is_no_mistake_to_list(home):
    assert run("conversations", "list") == "No conversation is kept here.\n"
    assert not home.exists()
    for verb in (["show"], ["search", "x"], ["export", "--all"], ["delete", "1", "--yes"]):
        with pytest.raises(StoreError, match="`pellucid chat` makes it"):
            run("conversations", *verb)


def test_a_chat_that_keeps_nothing_yet_imports_no_database():
    code = (
        "import sys\n"
        "from pellucid.cli import main\n"
        "sys.argv = ['pellucid', 'chat', '--model', 'talk']\n"
        "try: main()\n"
        "finally: print('sqlite3' in sys.modules, 'platformdirs' in sys.modules)"
    )
    assert python(code, input="The power clapper\n").stdout.splitlines()[-1] == "False False"


# In a terminal


@only_with("POSIX", "pexpect")
class TestTerminal:
    def spawn(self, tmp_path, *arguments):
        return terminal(*arguments, HOME=tmp_path, XDG_CONFIG_HOME=tmp_path, COLUMNS=100)

    def say(self, child, text, answer):
        child.expect(READY)
        child.send(f"{text}\r")
        child.expect(answer)

    def test_a_chat_is_kept_and_goes_on(self, tmp_path, home):
        child = self.spawn(tmp_path, "chat", "--model", "talk")
        child.expect("What is said is kept on this machine")
        self.say(child, "The power clapper", "straight to jail")
        child.expect(READY)
        child.sendeof()
        child.expect("pellucid chat --resume [0-9a-f]{8}")
        assert ended(child) == 0
        (tree,) = trees(home / "conversations.db")
        child = self.spawn(tmp_path, "chat", "--model", "talk", "--continue")
        child.expect("It goes on after 1 turn: .*straight to jail")
        self.say(child, "/edit The thunder", "2004l")  # the editor has given the terminal back
        child.expect(READY)
        child.kill(9)  # what was said is kept already
        child.close()
        child = self.spawn(tmp_path, "chat", "--model", "talk", "--resume", tree.head.id[:4])
        child.expect("It goes on after 1 turn")
        child.expect(READY)
        child.sendeof()
        assert ended(child) == 0
        (tree,) = trees(home / "conversations.db")
        assert [m.text for m in tree.messages if m.role == "user"] == [
            "The power clapper", "The thunder",
        ]  # fmt: skip
        assert said(tree)[0] == ("user", "The thunder")

    @pytest.mark.parametrize("arguments", [("talk",), ("chat", "--model", "talk", "--no-store")])
    def test_off_the_record(self, tmp_path, home, arguments):
        child = self.spawn(tmp_path, *arguments)
        child.expect("Ctrl-D leaves")
        self.say(child, "The power clapper", "2004l")
        child.expect(READY)
        child.sendeof()
        assert ended(child) == 0
        assert not home.exists()
