"""A file of texts, whatever its ending -> its characters, block by block.

Plain or compressed; UTF-8, or UTF-16 and UTF-32 where the first bytes show it; with a byte order
mark or without; every kind of line end becomes "\\n".
"""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import hashlib
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import InputError

__all__ = [
    "ENDINGS",
    "PARQUET",
    "ROWS",
    "ROW_ENDINGS",
    "TEXT",
    "BadDocument",
    "File",
    "OnRead",
    "blocks",
    "check_encoding",
    "find_files",
    "kind",
    "lines",
    "reading",
    "sha256",
]

TEXT = ("", ".txt", ".md")
PARQUET = ".parquet"
ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", PARQUET)
ROW_ENDINGS = "*.jsonl, *.json, *.csv, *.tsv (also .gz, .bz2, .xz, .zst) or *.parquet"
ENDINGS = f"*.txt, *.md, {ROW_ENDINGS}"

OnRead = Callable[[int], None]  # told how many of a file's bytes on disk were read

BLOCK = 1 << 20  # bytes read at a time
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_MARKS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # how a byte that is none is kept (PEP 383)


# Folders that hold no texts, though they hold files of rows: by what is in them.
_MADE = {
    "a tokenised corpus": ("card.json", "train.ids"),
    "a training run": ("config.toml", "checkpoints"),
    "a model": ("config.json", "model.safetensors"),
    "what pellucid batch wrote": ("_job.json",),
}


class BadDocument(InputError):
    """A document that cannot be read, where the next one still can."""


class File(NamedTuple):
    """name: its path below the folder that was given, without that folder's own."""

    path: Path
    name: str
    size: int  # bytes on disk

    @property
    def kind(self) -> str:
        return kind(self.path)


def kind(path: str | os.PathLike[str]) -> str:
    """The ending under that of a compression, in small letters: "a.JSONL.gz" -> ".jsonl" """
    path = Path(path)
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def find_files(texts: Iterable[str | os.PathLike[str]], without: Path | None = None) -> list[File]:
    """Files, folders (all below them, hidden ones left out) and globs -> files, each once.

    without: a folder in which nothing is looked for. Of a folder only files of known endings
    are taken, and none of the corpora, runs and models that were made in it. Raises InputError
    for what does not exist, holds nothing, has another ending, or is itself such a corpus.
    """
    files: dict[Path, File] = {}
    for text in texts:
        name = os.fspath(text)
        folder = Path(name)
        if folder.is_dir():
            if made := _made(folder):
                raise InputError(f"{name} is {made}: give the texts that are to be read")
            paths = sorted(_below(folder, without))
        elif folder.exists():
            paths = [folder]
        else:
            paths = sorted(Path(match) for match in glob.glob(name, recursive=True))
            paths = [path for path in paths if path.is_file()]
        if not paths:
            what = "holds no text" if folder.is_dir() else "does not exist"
            raise InputError(f"{name} {what}: give files, folders or globs of {ENDINGS}")
        for path in paths:
            below = path.relative_to(folder).as_posix() if folder.is_dir() else path.name
            files.setdefault(path.resolve(), File(path, below, path.stat().st_size))
    for file in files.values():
        if not file.path.is_file():
            raise InputError(f"{file.path} is no file")
        if file.kind not in (*TEXT, *ROWS):
            raise InputError(f"{file.path}: {file.kind} is not read; give {ENDINGS}")
    return list(files.values())


def _below(folder: Path, without: Path | None) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        inner = [(name, Path(root, name)) for name in folders if not name.startswith(".")]
        folders[:] = [
            name
            for name, path in inner
            if not _made(path) and (without is None or path.resolve() != without.resolve())
        ]
        for path in (Path(root, name) for name in names if not name.startswith(".")):
            if kind(path) and kind(path) in (*TEXT, *ROWS) and path.is_file():
                yield path


def _made(folder: Path) -> str | None:
    """What a folder is where it holds no texts."""
    for what, names in _MADE.items():
        if all((folder / name).exists() for name in names):
            return what
    return None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# From bytes to characters


def blocks(path: Path, on_read: OnRead | None = None) -> Iterator[str]:
    """The characters of a file, in blocks that are not empty.

    A byte that is not UTF-8 is kept as a lone surrogate, for `check_encoding` to name its line.
    Raises InputError when the file cannot be read, BadDocument when it is UTF-16 in its first
    bytes and not in later ones.
    """
    with reading(path), path.open("rb") as raw, _opened(path, raw) as plain:
        block = plain.read(4)
        encoding = _encoding(block)
        errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
        decode = codecs.getincrementaldecoder(encoding)(errors)
        decoder = io.IncrementalNewlineDecoder(decode, translate=True)
        line, more = 1, True
        while more:
            more = bool(block)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                name = encoding.upper()
                raise BadDocument(f"{path}, line {line} or soon after is not {name}") from error
            line += text.count("\n")
            if on_read is not None:
                on_read(raw.tell())
            if text:
                yield text
            block = plain.read(BLOCK) if more else b""


def _encoding(head: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) == 4:  # without a mark: JSON's rule (RFC 4627, section 3)
        zeros = tuple(byte == 0 for byte in head)
        if zeros == (False, True, False, True):
            return "utf-16-le"
        if zeros == (True, False, True, False):
            return "utf-16-be"
    return "utf-8-sig"


def lines(blocks: Iterable[str]) -> Iterator[str]:
    """A text in any blocks -> its lines, without their ends."""
    waiting = list[str]()
    for block in blocks:
        first, *others = block.split("\n")
        waiting.append(first)
        if others:
            yield "".join(waiting)
            yield from others[:-1]
            waiting = [others[-1]]
    if last := "".join(waiting):
        yield last


def check_encoding(text: str, path: Path, line: int) -> None:
    """Raises BadDocument when the text, which begins at that line, holds what was not UTF-8."""
    if text.isascii():
        return
    if match := _NOT_UTF_8.search(text):
        line += text.count("\n", 0, match.start())
        byte = ord(match[0]) - 0xDC00
        raise BadDocument(f"{path}, line {line} is not UTF-8 text: byte {byte:#04x}")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong with a file's bytes becomes an InputError that names it."""
    wrong = EOFError, lzma.LZMAError, zlib.error, OSError, _zstandard_error()
    try:
        yield
    except wrong as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"cannot read {path}: {reason}") from error


def _opened(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """The uncompressed bytes of an open file."""
    suffix = path.suffix.lower()
    if suffix not in _COMPRESSED:
        return raw
    if suffix == ".zst":
        return _zstandard(path, raw)
    modules: dict[str, Any] = {".gz": gzip, ".bz2": bz2, ".xz": lzma}
    plain: IO[bytes] = modules[suffix].open(raw)
    return plain


def _zstandard(path: Path, raw: IO[bytes]) -> IO[bytes]:
    plain: IO[bytes]
    try:
        plain = import_module("compression.zstd").open(raw)  # Python's own, from 3.14 on
    except ImportError:
        try:
            plain = import_module("pyarrow").CompressedInputStream(raw, "zstd")
        except ImportError as error:
            raise InputError(
                f'{path}: .zst needs pyarrow: pip install "pellucid[train]"; or zstd -d {path} '
                f"({error})"
            ) from error
    return plain


def _zstandard_error() -> type[Exception]:
    """Of Python's own module; pyarrow raises OSError."""
    try:
        error: type[Exception] = import_module("compression.zstd").ZstdError
    except ImportError:
        return OSError
    return error
