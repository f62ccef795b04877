"""A conversation as a file: what was said, how it was generated, and the very ids of every reply.

One JSON object. Its "messages" are those that the field writes, role and content, so that others
can read them too (`pellucid data` does); beside a reply's content stand its ids, the ids that it
was generated from and its seed. The tokenizer's fingerprint says to which models these mean
something.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .files import Reader, write_file
from .sequence import Settings

if TYPE_CHECKING:
    import os

    from .tokenizer import Tokenizer

__all__ = ["FORMAT", "Reply", "Transcript", "Turn"]

FORMAT = "pellucid conversation 1"
_OLDER = (
    "one saved before 2026-11-26 says so of the very model too, where its texts have rules of "
    'their own: where you know that it is the same, write into it "tokenizer":'
)
_KEYS = {"format", "model", "tokenizer", "template", "settings", "messages"}
_MOST_BYTES = 1 << 26
_READER = Reader(error=InputError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model said. text: as it was shown. ids: as they were generated, the token that ended
    it included. prompt: what it was generated from; empty where that is not known."""

    text: str
    ids: tuple[int, ...]
    prompt: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a person said, and the reply to it, or None."""

    message: str
    reply: Reply | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """model: its name, for a reader. tokenizer: its fingerprint. template: the name of the chat
    template. settings: of the next reply. system: the text at the beginning, or None."""

    model: str
    tokenizer: str
    template: str
    settings: Settings
    system: str | None
    turns: tuple[Turn, ...]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it, whole or not at all. Raises InputError where that cannot be."""
        messages: list[dict[str, Any]] = []
        if self.system:
            messages.append({"role": "system", "content": self.system})
        for turn in self.turns:
            messages.append({"role": "user", "content": turn.message})
            if turn.reply is not None:
                messages.append(
                    {
                        "role": "assistant",
                        "content": turn.reply.text,
                        "ids": list(turn.reply.ids),
                        "prompt": list(turn.reply.prompt),
                        "seed": turn.reply.seed,
                    }
                )
        lines = ",\n".join(f"    {json.dumps(each, ensure_ascii=False)}" for each in messages)
        head = {
            "format": FORMAT,
            "model": self.model,
            "tokenizer": self.tokenizer,
            "template": self.template,
            "settings": self.settings.flat(),
        }
        known = "".join(
            f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n"
            for key, value in head.items()
        )
        text = f'{{\n{known}  "messages": [\n{lines}\n  ]\n}}\n'
        write_file(path, text.encode())

    @classmethod
    def read(cls, path: str | os.PathLike[str], tokenizer: Tokenizer) -> Transcript:
        """From a file that `save` wrote, with a model that has this tokenizer.

        Raises InputError for any other file, and for one whose ids another tokenizer made.
        """
        return cls.of(_READER.read_object(Path(path), _MOST_BYTES), str(path), tokenizer)

    @classmethod
    def of(cls, table: dict[str, Any], path: str, tokenizer: Tokenizer) -> Transcript:
        """From the table that such a file holds. path: what an error calls it. Raises as `read`."""
        if table.get("format") != FORMAT or set(table) != _KEYS:
            raise InputError(
                f"{path} is not a conversation that Pellucid saved (/save FILE in the chat)"
            )
        for key in ("model", "tokenizer", "template"):
            if not isinstance(table[key], str):
                raise InputError(f"{path}: {key} must be a text, not {_short(table[key])}")
        if table["tokenizer"] != tokenizer.fingerprint():
            before = "" if tokenizer.rules.plain else f" ({_OLDER} {tokenizer.fingerprint()})"
            raise InputError(
                f"{path} was saved with {table['model']!r}, whose tokenizer is another than this "
                "model's: its ids would be other words here. Name the model it was saved with"
                + before
            )
        if not isinstance(table["settings"], dict):
            raise InputError(f"{path}: settings must be a table")
        try:
            settings = Settings.of(**table["settings"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if not isinstance(table["messages"], list):
            raise InputError(f"{path}: messages must be a list")
        system, turns = _turns(path, table["messages"], tokenizer)
        return cls(
            model=table["model"],
            tokenizer=table["tokenizer"],
            template=table["template"],
            settings=settings,
            system=system,
            turns=turns,
        )


def _turns(
    path: str, messages: list[Any], tokenizer: Tokenizer
) -> tuple[str | None, tuple[Turn, ...]]:
    """-> (the system text or None, the turns)"""
    system: str | None = None
    turns: list[Turn] = []
    for number, entry in enumerate(messages):
        place = f"{path}: message {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise InputError(f"{place} must have a role and a content, not {_short(entry)}")
        role, text, more = entry.get("role"), entry["content"], set(entry) - {"role", "content"}
        if role == "system" and not number and not more:
            system = text
        elif role == "user" and text and not more:
            turns.append(Turn(message=text, reply=None))
        elif role == "assistant" and turns and turns[-1].reply is None:
            reply = _reply(place, entry, tokenizer)
            turns[-1] = Turn(message=turns[-1].message, reply=reply)
        else:
            raise InputError(f"{place} is out of place: {_short(entry)}")
    return system, tuple(turns)


def _reply(place: str, entry: dict[str, Any], tokenizer: Tokenizer) -> Reply:
    if set(entry) != {"role", "content", "ids", "prompt", "seed"}:
        raise InputError(f"{place} must have ids, prompt and seed beside its content: no more")
    ids = _ids(f"{place}: ids", entry["ids"], tokenizer)
    prompt = () if entry["prompt"] == [] else _ids(f"{place}: prompt", entry["prompt"], tokenizer)
    if type(entry["seed"]) is not int or entry["seed"] < 0:
        raise InputError(f"{place}: seed must be a whole number, not {_short(entry['seed'])}")
    if not tokenizer.decode(ids).startswith(entry["content"]):
        raise InputError(f"{place}: its content is not what its ids say; it was changed by hand")
    return Reply(text=entry["content"], ids=ids, prompt=prompt, seed=entry["seed"])


def _ids(place: str, value: Any, tokenizer: Tokenizer) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{place} must be a list of ids, not {_short(value)}")
    for token in value:
        if type(token) is not int or not 0 <= token < tokenizer.n_vocab:
            raise InputError(f"{place}: {_short(token)} is not in the vocabulary")
    return tuple(value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
