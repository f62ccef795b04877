"""Which template a model's own `chat_template` is, by its text: it is never run.

Such a text is a program in Jinja, as long as its author liked. Those of the models in `tables` are
known by their sha256, with line breaks and comments put into one form and the system text that
ChatML's begin with left out, which then says which of them it is. Any other is unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .tables import TEMPLATES

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer
    from .template import Template

__all__ = ["recognise"]

_SYSTEM = re.compile(r"<\|im_start\|>system\n([^'\"{}<]+)<\|im_end\|>")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)

_BEGUN = ("smollm2", "qwen2", "qwen2.5")

# sha256 of a text as `_form` leaves it -> the templates that it may be, by their tokens.
_FORMS: Mapping[str, tuple[str, ...]] = {
    # ChatML
    "153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3": ("chatml",),
    # ChatML, as trl writes it
    "31e10ce181f9efb8cdd33e5f274d4fea971d91ac59d24817015d7f432bb1f51c": ("chatml",),
    # with a system text: SmolLM2, Qwen1.5 and Qwen2
    "bf0c34b1af07f37d86dd9c6624d1a8d02574b3d3e5c158356534cb7ffa44add3": _BEGUN,
    # Qwen2.5
    "0b13fb322ccd9216b4b6ff11bc10d39f5919ca11ef9ef26b2470497a8dd15fa7": _BEGUN,
    # Qwen3-Instruct-2507
    "aa39eed4cbfdd57aeaab518e83d06945f00df6afefba6eb985b6b85060cade95": ("chatml",),
    # Qwen3, April 2025
    "2df317a15cbc983d9602cc391d33be17237d47ec7eb11ead80fae277143958aa": ("qwen3",),
    # Qwen3
    "edcd73b0e30a780c1d6f3e060c07396def3c3fa55a2c55197b10f99d1dde83e1": ("qwen3",),
    # Llama 3 at first
    "b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2": ("llama3",),
    # Llama 3
    "ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122": ("llama3",),
    # Llama 3.1 and 3.3
    "e46b3c6dcaa379025d2f0442a35402a7a5d22a0e3ba43ea5a74f8d173aba5cdf": ("llama3.1",),
    # Llama 3.2
    "1d9fe0099aacbf9b1697c902eb15bd5b50de32f807791c6f0851d4222b368f3f": ("llama3.1",),
    # Zephyr, TinyLlama, StableLM Zephyr
    "66291cf0045c2425a3a667cf3cbb7af2b11f09e025c02f97245323ab79119362": (
        "zephyr",
        "zephyr-endoftext",
    ),
}


def recognise(text: str, tokenizer: Tokenizer) -> str | None:
    """The name of the template that this `chat_template` is, or None where it is not known, or the
    tokenizer lacks what it writes."""
    for name, template in TEMPLATES.items():  # what Pellucid wrote for other programs
        if template.jinja(tokenizer) == text and _has(tokenizer, template):
            return name
    form, system = _form(text)
    for name in _FORMS.get(hashlib.sha256(form.encode()).hexdigest(), ()):
        template = TEMPLATES[name]
        spoken = system if "<|im_start|>" in template.special else template.system
        if template.system == spoken and _has(tokenizer, template):
            return name
    return None


def _has(tokenizer: Tokenizer, template: Template) -> bool:
    return set(template.special) <= tokenizer.special_tokens.keys()


def _form(text: str) -> tuple[str, str | None]:
    """The text without what differs from copy to copy, and ChatML's first system text."""
    text = text.replace("\r\n", "\n").replace("\\n", "\n")
    text = _COMMENT.sub("", text).strip()
    found = _SYSTEM.search(text)
    if found is None:
        return text, None
    return text.replace(found[1], ""), found[1]
