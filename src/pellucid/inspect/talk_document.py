"""The talk as one HTML page: its frames, one at a time, on a small model that runs in the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..draw.document import document_of
from .walk_document import first_walk

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["talk_page"]

_TITLE = "Neural Networks and Transformers"


def talk_page(gpt: GPT) -> str:
    """One HTML document to give the talk from: full screen, arrow keys, notes and clock in a
    second window; another text may be typed at any frame. It needs no server.

    Raises InputError for a model that a page cannot run (`machine`).
    """
    return document_of(
        {"title": _TITLE, **first_walk(gpt)},
        title=_TITLE,
        script="talk/main.js",
        styles=("page/page.css", "walk/walk.css", "talk/talk.css"),
    )
