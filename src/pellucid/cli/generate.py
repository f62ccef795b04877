"""`pellucid generate`: go on from a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import places, with_model
from .output import note
from .settings import with_settings
from .speculating import with_speculation
from .stream import print_generation
from .text import Prompt, read_text, with_chat
from .translating import or_translated, with_beams
from .types import BYTES, INDICES

if TYPE_CHECKING:
    from ..gpt import GPT
    from ..speculate import Speculation

__all__ = ["command"]


@click.command("generate")
@click.argument("text", required=False)
@or_translated
@with_chat
@click.option("--ids", type=INDICES, help="Go on from these ids, 5,7,7, in place of TEXT.")
@with_model
@with_settings()
@with_speculation
@with_beams
@click.option(
    "--special", is_flag=True, help="What looks like a special token in TEXT is that token."
)
@click.option(
    "--alternatives",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="With --json: how many likeliest tokens to list at each step.",
)
@click.option(
    "--record",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Keep the values of every step, as safetensors; `pellucid trace FILE` shows them.",
)
@click.option("--names", multiple=True, help='With --record: which values, such as "attn.pattern".')
@places("layer", "head", "position")
@click.option(
    "--budget", type=BYTES, default="1GiB", show_default=True, help="Refuse to record more."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One object a step, then one with the text and reason."
)
def command(
    text: str | None,
    chat: bool,
    ids: list[int] | None,
    gpt: GPT,
    settings: dict[str, Any],
    speculation: Speculation | None,
    special: bool,
    record: str | None,
    names: tuple[str, ...],
    budget: int,
    as_json: bool,
    alternatives: int,
    **chosen: list[int] | None,
) -> None:
    """Go on from TEXT, token by token, and say why it ended. TEXT - reads standard input.

    In a pipe the text is written as it is; a terminal shows its control characters.
    """
    if ids is not None:
        if text is not None or special or chat:
            raise click.UsageError("--ids stands in place of TEXT, of --special and of --chat")
        start: str | list[int] = ids
        text = gpt.tokenizer.decode(ids)
    else:
        prompt = Prompt(text=read_text(text), chat=chat)
        text, start = prompt.text, prompt.ids(gpt, **settings)
        if special and chat:
            raise click.UsageError("--special goes with a text, not with --chat")
        if special:
            tokenizer = gpt.tokenizer
            start = tokenizer.encode(text, tokenizer.special_tokens)
            start = tokenizer.framed(start, ends=False)
    shown = "" if chat and not as_json else text  # a reply stands alone
    settings["alternatives"] = alternatives
    if speculation is not None:
        settings["speculate"] = speculation
    if record is None:
        if names or any(chosen.values()):
            raise click.UsageError("--names, --layer, --head and --position go with --record FILE")
        print_generation(shown, gpt.generate(start, **settings), as_json=as_json)
        return
    from ..errors import InputError
    from ..files import new_file
    from ..inspect import Recorder

    recorder = Recorder(gpt, names or "*", **chosen, budget_bytes=budget)
    generation = gpt.generate(start, **settings, record=recorder)
    broken_off: BaseException | None = None
    with new_file(record) as partial:
        try:
            print_generation(shown, generation, as_json=as_json)
        except (KeyboardInterrupt, BrokenPipeError) as error:
            broken_off = error  # what was recorded until then is kept
        if generation.steps_so_far:
            recorder.trace(generation).save(partial)
    if broken_off is not None:
        raise broken_off
    if not generation.steps_so_far:
        reason = generation.reason
        raise InputError(f"no token was generated ({reason}): there is nothing to record")
    note(f"Wrote {record}")
