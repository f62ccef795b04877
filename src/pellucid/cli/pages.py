"""One HTML file for a browser: of sections, or of what has a page of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..draw.pictures import Section
    from ..gpt import GPT
    from ..translate import Translator

__all__ = ["write_html", "write_page"]


def write_page(
    path: str, find: Callable[[], list[Section]], title: str, model: GPT | Translator | None
) -> None:
    """One HTML page about a model. `find` runs only once the file can be written."""
    from ..draw.document import document

    subtitle = f"model {model.name}, {model.hparams.n_params:,} parameters" if model else ""
    write_html(path, lambda: document(find(), title=title, subtitle=subtitle))


def write_html(path: str, page: Callable[[], str]) -> None:
    """`page` runs only once the file can be written."""
    from ..files import new_file

    with new_file(path) as partial:
        partial.write_bytes(page().encode())
