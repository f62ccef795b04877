"""Sections as one self-contained HTML document, and as rich output in a notebook.

Python hands over the numbers, web/ draws them. Nothing is fetched: scripts and styles stand in the
document, and its own policy forbids any request. A notebook gets the same document in a frame of
its own, so that several cannot clash, whether or not the notebook runs scripts in its outputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .. import web
from ..visible import as_seen
from .packing import Budget
from .pictures import Section

__all__ = ["FRAGMENT_BYTES", "PAGE_BYTES", "content", "document", "document_of", "fragment"]

PAGE_BYTES = 8 << 20  # of numbers, before base64
FRAGMENT_BYTES = 4 << 20  # marimo shows outputs of up to 8 MB
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def document(sections: Sequence[Section], *, title: str = "Pellucid", subtitle: str = "") -> str:
    """One HTML document that shows the sections, one after another, anywhere and offline.

    Of what is large it holds at most PAGE_BYTES of numbers; what was left out, and how to get it,
    is said on the page. subtitle: beside the title, such as the model that was asked.
    """
    return _document(sections, title, PAGE_BYTES, subtitle=subtitle, embedded=False)


def fragment(sections: Sequence[Section], *, title: str) -> str:
    """The same for a notebook's output: a frame that holds a whole document.

    Its lines are joined, because marimo joins them (which is why web/ has no // comments).
    """
    whole = _document(sections, title, FRAGMENT_BYTES, embedded=True)
    return (
        f'<iframe title="Pellucid: {escape(title)}" loading="lazy" '
        'style="width:100%;height:420px;border:0;color-scheme:normal" '
        f'srcdoc="{escape(whole).replace(chr(10), "&#10;")}"></iframe>'
    )


def content(
    sections: Sequence[Section],
    *,
    title: str = "Pellucid",
    subtitle: str = "",
    n_bytes: int = PAGE_BYTES,
) -> dict[str, Any]:
    """What a page draws, for JSON: the sections with their arrays as base64, at most n_bytes of
    numbers before that, and the glyphs that stand for characters which could not be seen."""
    return {
        "title": title,
        "subtitle": subtitle,
        "glyphs": as_seen(),
        "sections": _packed(sections, n_bytes),
    }


def document_of(known: Mapping[str, Any], *, title: str, script: str, styles: Sequence[str]) -> str:
    """One HTML document around what a script of web/ draws. known: what it reads, for JSON.
    script, styles: by their paths within web/."""
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    # A lone surrogate, from half a character, cannot be written as UTF-8.
    text = text.encode("utf-8", "replace").decode()
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            *(f"<style>{web.text(style)}</style>" for style in styles),
            '<body><main id="main"><noscript>This page draws its pictures with JavaScript, all '
            "of it inside this file: please allow it.</noscript></main>",
            f'<script type="application/json" id="content">{text}</script>',
            f'<script type="module">{web.joined(script)}</script>',
            "</html>",
            "",
        )
    )


def _document(
    sections: Sequence[Section], title: str, n_bytes: int, *, subtitle: str = "", embedded: bool
) -> str:
    known = content(sections, title=title, subtitle=subtitle, n_bytes=n_bytes)
    return document_of(
        known | {"embedded": embedded},
        title=title,
        script="page/page.js",
        styles=("page/page.css",),
    )


def _packed(sections: Sequence[Section], n_bytes: int) -> list[dict[str, Any]]:
    """In their order; what takes the room that is left is packed last."""
    budget = Budget(n_bytes)
    order = sorted(range(len(sections)), key=lambda i: sections[i].flexible)
    packed = {i: sections[i].to_dict(budget) for i in order}
    return [packed[i] for i in range(len(sections))]
