"""Which store of conversations: an option that several verbs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import StoreError

if TYPE_CHECKING:
    from ..conversations import Head, Store

__all__ = ["named", "open_store", "store_option"]

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


def named(store: Store, id: str | None) -> Head:
    """The one of this id, or beginning of it; without, the newest. Raises InputError, StoreError
    where there is none."""
    head = store.find(id) if id else store.newest()
    if head is None:
        raise StoreError(f"no conversation is kept yet in {store.path}")
    return head
