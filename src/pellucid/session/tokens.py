"""The tokens of a reply with their probabilities, and what else was likely."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..draw.notation import percent
from ..visible import visible_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from ..generate import Generation
    from ..sequence import Step
    from ..tokenizer import Tokenizer

__all__ = ["print_tokens"]

PROMPT_SHOWN = 64  # tokens
RIVALS_SHOWN = 3


def print_tokens(screen: Console, tokenizer: Tokenizer, reply: Generation) -> None:
    """The last exchange: the prompt's tokens, then each one predicted and its rivals."""
    from rich.table import Table
    from rich.text import Text

    def shown(token: int) -> str:
        return visible_bytes(tokenizer.piece(token).bytes)

    def rivals(step: Step) -> str:
        others = [other for other in step.alternatives if other.token != step.token]
        return ", ".join(
            f"{shown(other.token)} {percent(math.exp(other.logprob))}"
            for other in others[:RIVALS_SHOWN]
        )

    first = "prompt: … " if len(reply.prompt) > PROMPT_SHOWN else "prompt: "
    prompt = [shown(token) for token in reply.prompt[-PROMPT_SHOWN:]]
    for line in _divided(first, prompt, screen.width):
        screen.print(line, style="dim", markup=False, emoji=False)
    table = Table(box=None, header_style="bold")
    for name in ("N", "position", "id", "token", "probability", "instead of"):
        table.add_column(name, justify="left" if name in ("token", "instead of") else "right")
    for number, step in enumerate(reply.steps_so_far, start=1):
        table.add_row(
            str(number),  # as /why N counts
            str(step.position),
            str(step.token),
            Text(shown(step.token)),
            percent(math.exp(step.logprob)),
            Text(rivals(step)),
        )
    screen.print(table)


def _divided(first: str, tokens: list[str], width: int) -> Iterator[str]:
    """The tokens with | between them, in lines that end between two where one has the room."""
    from rich.cells import cell_len

    line = first
    for number, token in enumerate(tokens):
        part = "|" * (number > 0) + token
        if line and cell_len(line) + cell_len(part) > width:
            yield line
            line = ""
        line += part
    yield line
