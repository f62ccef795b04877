"""Reading that is bounded and strict; writing that is whole or not at all (RELIABILITY B1)."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from functools import partial
from pathlib import Path

import pytest

from pellucid.errors import CheckpointError, InputError, PellucidError
from pellucid.files import Reader, new_file, new_folder, write_file
from support.disk import FullDisk, kill_often
from support.skips import needs
from support.work import finishes

READER = Reader(error=CheckpointError)
KINDS = [InputError, CheckpointError]


def anything(_: Path) -> None:
    """Whatever is there may be replaced."""


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", KINDS)
def test_the_caller_chooses_the_class_and_the_message_names_the_file(
    error: type[PellucidError], tmp_path: Path
) -> None:
    reader, absent = Reader(error=error), tmp_path / "absent.json"
    (tmp_path / "bad.json").write_text("{")
    for read, path in (
        (reader.open, absent),
        (reader.read_bytes, absent),
        (reader.read_object, absent),
        (reader.read_object, tmp_path / "bad.json"),
    ):
        with pytest.raises(error) as caught:
            read(path)
        assert type(caught.value) is error
        assert str(path) in str(caught.value)
    with pytest.raises(error, match="leads out"):
        reader.inside(tmp_path, "../x")
    for write in (new_file(tmp_path / "no" / "file", error=error),):
        with pytest.raises(error, match="make its folder first"), write:
            pytest.fail("the block ran")
    (tmp_path / "file").write_text("text")
    with (
        pytest.raises(error, match="cannot write"),
        new_folder(tmp_path / "file" / "folder", anything, error=error),
    ):
        pytest.fail("the block ran")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    for name, what in (
        ("pipe", "is not a regular file but a pipe: save"),
        ("folder", "is not a regular file but a folder: name a file"),
        ("loop", "cannot read .*symbolic links"),
        ("socket", "cannot read|a socket"),
        ("absent", "cannot read .*No such file"),
        ("a\0b", "cannot read"),
        ("n" * 5000, "cannot read"),
        ("/dev/zero", "a device"),
    ):
        with pytest.raises(CheckpointError, match=what):
            finishes(partial(READER.read_bytes, tmp_path / name))  # no pipe waits for a writer
    server.close()
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert READER.read_bytes(tmp_path / "link") == b"abc"


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert READER.read_bytes(path, 5) == b"12345"
    for read in (READER.read_bytes, READER.read_object):
        with pytest.raises(CheckpointError, match="longer than 4 bytes"):
            read(path, 4)
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a hole: nothing of it is on disk, nothing of it is read
    with pytest.raises(CheckpointError, match="longer than 1048576 bytes"):
        READER.read_object(path)


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    (tmp_path / "file").write_text(text)
    for read in (READER.open, READER.read_bytes, READER.read_object):
        with pytest.raises(CheckpointError, match=r"Git LFS pointer.*`git lfs pull`"):
            read(tmp_path / "file")
    (tmp_path / "file").write_text(text[1:])
    assert READER.read_bytes(tmp_path / "file") == text[1:].encode()


def test_a_web_page_saved_in_a_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("\n<!DOCTYPE html>\n<html></html>")
    with pytest.raises(CheckpointError, match=r"not JSON.*web page: download the file itself"):
        READER.read_object(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' occurs twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity is not a JSON number"),
        ('{"a": 123456789012345678901}', "is too long"),
        ('{"a": -0}', "-0 is not a whole number"),
        ('{"a": "\\ud800"}', "not UTF-8"),
        ('{"\\ud800": 1}', "not UTF-8"),
        ('{"a": "\xff"}', "not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "not a JSON object but list"),
        ("{'a': 1}", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_strict_json(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"card.json.*{message}"):
        READER.parse_object(text.encode("latin-1"), "card.json")
    assert READER.parse_object(b'{"a": [1, 2.5, null, "\xc3\xa9"]}', "") == {
        "a": [1, 2.5, None, "é"]
    }


def test_links_and_names_that_lead_out(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    away.write_text("text")
    (home / "in").write_text("text")
    (home / "to-in").symlink_to("in")
    (home / "to-away").symlink_to(away)
    assert READER.inside(home, "to-in") == home / "to-in"
    assert READER.inside(home, "absent") == home / "absent"
    for name in ("to-away", "../away", "a/../../away", str(away), "C:\\x", "..\\away", "", "a\0"):
        with pytest.raises(CheckpointError, match="leads out"):
            READER.inside(home, name)
    ends: list[tuple[Path, Path]] = []
    READER.inside(home, "to-away", allows=lambda *pair: ends.append(pair) or True)
    assert ends == [(away.resolve(), home.resolve())]


# --- writing -------------------------------------------------------------------------------------


def test_a_file_is_replaced_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"one")
    path.chmod(0o640)
    write_file(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640  # who may read it stays as it was
    (tmp_path / "link").symlink_to("file")
    write_file(tmp_path / "link", b"three")
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == b"three"
    with new_file(path):
        pass  # nothing was written
    assert path.read_bytes() == b"three"

    def fail() -> None:
        with new_file(path) as partial:
            partial.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"three"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "link"]


def test_only_files_are_written_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, what in ((".", "it is a folder: name a file"), ("pipe", "a device or a pipe")):
        with pytest.raises(InputError, match=what):
            write_file(tmp_path / name, b"x")
    with pytest.raises(InputError, match="a device or a pipe"):
        write_file("/dev/null", b"x")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("room", [0, 1, 7])
def test_a_full_disk_leaves_what_was_there(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "file", b"old")
    with new_folder(tmp_path / "folder", anything) as partial:
        (partial / "a").write_bytes(b"old")
    message = r"cannot write .*No space left.*make room.*what was there before is unchanged"

    def file(name: str) -> None:
        write_file(tmp_path / name, b"new content")

    def folder(name: str) -> None:
        with new_folder(tmp_path / name, anything) as partial:
            (partial / "a").write_bytes(b"")
            (partial / "b").write_bytes(b"new content")

    for write, name in ((file, "file"), (file, "new"), (folder, "folder"), (folder, "another")):
        with monkeypatch.context() as patch:
            FullDisk(room, patch)
            with pytest.raises(InputError, match=message) as caught:
                write(name)
        assert f"{tmp_path / name}:" in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [each.read_bytes() for each in (tmp_path / "folder").iterdir()] == [b"old"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("exchange", [True, False], ids=["one step", "two steps"])
def test_a_folder_is_replaced(
    exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:  # a system without the call
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    for content in ("one", "two"):
        with new_folder(tmp_path / "a" / "folder", anything) as partial:
            (partial / "deep").mkdir()
            (partial / "deep" / content).write_text(content)
    names = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))]
    assert names == ["a", "a/folder", "a/folder/deep", "a/folder/deep/two"]

    def ours(folder: Path) -> None:
        raise InputError(f"{folder} is not ours")

    with pytest.raises(InputError, match="not ours"), new_folder(tmp_path / "a" / "folder", ours):
        pytest.fail("the block ran")
    with new_folder(tmp_path / "new", ours):
        pass


def test_all_is_on_disk_before_the_names_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def synced(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    needs("/proc")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", lambda a, b: (events.append("RENAME"), rename(a, b)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (events.append("RENAME"), replace(a, b)))
    with new_folder(tmp_path / "folder", anything) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "numbers.safetensors").write_bytes(b"x")
        (partial / "vocab.json").write_bytes(b"x")
    own = f".folder.{os.getpid()}.partial"
    before = events[: events.index("RENAME")]
    assert sorted(before) == sorted([own, "inner", "numbers.safetensors", "vocab.json"])
    assert before.index("inner") > before.index("numbers.safetensors")
    assert events[len(before) :] == ["RENAME", tmp_path.name]
    events.clear()
    write_file(tmp_path / "file", b"x")
    assert events == [f".file.{os.getpid()}.partial", "RENAME", tmp_path.name]


WRITER = """if True:
    import itertools, sys
    from pathlib import Path
    from pellucid.files import new_folder, write_file
    home = Path(sys.argv[1])
    print("ready", flush=True)
    for number in itertools.count():
        content = b"%d" % number * 4000
        write_file(home / "file", content)
        with new_folder(home / "folder", lambda _: None) as partial:
            for name in "abc":
                (partial / name).write_bytes(content)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9: each name holds one whole content, old or new; leftovers are swept."""

    def whole(content: bytes) -> bool:
        return len(content) % 4000 == 0 and content == content[: len(content) // 4000] * 4000

    def check() -> None:
        if (tmp_path / "file").exists():
            assert whole((tmp_path / "file").read_bytes())
        if (tmp_path / "folder").exists():
            contents = [(tmp_path / "folder" / name).read_bytes() for name in "abc"]
            assert len(set(contents)) == 1
            assert whole(contents[0])

    kill_often(WRITER, tmp_path, 8, check)
    write_file(tmp_path / "file", b"x")
    with new_folder(tmp_path / "folder", anything):
        pass
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_a_writer_that_still_runs_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / f".file.{os.getppid()}.partial").write_text("another's work")
    (tmp_path / ".file.999999999.partial").write_text("left by one that is gone")
    (tmp_path / ".file.999999998.partial").mkdir()
    (tmp_path / ".file.x.partial").write_text("no writer's")
    write_file(tmp_path / "file", b"x")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        f".file.{os.getppid()}.partial",
        ".file.x.partial",
        "file",
    ]


def test_a_reader_sees_one_content_or_the_other(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", [b"a" * 100_000, b"b" * 50_000]
    write_file(path, contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                write_file(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert {READER.read_bytes(path) for _ in range(300)} <= set(contents)
    finally:
        stop.set()
        writer.join()
