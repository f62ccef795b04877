"""Which store of conversations: an option that several verbs share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError, StoreError
from ..visible import on_one_line
from .output import note

if TYPE_CHECKING:
    from ..conversations import Head, Store
    from ..tokenizer import Tokenizer
    from ..transcript import Transcript

__all__ = ["named", "open_store", "store_option", "transcript_named"]

_FILES = (".json", ".jsonl")  # how the file of a conversation ends

store_option = click.option(
    "--store",
    metavar="PATH",
    type=click.Path(dir_okay=False),
    help="The file of the kept conversations (default: conversations.db in $PELLUCID_HOME, or in "
    "the system's folder for your data).",
)


def open_store(path: str | None, *, create: bool = False) -> Store:
    """Raises StoreError for one that cannot be opened."""
    from ..conversations import Store

    return Store.open(path, create=create)


def transcript_named(text: str, tokenizer: Tokenizer) -> Transcript | None:
    """The conversation whose file this is, as /save wrote it; or whose id this is, or begins, in
    the person's own store. None where it is neither, which is said where it looks like an id.

    Raises InputError for a file that is not there, or another tokenizer's."""
    if text.endswith(_FILES) and Path(text).is_file():
        from ..transcript import Transcript

        return Transcript.read(text, tokenizer)
    if text.endswith(_FILES) and not any(map(str.isspace, text)):
        raise InputError(f"there is no file {text}: --chat takes what /save wrote")
    if not re.fullmatch(r"[0-9a-f]{4,16}", text):
        return None
    from ..conversations import Store, store_path
    from ..conversations.keeper import transcript_of

    if not store_path().is_file():
        return None
    with Store.open(create=False) as store:
        try:
            head = store.find(text)
        except InputError as error:  # none, or several
            note(f"Taken as what a user says: {error}")
            return None
        note(f"About the conversation {head.id[:8]}, “{on_one_line(head.title)}”")
        return transcript_of(store.tree(head.id), tokenizer)


def named(store: Store, id: str | None) -> Head:
    """The one of this id, or beginning of it; without, the newest. Raises InputError, StoreError
    where there is none."""
    head = store.find(id) if id else store.newest()
    if head is None:
        raise StoreError(f"no conversation is kept yet in {store.path}")
    return head
