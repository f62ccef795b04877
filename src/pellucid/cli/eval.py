"""`pellucid eval`: how good is a model?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from . import loading
from .options import console, with_loader
from .output import say
from .reading import with_reading
from .scores import print_score
from .shots import with_shots

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


@click.command("eval")
@click.argument("arguments", nargs=-1, metavar="[perplexity|lambada|hellaswag|blimp] FILE")
@with_loader
@click.option("--stride", type=click.IntRange(1), help="Tokens scored per window (default: all).")
@click.option("--window", type=click.IntRange(1), help="Tokens read per window (default: n_ctx).")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many examples.")
@with_reading
@with_shots
@click.option("--batch", type=click.IntRange(1), help="Rows computed at a time.")
@click.option(
    "--against", metavar="M", help="Hold the model against this one: KL, flips, perplexity ratio."
)
@click.option(
    "--round",
    "rounding",
    metavar="LINEAR[,HEAD]",
    help="Keep the linear layers and the output layer (default: as they) in int8 or int4; held "
    "against the model as it is, else --against.",
)
@click.option("--json", "as_json", is_flag=True, help="One object with every number.")
def command(
    arguments: tuple[str, ...],
    load: Callable[[], GPT],
    stride: int | None,
    window: int | None,
    limit: int | None,
    batch: int | None,
    against: str | None,
    rounding: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure a model on FILE: text, JSON lines, JSON, CSV or Parquet, also compressed; or on all
    the files of a folder.

    What to measure is guessed from FILE where it is not named.
    """
    from ..evaluate.files import KINDS, guess_kind, score_file

    if not 1 <= len(arguments) <= 2 or (len(arguments) == 2 and arguments[0] not in KINDS):
        raise click.UsageError(f"give [{'|'.join(KINDS)}] and a file: pellucid eval text.txt")
    path = arguments[-1]
    kind = arguments[0] if len(arguments) == 2 else guess_kind(path)
    if kind != "perplexity" and (stride or window):
        raise click.UsageError(f"--stride and --window belong to perplexity, not to {kind}")
    gpt = load()
    other = _other(gpt, against) if against or rounding else None
    if rounding:
        gpt = _rounded(gpt, rounding)
    best: list[Any] = []  # the score so far
    from rich.progress import Progress

    try:
        with Progress(console=console(stderr=True), transient=True) as bar:
            task = bar.add_task(kind, total=None)

            def watch(score: Any, done: int) -> None:
                best[:] = [score]
                bar.update(task, completed=done, description=f"{kind}, {done} done")

            score, left_out = score_file(
                gpt, path, kind, stride=stride, window=window, limit=limit, batch=batch,
                against=other, on_progress=watch, **options,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not best:
            raise
        print_score(best[0], path, as_json)
        say("Stopped: the score is of what was reached so far.", err=True)
        raise SystemExit(130) from None
    print_score(score, path, as_json)
    for line in left_out:
        say(f"Left out: {line}", err=True)


def _other(gpt: GPT, against: str | None) -> GPT:
    return gpt if against is None else loading.load(against)


def _rounded(gpt: GPT, rounding: str) -> GPT:
    from ..evaluate import rounded

    linear, _, head = rounding.partition(",")
    names = (None if each in ("", "none") else each for each in (linear, head or linear))
    return rounded(gpt, *names)
