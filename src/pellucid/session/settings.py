"""/set: any setting of the replies, as a person types it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..visible import on_one_line

if TYPE_CHECKING:
    from ..chat import Conversation
    from ..tokenizer import Tokenizer

__all__ = ["change", "listed"]

_WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_WHOLE = ("top_k", "max_tokens", "alternatives", "n_ctx", "seed")
_NONE = "none"


def listed(conversation: Conversation, name: str = "") -> dict[str, str]:
    """Name -> value of every setting, or of one, as `change` takes them. Raises InputError for a
    name that is none."""
    known, tokenizer = conversation.settings.flat(), conversation.gpt.tokenizer
    if name:
        _check(name, known)
        known = {name: known[name]}
    return {each: _shown(each, value, tokenizer) for each, value in known.items()}


def change(conversation: Conversation, name: str, text: str) -> None:
    """Set one setting from what was typed. Raises InputError for a name or a value that is none."""
    _check(name, conversation.settings.flat())
    value = _value(name, text, conversation.gpt.tokenizer)
    conversation.settings = conversation.settings.changed(**{name: value})


def _check(name: str, known: Collection[str]) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"there is no setting {name!r}; {hint}")


def _value(name: str, text: str, tokenizer: Tokenizer) -> Any:
    if name == "greedy":
        if text.lower() not in _WORDS:
            raise InputError(f"greedy must be yes or no, not {text!r}")
        return _WORDS[text.lower()]
    if text.lower() == _NONE:
        return () if name == "stop" else None
    if name == "stop":
        return _texts(text)
    if name == "stop_tokens":
        return [_token(part, tokenizer) for part in text.replace(",", " ").split()]
    kind, what = (int, "a whole number") if name in _WHOLE else (float, "a number")
    try:
        return kind(text)
    except ValueError as error:
        raise InputError(f"{name} must be {what} or {_NONE}, not {text!r}") from error


def _texts(text: str) -> str | list[str]:
    """Itself, or as JSON, which can write a line's end."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    several = value if isinstance(value, list) else [value]
    return several if all(isinstance(each, str) for each in several) else text


def _token(text: str, tokenizer: Tokenizer) -> int:
    if text in tokenizer.special_tokens:
        return tokenizer.special_tokens[text]
    if (number := re.fullmatch(r"#?(\d{1,9})", text)) and int(number[1]) < tokenizer.n_vocab:
        return int(number[1])
    special = ", ".join(tokenizer.special_tokens)
    raise InputError(f"{text!r} is no token; write #id, or one of {special}")


def _shown(name: str, value: Any, tokenizer: Tokenizer) -> str:
    if value is None or value == []:
        return _NONE
    if name == "stop":
        return json.dumps(value, ensure_ascii=False)
    if name == "stop_tokens":
        special = {token: text for text, token in tokenizer.special_tokens.items()}
        return " ".join(special.get(token, f"#{token}") for token in value)
    return on_one_line(("no", "yes")[value] if isinstance(value, bool) else f"{value:g}")
