"""The store: what was kept is there, whatever happens to whoever keeps it."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.conversations import (
    Generated,
    Store,
    Token,
    Tree,
    line,
    markdown,
    read_lines,
    search,
    store_path,
)
from pellucid.conversations.schema import MIGRATIONS, Migration, migrate
from pellucid.data.documents import document_of
from pellucid.data.rows import rows
from pellucid.errors import InputError, StoreError
from support.conversations import FIRST, head, texts, trees
from support.disk import kill_often
from support.program import captured, python
from support.skips import only_with

GOLDEN = Path(__file__).parent / "golden"
HEAD = {"model": "m", "tokenizer": "f", "template": "plain", "settings": {}}


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "folder" / "talks.db") as store:
        yield store


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What is kept


@given(kept=st.lists(trees(), max_size=3, unique_by=lambda tree: tree.head.id))
@settings(max_examples=40)
def test_every_tree_is_there_as_it_was(tmp_path_factory, kept):
    folder = tmp_path_factory.mktemp("store")
    with Store.open(folder / "a.db") as store:
        for tree in kept:
            assert store.put_tree(tree) == len(tree.messages)
    (folder / "all.jsonl").write_text(
        "".join(json.dumps(line(tree), ensure_ascii=False) + "\n" for tree in kept), "utf-8"
    )
    assert list(read_lines(folder / "all.jsonl")) == kept
    with Store.open(folder / "a.db") as store:
        assert {head.id for head in store.list(None)} == {tree.head.id for tree in kept}
        store.backup(folder / "b.db")
        for tree in kept:
            assert store.tree(tree.head.id) == tree
            assert store.put_tree(tree) == 0
            assert markdown(tree).startswith("# ")
            for message in tree.messages:
                assert store.message(message.id) == message
                assert store.path_to(message.id) == tree.path(message.id)
    assert set(files(folder)) == {"a.db", "all.jsonl", "b.db"}  # a backup is one file
    with Store.open(folder / "b.db") as store:
        assert [store.tree(tree.head.id) for tree in kept] == kept


@given(tree=trees(), half=st.integers(0, 7))
@settings(max_examples=20)
def test_a_conversation_that_is_there_gets_what_it_lacks(tmp_path_factory, tree, half):
    with Store.open(tmp_path_factory.mktemp("store") / "a.db") as store:
        known = tree.messages[:half]
        store.put_tree(Tree(head=replace(tree.head, leaf=None), messages=known))
        assert store.put_tree(tree) == len(tree.messages) - len(known)
        leaf = tree.head.leaf if len(known) < len(tree.messages) else None
        assert store.tree(tree.head.id) == replace(tree, head=replace(tree.head, leaf=leaf))


def test_siblings_and_where_it_goes_on(store):
    id = store.new(**HEAD).id
    first = store.add_message(id, "\n  Hello, you.\nMore")
    reply = store.add_reply(id, "Hi", Generated(prompt=(1,), seed=1, reason="length", model="m"),
                            parent=first.id)  # fmt: skip
    other = store.add_reply(id, "Ho", parent=first.id, source=reply.id, step=0)
    edited = store.add_message(id, "Hello?", source=first.id)
    tree = store.tree(id)
    assert (tree.head.title, tree.head.leaf, tree.head.n_messages) == ("Hello, you.", edited.id, 4)
    assert tree.children(first.id) == (reply, other)
    assert tree.children(None) == (first, edited)
    assert tree.path(other.id) == (first, other)
    assert store.select(id, reply.id).leaf == reply.id
    assert store.tree(id).path() == (first, reply)
    assert store.select(id, None).leaf is None
    assert store.tree(id).path() == ()
    changed = store.change(id, title="T", settings={"seed": 3}, system="S")
    assert store.head(id) == replace(changed, n_messages=4)
    assert (changed.title, changed.system, changed.settings) == ("T", "S", {"seed": 3})


def test_what_is_wrong_is_said_and_changes_nothing(store):
    id, other = store.new(**HEAD).id, store.new(**HEAD).id
    first = store.add_message(id, "Hello")
    reply = store.add_reply(id, "Hi", parent=first.id)
    before = store.tree(id)
    for wrong in (
        lambda: store.add_message("none", "x"),
        lambda: store.add_message(id, "x", parent="none"),
        lambda: store.add_message(other, "x", parent=first.id),
        lambda: store.add_message(id, "x", source="none"),
        lambda: store.add_message(id, "\ud800"),
        lambda: store.add_reply(id, "x", parent=reply.id),
        lambda: store.add_reply(
            id, "x", Generated(prompt=(), seed=1, reason="\ud800", model="m"), parent=first.id
        ),
        lambda: store.add_reply(id, "x", parent=first.id, source=reply.id, step=1 << 64),
        lambda: store.put(replace(first, role="assistant", id="new")),
        lambda: store.put(replace(first, text="other")),
        lambda: store.put(replace(first, conversation=other)),
        lambda: store.select(other, first.id),
        lambda: store.new(**HEAD, id=id),
        lambda: store.change(id, leaf=None),
        lambda: store.delete("none"),
        lambda: store.find("none"),
        lambda: store.find(""),
        lambda: store.search(" "),
        lambda: store.backup(store.path),
        lambda: store.put_tree(
            Tree(head=before.head, messages=(replace(first, conversation="x"),))
        ),
        lambda: Token(id=1, text="a", bytes=b"a", logprob=float("-inf")),
    ):
        with pytest.raises(InputError):
            wrong()
    assert store.tree(id) == before
    assert store.tree(other).messages == ()


def test_a_reply_may_grow_until_it_is_finished(store):
    id = store.new(**HEAD).id
    first = store.add_message(id, "Hello")
    tokens = tuple(Token(id=n, text="word"[n], bytes=b"w") for n in range(4))
    whole = Generated(prompt=(1,), seed=1, reason="length", model="m", tokens=tokens)
    part = replace(whole, reason=None, tokens=tokens[:2])
    reply = store.add_reply(id, "wo", part, parent=first.id)
    assert not reply.finished
    assert [hit.message for hit in store.search("wo")] == [reply]
    grown = store.put(replace(reply, text="word", generated=whole))
    assert store.tree(id).messages == (first, grown)
    assert [hit.message for hit in store.search("word")] == [grown]
    with pytest.raises(InputError, match="is finished"):
        store.put(reply)


def test_pages_and_prefixes(store):
    ids = [store.new(**HEAD, id=f"a{n}").id for n in range(5)]
    assert [head.id for head in store.list()] == ids[::-1]
    assert [head.id for head in store.list(2)] == ["a4", "a3"]
    assert [head.id for head in store.list(2, "a3")] == ["a2", "a1"]
    assert [head.id for head in store.list(2, "a0")] == []
    store.add_message("a1", "x")
    assert store.newest().id == "a1"
    assert store.find("a2").id == "a2"
    with pytest.raises(InputError, match="may be 5 conversations"):
        store.find("a")
    store.new(**HEAD, id="a23")
    assert store.find("a2").id == "a2"  # whole, though another begins so


# Search


@given(said=st.lists(texts, min_size=1, max_size=6), words=texts.filter(lambda text: text.split()))
@settings(max_examples=60)
def test_the_index_finds_what_looking_through_finds(tmp_path_factory, said, words):
    with Store.open(tmp_path_factory.mktemp("store") / "a.db") as store:
        id = store.new(**HEAD).id
        for text in said[::2]:
            store.add_message(id, text)
        store.search("x")  # those are in the index, the others are not yet
        for text in said[1::2]:
            store.add_message(id, text)
        kept = store.tree(id).messages[::-1]
        folded = [word.casefold() for word in words.split()]
        expected = [m.text for m in kept if all(word in m.text.casefold() for word in folded)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search, "bring_up_to_date", lambda connection: None)
            assert [hit.message.text for hit in store.search(words)] == expected
        assert [hit.message.text for hit in store.search(words)] == expected
        store.delete(id)
        assert store.search(words) == ()


def test_what_stands_behind_a_nul_is_found(store):
    said = store.add_message(store.new(**HEAD).id, "one\0twenty")
    assert [hit.message for hit in store.search("twenty one")] == [said]
    assert [hit.message for hit in store.search("e\0tw")] == [said]


def test_what_is_deleted_is_gone_from_the_bytes(store):
    id, other = store.new(**HEAD).id, store.new(**HEAD).id
    for n in range(40):
        store.add_message(id, f"SECRET{n} of mine zqx")
        store.add_message(other, f"kept {n}")
    assert len(store.search("secret")) == 40
    assert any(b"zqx" in data for data in files(store.path.parent).values())
    store.delete(id)
    for data in files(store.path.parent).values():
        assert b"secret" not in data.lower()
        assert b"zqx" not in data  # the index holds three characters together
    assert len(store.search("kept", 100)) == 40
    with pytest.raises(InputError):
        store.tree(id)


# Versions


def test_a_store_of_version_1_is_read(tmp_path):
    """Written by the first version: put_tree(FIRST), then sqlite3's iterdump and both pragmas."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript((GOLDEN / "conversations_1.sql").read_text("utf-8"))
    with Store.open(path) as store:
        assert store.tree(FIRST.head.id) == FIRST
        store.add_message(FIRST.head.id, "on", parent=FIRST.head.leaf)
        assert [hit.message.text for hit in store.search("hello YOU")] == [FIRST.messages[4].text]


def test_each_change_is_made_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.db"
    with Store.open(path) as store:
        store.put_tree(FIRST)
    bad = Migration("bad", ("CREATE TABLE more (a)", "nonsense"))
    good = Migration("more of it", ("CREATE TABLE more (a)", "INSERT INTO more VALUES (1)"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, path, (*MIGRATIONS, bad))
        assert not connection.execute("SELECT * FROM sqlite_master WHERE name = 'more'").fetchall()
    with Store.open(path) as store:
        assert store.tree(FIRST.head.id) == FIRST
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert migrate(connection, path, (*MIGRATIONS, good))
        assert not migrate(connection, path, (*MIGRATIONS, good))
        assert connection.execute("SELECT * FROM more").fetchall() == [(1,)]
        names = connection.execute("SELECT name FROM migrations ORDER BY number").fetchall()
        assert names == [*((migration.name,) for migration in MIGRATIONS), ("more of it",)]
    before = files(tmp_path)
    with pytest.raises(StoreError, match=r"newer Pellucid.*'more of it'.*left as it is"):
        Store.open(path)
    assert files(tmp_path) == before


def test_many_open_a_new_one_at_once(tmp_path):
    path, stores = tmp_path / "a.db", []
    threads = [threading.Thread(target=lambda: stores.append(Store.open(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 8
    for store in stores:
        store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM migrations").fetchone() == (
            len(MIGRATIONS),
        )


# Whatever happens


def test_two_programs_and_their_threads_lose_nothing(store):
    id = store.new(**HEAD).id
    root = store.add_message(id, "root").id
    code = (
        "import sys, threading\n"
        "from pellucid.conversations import Store\n"
        "path, id, root, name = sys.argv[1:]\n"
        "store = Store.open(path, wait=60)\n"
        "def write(thread):\n"
        "    parent = root\n"
        "    for n in range(15):\n"
        "        parent = store.add_message(id, f'{name} {thread} {n}', parent=parent).id\n"
        "threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    done = []

    def start(name):
        done.append(python(code, store.path, id, root, name))

    programs = [threading.Thread(target=start, args=(name,)) for name in "ab"]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 2
    tree = store.tree(id)
    assert {message.text for message in tree.messages} == {"root"} | {
        f"{name} {thread} {n}" for name in "ab" for thread in range(3) for n in range(15)
    }
    ends = [m for m in tree.messages if m.text.endswith(" 14")]
    for end in ends:
        said = [message.text.rsplit(" ", 1)[1] for message in tree.path(end.id)[1:]]
        assert said == [str(n) for n in range(15)]
    assert tree.head.n_messages == 1 + 2 * 3 * 15


@only_with("POSIX")
def test_no_finished_message_is_lost_by_kill_9(tmp_path):
    """The writer names each message once it is kept; what it named is there, and whole."""
    program = (
        "import os, sys\n"
        "from pellucid.conversations import Generated, Store, Token\n"
        "folder = sys.argv[1]\n"
        "store = Store.open(f'{folder}/talks.db')\n"
        "told = os.open(f'{folder}/told', os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "id = store.new(model='m', tokenizer='f', template='plain', settings={}).id\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    said = store.add_message(id, 'x' * 500)\n"
        "    os.write(told, said.id.encode() + b'\\n')\n"
        "    tokens = tuple(Token(id=n, text='y', bytes=b'y', logprob=-1.0) for n in range(40))\n"
        "    made = Generated(prompt=(1,), seed=1, reason='length', model='m', tokens=tokens)\n"
        "    reply = store.add_reply(id, 'y' * 40, made, parent=said.id)\n"
        "    os.write(told, reply.id.encode() + b'\\n')\n"
    )

    def check():
        told = (tmp_path / "told").read_text().split()
        with Store.open(tmp_path / "talks.db") as store:
            kept = {m.id: m for head in store.list(None) for m in store.tree(head.id).messages}
        assert set(told) <= set(kept)
        replies = [message for message in kept.values() if message.role == "assistant"]
        assert all(len(message.generated.tokens) == 40 for message in replies)

    kill_often(program, tmp_path, 6, check)
    assert (tmp_path / "told").stat().st_size


def test_a_file_that_is_none(tmp_path):
    for name, content, said in [
        ("text", b"hello", "is no database"),
        ("long", b"hello" * 400, "is no database"),
        ("short", b"SQLite format 3\0", "is no database"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(StoreError, match=said):
            Store.open(path)
        assert path.read_bytes() == content
    with closing(sqlite3.connect(tmp_path / "other")) as other:
        other.execute("CREATE TABLE notes (text)")
    before = (tmp_path / "other").read_bytes()
    with pytest.raises(StoreError, match="a database of another program"):
        Store.open(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == before
    with pytest.raises(StoreError, match="cannot read"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="null"):
        Store.open(tmp_path / "a\0b")
    with pytest.raises(StoreError, match="there is no store"):
        Store.open(tmp_path / "none.db", create=False)
    with pytest.raises(StoreError, match=r"cannot (read|make)"):
        Store.open(tmp_path / "text" / "talks.db")
    assert not (tmp_path / "none.db").exists()


def test_a_damaged_one(store):
    store.put_tree(FIRST)
    store.close()
    data = bytearray(store.path.read_bytes())
    data[4096:] = b"\xaa" * len(data[4096:])
    store.path.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"), Store.open(store.path) as damaged:
        damaged.tree(FIRST.head.id)


def test_one_that_was_changed_by_hand(store):
    store.put_tree(FIRST)
    for table, column, value in [
        ("messages", "prompt", "[1"),
        ("messages", "created", "yesterday"),
        ("messages", "seed", "x"),
        ("tokens", "alternatives", "[1]"),
        ("conversations", "settings", "{"),
    ]:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as hand:
            (before,) = hand.execute(f"SELECT {column} FROM {table}").fetchone()
            changed = f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL"
            hand.execute(changed, (value,))
            with pytest.raises(StoreError, match="not as Pellucid wrote it"):
                store.tree(FIRST.head.id)
            hand.execute(changed, ("[]" if table == "tokens" else before or "[1]",))
            hand.execute("UPDATE messages SET prompt = '[1]', seed = '1' WHERE prompt IS NOT NULL")


def test_one_that_another_program_holds(tmp_path):
    with Store.open(tmp_path / "a.db", wait=0.01) as store:
        id = store.new(**HEAD).id
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="another program holds it"):
                store.add_message(id, "x")
            assert store.tree(id).messages == ()
            assert store.search("x") == ()  # who only reads need not wait
            other.execute("ROLLBACK")
        store.add_message(id, "x")
        assert len(store.tree(id).messages) == 1
    with pytest.raises(StoreError, match="it was closed"):
        store.list()


@only_with("POSIX")
def test_a_full_disk(store):
    import resource

    id = store.new(**HEAD).id
    store.add_message(id, "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(StoreError, match="make room"):
            store.add_message(id, "x" * (1 << 18))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, limits[1]))
        with pytest.raises(StoreError, match="cannot write"):
            store.backup(store.path.with_name("backup.db"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.add_message(id, "after")
    assert [message.text for message in store.tree(id).messages] == ["before", "after"]
    assert not store.path.with_name("backup.db").exists()


@only_with("a user's rights")
def test_a_place_where_one_may_only_read(store):
    store.put_tree(FIRST)
    store.close()
    folder = store.path.parent
    store.path.chmod(0o400)
    folder.chmod(0o500)
    try:
        with Store.open(store.path) as reading:
            assert reading.tree(FIRST.head.id) == FIRST
            assert len(reading.search("hello")) == 2
            with pytest.raises(StoreError, match="may only be read"):
                reading.add_message(FIRST.head.id, "x")
        with pytest.raises(StoreError, match="choose a place where you may write"):
            Store.open(folder / "other.db")
    finally:
        folder.chmod(0o700)


@only_with("POSIX")
def test_only_its_person_may_read_it(store):
    store.add_message(store.new(**HEAD).id, "Hello")
    for path in (store.path.parent, *store.path.parent.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
    store.backup(store.path.with_name("backup.db"))
    assert store.path.with_name("backup.db").stat().st_mode & 0o077 == 0


# Where it is, and what it imports


def test_its_place(monkeypatch, tmp_path):
    monkeypatch.setenv("PELLUCID_HOME", str(tmp_path))
    assert store_path() == tmp_path / "conversations.db"
    monkeypatch.delenv("PELLUCID_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    here = store_path()  # asked for only: it is a person's own
    assert here.name == "conversations.db"
    assert here.parent.name == "pellucid"
    assert os.fspath(here) == os.fspath(here.absolute())


def test_it_needs_no_arrays():
    code = (
        "import sys, pellucid.conversations as c\n"
        "c.Store.open(sys.argv[1]).close()\n"
        "print('numpy' in sys.modules, 'platformdirs' in sys.modules)"
    )
    assert captured(["true"]).returncode == 0
    assert python(code, "unused.db", cwd="/tmp").stdout == "False False\n"


# Files


def test_what_is_exported_is_messages_that_others_read(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps(line(FIRST)) + "\n", "utf-8")
    (row,) = rows(path)
    assert [tuple(turn) for turn in document_of(row).turns] == [
        ("system", "Rhyme."),
        ("user", "Hello"),
        ("assistant", "be"),
    ]


def test_markdown_is_the_branch_that_goes_on():
    assert markdown(FIRST) == (
        "# Hello\n\n*small, 2026-01-31 12:00 UTC*\n\n## System\n\nRhyme.\n\n## You\n\nHello\n\n"
        "## small\n\nbe\n\n*Messages in other branches, left out here: 3.*\n"
    )
    broken = replace(FIRST, head=replace(FIRST.head, leaf="b" * 16))
    assert "*(broken off)*" in markdown(broken)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("format",), "x", "is no conversation that"),
        (("title",), 3, "title must be a text, not 3"),
        (("created",), "yesterday", "created must be a time"),
        (("changed",), "2026-01-31T12:00:00", "a time with its zone"),
        (("settings",), [], "settings must be a table"),
        (("leaf",), "none", "leaf names no message"),
        (("tree",), {}, "tree must be a list"),
        (("tree", 0), 3, "there must be a table"),
        (("tree", 0, "role"), "tool", "role must be user"),
        (("tree", 1, "role"), "user", "role must be user"),
        (("tree", 1, "id"), "q" * 16, "is there twice"),
        (("tree", 1, "parent"), "c" * 16, "before what it follows"),
        (("tree", 2, "source"), "none", "before what it follows"),
        (("tree", 2, "step"), -1, "step must be a whole number"),
        (("tree", 1, "generated", "seed"), True, "seed must be a whole number"),
        (("tree", 1, "generated", "prompt"), [1.5], "prompt must be whole numbers"),
        (("tree", 1, "generated", "tokens", 0, "bytes"), [256], "numbers below 256"),
        (("tree", 1, "generated", "tokens", 0, "logprob"), "x", "logprob must be a number"),
        (("tree", 1, "generated", "tokens", 0, "alternatives"), [1], "there must be a table"),
    ],
)
def test_a_line_that_was_not_exported_so_is_refused_by_name(tmp_path, path, value, said):
    table = json.loads(json.dumps(line(FIRST)))
    *way, last = path
    at = table
    for key in way:
        at = at[key]
    at[last] = value
    file = tmp_path / "talks.jsonl"
    file.write_text(f"{json.dumps(line(FIRST))}\n\n{json.dumps(table)}\n", "utf-8")
    with pytest.raises(InputError, match=rf"talks\.jsonl, line 3.*{said}"):
        list(read_lines(file))
    assert head("x").title  # the first line's is whole
