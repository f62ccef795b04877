"""Which turns are learned, where a file says so of each turn or of a row.

OpenAI, Mistral and OpenChat write "weight", Axolotl "train" or "training", AgentInstruct, xtuner
and ms-swift "loss", torchtune "masked", NeMo a row's "mask". What none of them writes, and looks
like it, is refused: a turn is never learned, or left out, without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .files import BadDocument
from .rows import Row
from .turns import ROLES, short

__all__ = ["ABOUT_ROWS", "check_row", "is_learned"]

_SAYS = {
    **dict.fromkeys(
        ("weight", "train", "training", "trainable", "train_on_turn", "learn", "loss"), True
    ),
    **dict.fromkeys(("mask", "masked"), False),
}
_WORD = re.compile(r"[A-Z]*[a-z]+|[A-Z]+")  # of a name_of_words, or of nameOfWords
_LOOKS_SO = ("train", "learn", "mask", "unmask", "weight", "loss", "ignore")

# Keys of a row that say what of it counts, and how much
ABOUT_ROWS = (
    "weight", "weights", "sample_weight", "mask", "masked", "loss_mask", "completion_mask",
    "assistant_mask", "assistant_masks", "train", "training", "trainable", "loss",
    "train_on_input", "train_on_inputs", "train_on_prompt",
)  # fmt: skip


def is_learned(row: Row, key: str, entry: Any, *, assistant: bool) -> bool | None:
    """Whether the file says of a turn that it is learned; None where it says nothing.

    Raises BadDocument where it says something that cannot be done.
    """
    if not isinstance(entry, Mapping):
        return None
    said: dict[str, bool] = {}
    for name, value in entry.items():
        if value is None or not _looks_so(str(name)):
            continue
        if name not in _SAYS or value not in (0, 1):  # True and False are 1 and 0
            raise BadDocument(
                f'{row.place}: "{name}" of a turn in "{key}" is {short(value)}; '
                + (
                    "it must be 0 or 1"
                    if name in _SAYS
                    else f"what is learned is said by {', '.join(sorted(_SAYS))}: rename it, or "
                    "take it out"
                )
            )
        said[name] = bool(value) == _SAYS[name]
    if len(set(said.values())) > 1:
        raise BadDocument(f'{row.place}: {" and ".join(said)} of a turn in "{key}" disagree')
    learned = next(iter(said.values()), None)
    if learned and not assistant and set(said) - {"weight"}:  # many write 1 into all of them
        raise BadDocument(
            f'{row.place}: "{next(iter(said))}" of a turn in "{key}" says that it is learned; '
            "only the assistant's are: take the key out (--learn-all learns everybody's turns)"
        )
    return learned


def _looks_so(name: str) -> bool:
    return any(word.lower().startswith(_LOOKS_SO) for word in _WORD.findall(name))


def check_row(row: Row) -> None:
    """Raises BadDocument for a conversation's row that is to count otherwise than others."""
    for name in ABOUT_ROWS:
        value = row.fields.get(name)
        users = isinstance(value, str) and ROLES.get(value.lower()) == "user"
        if name == "mask" and users:  # NeMo: whose words are not learned
            continue
        ordinary: tuple[Any, ...] = (None, "", 1, "1", "1.0", True, "true", "True")
        if name.startswith("train_on_"):
            ordinary = (None, "", 0, "0", False, "false", "False")
        if isinstance(value, list | Mapping) or value not in ordinary:
            raise BadDocument(
                f'{row.place} has "{name}": {short(value)}; every row counts once, and the '
                'assistant\'s turns of it: leave such rows out, or say by "weight": 0 of a turn '
                "that it is not learned"
            )
