"""Conversations kept in one SQLite file: a tree of messages, and every token of every reply."""

from __future__ import annotations

from .exports import line, markdown, read_lines
from .place import HOME, store_path
from .records import Alternative, Generated, Head, Hit, Message, Token, Tree, new_id
from .store import Store

__all__ = [
    "HOME",
    "Alternative",
    "Generated",
    "Head",
    "Hit",
    "Message",
    "Store",
    "Token",
    "Tree",
    "line",
    "markdown",
    "new_id",
    "read_lines",
    "store_path",
]
