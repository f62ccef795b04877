"""Reading what strangers wrote, and writing whole or not at all.

Reading is bounded and strict: a regular file, no longer than it may be, JSON that every reader
takes alike. Writing goes to a second name beside the first, waits until the content is on disk,
and then changes the names: whatever happens meanwhile, the old content or the new one is there.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO, NoReturn

from .errors import InputError, PellucidError

__all__ = ["MOST_BYTES", "Reader", "new_file", "new_folder", "write_file"]

MOST_BYTES = 1 << 20  # GPT-2 XL's index has 60 KB; a MiB of brackets stays below 50 MB of memory

# --- reading -----------------------------------------------------------------------------------

_LFS = b"version https://git-lfs.github.com/spec/"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # UTF-8 itself holds none
_DIGITS_AS_0 = bytes.maketrans(b"123456789", b"0" * 9)
_KINDS = {
    stat.S_IFDIR: "a folder: name a file in it",
    stat.S_IFIFO: "a pipe: save what comes through it to a file first",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads files that anyone may have made.

    error: the class of every error; each names the file, what is wrong and what to do.
    """

    error: type[PellucidError] = InputError

    def open(self, path: Path) -> BinaryIO:
        """A regular file, opened for reading bytes, at its begin.

        Refuses a folder, a pipe, a device, and the pointer that Git LFS leaves for a large file.
        """
        try:
            # Without O_NONBLOCK a pipe put in a file's place would wait for a writer for ever.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags)
        except (OSError, ValueError) as error:
            raise self.error(f"cannot read {path}: {_reason(error)}") from error
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            os.close(descriptor)
            what = _KINDS.get(kind, "something else")
            raise self.error(f"{path} is not a regular file but {what}")
        file = os.fdopen(descriptor, "rb")
        try:
            if file.read(len(_LFS)) == _LFS:
                raise self.error(
                    f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in its "
                    "folder, or download the file again"
                )
            file.seek(0)
        except OSError as error:
            file.close()
            raise self.error(f"cannot read {path}: {_reason(error)}") from error
        except PellucidError:
            file.close()
            raise
        return file

    def read_bytes(self, path: Path, most: int = MOST_BYTES) -> bytes:
        """The whole of a regular file of at most `most` bytes."""
        with self.open(path) as file:
            try:
                data = file.read(most + 1)
            except OSError as error:
                raise self.error(f"cannot read {path}: {_reason(error)}") from error
        if len(data) > most:
            raise self.error(
                f"{path} is longer than {most} bytes, and no such file needs that: "
                "is it the one you mean?"
            )
        return data

    def read_object(self, path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
        """The JSON object in a file of at most `most` bytes, parsed as `parse_object` does."""
        return self.parse_object(self.read_bytes(path, most), str(path))

    def parse_object(self, data: bytes, source: str, digits: int = 20) -> dict[str, Any]:
        """The JSON object that `data` holds. source: what an error calls it.

        Refused beyond what `json` refuses: a key twice, NaN and Infinity, whole numbers of more
        than so many digits, -0, strings that are not Unicode (a lone surrogate), and all but an
        object.
        """

        # Most files hold nothing of which these rules make an error, and are parsed all in C.
        surrogates, plain_numbers = _SURROGATE.search(data), _has_plain_numbers(data)

        def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
            table = dict(items)
            if len(table) != len(items):
                seen: set[str] = set()
                twice = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
                raise self.error(f"{source}: the key {_short(twice)} occurs twice")
            for key, value in items if surrogates else ():
                key.encode()
                if isinstance(value, str):
                    value.encode()
            return table

        def whole(text: str) -> int:
            if len(text) > digits:
                raise self.error(f"{source}: the number {text[:20]}... is too long")
            if text == "-0":  # a whole number to Python, a fraction to the format's own reader
                raise self.error(f"{source}: -0 is not a whole number")
            return int(text)

        def constant(name: str) -> NoReturn:
            raise self.error(f"{source}: {name} is not a JSON number")

        try:
            value = json.loads(
                data.decode("utf-8"),
                object_pairs_hook=pairs,
                parse_int=None if plain_numbers else whole,
                parse_constant=constant,
            )
        except UnicodeError as error:
            raise self.error(f"{source} is not UTF-8 text: {error}") from error
        except RecursionError as error:
            raise self.error(f"{source} is nested too deeply") from error
        except json.JSONDecodeError as error:
            page = data.lstrip()[:9].lower() in (b"<!doctype", b"<html>")
            hint = "; it is a web page: download the file itself" if page else ""
            raise self.error(f"{source} is not JSON: {error}{hint}") from error
        if not isinstance(value, dict):
            raise self.error(f"{source} is not a JSON object but {type(value).__name__}")
        return value

    def inside(
        self,
        root: Path,
        name: str,
        *,
        allows: Callable[[Path, Path], bool] | None = None,
    ) -> Path:
        """The file `name` of folder `root`; refuses a path or a link that leads out of `root`.

        allows: (where a link ends, the folder), both resolved -> whether it may lead there.
        """
        windows = PureWindowsPath(name)
        if (
            not name
            or "\0" in name
            or windows.anchor  # C:, C:\, \\server, and the bare \ that is_absolute passes over
            or ".." in windows.parts  # takes / and \ for separators: both are refused everywhere
        ):
            raise self.error(f"{root}: file name {name!r} leads out of the model's folder")
        path = root / name
        try:
            target, home = path.resolve(), root.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long
            raise self.error(f"{root}: file name {name!r} cannot be followed: {error}") from error
        if not (target.is_relative_to(home) or (allows is not None and allows(target, home))):
            raise self.error(f"{path} is a link that leads out of the model's folder")
        return path


def _has_plain_numbers(data: bytes) -> bool:
    """Whether nothing in a JSON text can be -0 or a whole number of more than 20 digits."""
    return b"-0" not in data and b"0" * 20 not in data.translate(_DIGITS_AS_0)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


# --- writing -----------------------------------------------------------------------------------

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # macOS sys/stdio.h


def write_file(
    path: str | os.PathLike[str], data: bytes, *, error: type[PellucidError] | None = InputError
) -> None:
    """Write a file that is there whole or not at all, as `new_file` does; an earlier one there is
    replaced."""
    with new_file(path, error=error, empty=True) as partial:
        partial.write_bytes(data)


@contextmanager
def new_file(
    path: str | os.PathLike[str],
    *,
    error: type[PellucidError] | None = InputError,
    empty: bool = False,
) -> Iterator[Path]:
    """Yields an empty file beside `path` to write; when the block ends well, and wrote something,
    it takes the place of `path`. empty: also where nothing was written.

    Tried before the block runs, so that no work is lost for a folder that is not there. When the
    block fails, or the machine stops, what `path` was stays what it was. Raises `error` when the
    file cannot be written (disk full, no permission, not a file). error: None lets OSErrors pass,
    for a file inside `new_folder`, which names the folder that the person asked for.
    """
    try:
        _check_name(path)
        target = Path(path).resolve()  # a link to a file stays a link
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder: name a file")
        if target.exists() and not target.is_file():
            raise FileExistsError(
                errno.EEXIST, "it is a device or a pipe, and would be replaced: name a file"
            )
        partial = _partial(target)
        _sweep(target)
        try:
            partial.touch()
            yield partial
            if empty or partial.stat().st_size:
                if target.exists():
                    partial.chmod(stat.S_IMODE(target.stat().st_mode))
                _sync(partial)
                partial.replace(target)
                _sync(target.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as problem:
        if error is None:
            raise
        raise error(_unwritten(path, problem)) from problem


@contextmanager
def new_folder(
    target: Path, may_replace: Callable[[Path], None], *, error: type[PellucidError] = InputError
) -> Iterator[Path]:
    """Yields an empty folder to fill; when the block ends well it takes the place of `target`.

    The content is on disk before the name is. When the block fails, or the machine stops, what
    `target` was stays what it was. may_replace: raises when the existing folder is not ours.
    Raises `error` when the folder cannot be written (disk full, no permission).
    """
    try:
        _check_name(target)
        target = target.resolve()  # a link to a folder stays a link
        partial = _partial(target)
        if target.exists():
            may_replace(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        partial.mkdir()
        try:
            yield partial
            for folder, _, names in os.walk(partial, topdown=False):
                for name in names:
                    _sync(Path(folder, name))
                _sync(Path(folder))
            if target.exists():
                _exchange(partial, target)
            else:
                partial.rename(target)
            _sync(target.parent)
        finally:
            # Holds the half-written new folder, or after the exchange the old one.
            _remove_folder(partial)
    except OSError as problem:
        raise error(_unwritten(target, problem)) from problem


def _check_name(path: str | os.PathLike[str]) -> None:
    """Raises OSError for a name that no file can have here."""
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError as problem:
        what = "its name has characters that the locale here cannot write"
        raise OSError(errno.EILSEQ, what) from problem
    if b"\0" in name:
        raise OSError(errno.EINVAL, "its name holds a null character")


def _unwritten(path: str | os.PathLike[str], problem: OSError) -> str:
    remedy = {
        errno.ENOSPC: "make room or choose another place; ",
        errno.EDQUOT: "make room or choose another place; ",
        errno.EACCES: "choose a place where you may write; ",
        errno.EROFS: "choose a place where you may write; ",
        errno.ENOENT: "make its folder first; ",
    }.get(problem.errno or 0, "")
    return (
        f"cannot write {path}: {problem.strerror or problem}; {remedy}"
        "what was there before is unchanged"
    )


def _partial(target: Path) -> Path:
    return target.parent / f".{target.name}.{os.getpid()}.partial"


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk."""
    windows = os.name == "nt"
    if windows and path.is_dir():  # it cannot open folders; its renames are logged by NTFS
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Swap the names of two folders in one step, so that `old`'s name is never absent."""
    import ctypes

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = libc.renamex_np(os.fsencode(new), os.fsencode(old), _RENAME_SWAP)
        else:
            failed = libc.renameat2(
                _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE
            )
    except (AttributeError, OSError, TypeError):  # no such call on this system
        failed = -1
    if not failed:
        return
    # Two steps: a crash between them leaves the previous folder under its second name.
    previous = new.with_suffix(".previous")
    old.rename(previous)
    try:
        new.rename(old)
    except OSError:
        previous.rename(old)
        raise
    previous.rename(new)


def _sweep(target: Path) -> None:
    """Remove what writers that no longer run have left half-written."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.([0-9]+)\.partial")
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if not match or (int(match[1]) != os.getpid() and _runs(int(match[1]))):
            continue
        if path.is_dir():
            _remove_folder(path)
        else:
            path.unlink(missing_ok=True)


def _remove_folder(path: Path) -> None:
    import shutil  # with three compressors: not for those who only read

    shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    if os.name == "nt":  # there, os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True
